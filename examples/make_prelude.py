"""Write prelude.mid: the Prelude in C major, BWV 846, by J. S. Bach (1722, public domain), typed in here bar by bar.

python examples/make_prelude.py examples/prelude.mid
"""

from __future__ import annotations

import math
import sys

import pretty_midi

# Bars 1 to 32: five keys (MIDI numbers), played 1 2 3 4 5 3 4 5 in sixteenths, twice a bar; the first two are held.
CHORDS = """
60 64 67 72 76  60 62 69 74 77  59 62 67 74 77  60 64 67 72 76  60 64 69 76 81  60 62 66 69 74  59 62 67 74 79  59 60 64 67 72
57 60 64 67 72  50 57 62 66 72  55 59 62 67 71  55 58 64 67 73  53 57 62 69 74  53 56 62 65 71  52 55 60 67 72  52 53 57 60 65
50 53 57 60 65  43 50 55 59 65  48 52 55 60 64  48 55 58 60 64  41 53 57 60 64  42 48 57 60 64  44 53 59 60 62  43 53 55 59 62
43 52 55 60 64  43 50 55 60 65  43 50 55 59 65  43 51 57 60 66  43 52 55 60 67  43 50 55 60 65  43 50 55 59 65  36 48 55 58 64
"""
# Bars 33 and 34: two held basses, then fourteen sixteenths; bar 35 is a chord.
CODA = (
    ((36, 48), (53, 57, 60, 65, 60, 57, 60, 57, 53, 57, 53, 50, 53, 50)),
    ((36, 47), (67, 71, 74, 77, 74, 71, 74, 71, 67, 71, 62, 65, 64, 62)),
)
END = (36, 48, 64, 67, 72)

SIXTEENTH = 60 / 69 / 4  # seconds, at 69 quarter notes a minute
BAR = 16 * SIXTEENTH


def loudness(bar: float) -> float:
    """Velocity along the piece: two swells, the higher one over the dominant pedal of bars 24 to 31, then a fading end."""
    return 54 + 12 * math.exp(-(((bar - 12) / 5) ** 2)) + 26 * math.exp(-(((bar - 28) / 5) ** 2)) - 8 * (bar > 32)


def prelude() -> pretty_midi.PrettyMIDI:
    """The piece, for one piano, with a sustain pedal lifted at every bar."""
    midi = pretty_midi.PrettyMIDI(initial_tempo=69.0)
    midi.time_signature_changes.append(pretty_midi.TimeSignature(4, 4, 0.0))
    piano = pretty_midi.Instrument(0, name="Piano")
    midi.instruments.append(piano)

    def strike(key: int, sixteenth: float, length: float, accent: float = 0.0) -> None:
        velocity = round(loudness(sixteenth / 16) + accent)
        start = slow(sixteenth)
        piano.notes.append(pretty_midi.Note(velocity, key, start, max(start + 0.05, slow(sixteenth + length) - 0.01)))

    def slow(sixteenth: float) -> float:
        """Seconds of a moment in the score, with a broadening over the last two bars."""
        late = max(0.0, sixteenth - 32 * 16)
        return (sixteenth + late * late * 0.004) * SIXTEENTH

    keys = [int(key) for key in CHORDS.split()]
    for bar in range(32):
        chord = keys[5 * bar : 5 * bar + 5]
        for half in (16 * bar, 16 * bar + 8):
            strike(chord[0], half, 8, accent=8)
            strike(chord[1], half + 1, 7)
            for step, key in enumerate((*chord[2:], *chord[2:])):
                strike(key, half + 2 + step, 1, accent=3 if step in (2, 5) else 0)
    for bar, (basses, figure) in enumerate(CODA, start=32):
        for step, key in enumerate(basses):
            strike(key, 16 * bar + step, 16 - step, accent=6)
        for step, key in enumerate(figure, start=2):
            strike(key, 16 * bar + step, 1)
    for step, key in enumerate(END):
        strike(key, 16 * 34 + 0.3 * step, 16)
    for bar in range(34):
        piano.control_changes.append(pretty_midi.ControlChange(64, 100, slow(16 * bar + 0.5)))
        piano.control_changes.append(pretty_midi.ControlChange(64, 0, slow(16 * bar + 15.7)))
    return midi


if __name__ == "__main__":
    prelude().write(sys.argv[1] if len(sys.argv) > 1 else "prelude.mid")
