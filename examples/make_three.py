"""Write examples/three/: three short pieces of our own, for trying things on.

    piano.mid      a waltz with a sustain pedal
    ensemble.mid   trumpet, electric piano, strings and bass, with drums
    line.mid       a slow line, one note at a time, that swells

python examples/make_three.py examples/three
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import pretty_midi

PEDAL, VOLUME, PAN, EXPRESSION = 64, 7, 10, 11
KICK, SNARE, CLOSED_HAT, OPEN_HAT, CRASH = 36, 38, 42, 46, 49

# Keys are MIDI numbers, lengths are beats; a key of 0 rests.
Line = Sequence[tuple[int, float]]

WALTZ: Line = (
    (76, 2), (72, 1), (74, 1), (76, 1), (77, 1), (79, 2), (76, 1), (74, 3),
    (77, 2), (74, 1), (76, 1), (74, 1), (72, 1), (71, 2), (74, 1), (72, 3),
)  # fmt: skip
WALTZ_CHORDS = (  # a bass and the two chords after it, a bar each
    (48, 60, 64, 67), (43, 59, 62, 65), (48, 60, 64, 67), (43, 59, 62, 67),
    (50, 57, 62, 65), (45, 57, 60, 64), (43, 55, 59, 65), (48, 55, 60, 64),
)  # fmt: skip

TUNE: Line = (
    (0, 1), (69, 0.5), (72, 0.5), (74, 1.5), (72, 0.5), (69, 2), (67, 1), (65, 1),
    (67, 1.5), (69, 0.5), (70, 1), (72, 1), (69, 3), (0, 1),
    (0, 1), (74, 0.5), (76, 0.5), (77, 1.5), (76, 0.5), (74, 2), (72, 1), (69, 1),
    (70, 1), (69, 1), (67, 1), (64, 1), (65, 4),
)  # fmt: skip
TUNE_CHORDS = (  # the keys of each bar's chord, its root last
    (57, 62, 65, 38), (57, 60, 65, 41), (58, 62, 67, 43), (57, 60, 64, 45),
    (57, 62, 65, 38), (57, 60, 65, 41), (55, 58, 64, 36), (57, 60, 65, 41),
)  # fmt: skip

SONG: Line = (
    (62, 2), (65, 1), (69, 1), (67, 3), (65, 1), (64, 2), (67, 1), (70, 1), (69, 4),
    (74, 2), (72, 1), (70, 1), (69, 2), (65, 2), (64, 1), (65, 1), (67, 1), (61, 1), (62, 4),
)  # fmt: skip


def part(program: int, name: str, *, is_drum: bool = False, pan: int = 64, volume: int = 100) -> pretty_midi.Instrument:
    """An instrument with its place in the mix, 0 to 127."""
    made = pretty_midi.Instrument(program, is_drum, name)
    made.control_changes = [
        pretty_midi.ControlChange(number, value, 0.0) for number, value in ((VOLUME, volume), (PAN, pan))
    ]
    return made


def strike(player: pretty_midi.Instrument, beat: float, key: int, at: float, length: float, velocity: int) -> None:
    """Add a note. beat: seconds. at, length: beats."""
    player.notes.append(pretty_midi.Note(velocity, key, at * beat, (at + length) * beat))


def sing(player: pretty_midi.Instrument, beat: float, line: Line, velocity: int, legato: float = 0.95) -> None:
    """Add a line, note after note; each sounds for `legato` of its length, and those on a bar's middle are softer."""
    starts = accumulate((length for _, length in line), initial=0.0)
    for (key, length), at in zip(line, starts, strict=False):  # the line's end is one more start
        if key:
            strike(player, beat, key, at, legato * length, velocity - (6 if at % 2 else 0))


def waltz() -> pretty_midi.PrettyMIDI:
    """Eight bars for a piano; the pedal is lifted at every bar."""
    midi, beat = pretty_midi.PrettyMIDI(initial_tempo=132.0), 60 / 132
    midi.time_signature_changes.append(pretty_midi.TimeSignature(3, 4, 0.0))
    piano = part(0, "Piano")
    sing(piano, beat, WALTZ, 84)
    for bar, (bass, *chord) in enumerate(WALTZ_CHORDS):
        strike(piano, beat, bass, 3 * bar, 0.9, 66)
        for at in (1, 2) if bar < 7 else (1,):
            for key in chord:
                strike(piano, beat, key, 3 * bar + at, 0.6 if bar < 7 else 2, 50)
        for at, value in ((0.2, 110), (2.9, 0)):
            piano.control_changes.append(pretty_midi.ControlChange(PEDAL, value, (3 * bar + at) * beat))
    midi.instruments.append(piano)
    return midi


def ensemble() -> pretty_midi.PrettyMIDI:
    """Eight bars for five players."""
    midi, beat = pretty_midi.PrettyMIDI(initial_tempo=126.0), 60 / 126
    midi.time_signature_changes.append(pretty_midi.TimeSignature(4, 4, 0.0))
    trumpet, keys = part(56, "Trumpet", pan=76), part(4, "Electric piano", pan=44, volume=88)
    strings, bass = part(48, "Strings", pan=58, volume=72), part(33, "Bass", volume=104)
    drums = part(0, "Drums", is_drum=True, volume=92)
    sing(trumpet, beat, TUNE, 92)
    for bar, (*chord, root) in enumerate(TUNE_CHORDS):
        last = bar == len(TUNE_CHORDS) - 1
        for key in chord:
            for at, length in ((0, 4),) if last else ((0.5, 0.4), (1.5, 0.9), (3, 0.4)):
                strike(keys, beat, key, 4 * bar + at, length, 64)
            strike(strings, beat, key + 12, 4 * bar, 3.9, 58)
        for at, step in ((0, 0),) if last else ((0, 0), (1, 0), (2, 7), (3, 12)):
            strike(bass, beat, root + step, 4 * bar + at, 4 if last else 0.85, 90 - 8 * bool(at))
        for eighth in range(2 if last else 8):
            strike(
                drums, beat, OPEN_HAT if eighth == 7 else CLOSED_HAT, 4 * bar + eighth / 2, 0.2, 70 - 18 * (eighth % 2)
            )
        for key, beats in ((KICK, (0,)), (CRASH, (0,))) if last else ((KICK, (0, 2, 2.5)), (SNARE, (1, 3))):
            for at in beats:
                strike(drums, beat, key, 4 * bar + at, 0.25, 96)
    midi.instruments += [trumpet, keys, strings, bass, drums]
    return midi


def line() -> pretty_midi.PrettyMIDI:
    """Eight bars for a violin, which swells and fades within each two of them."""
    midi, beat = pretty_midi.PrettyMIDI(initial_tempo=104.0), 60 / 104
    midi.time_signature_changes.append(pretty_midi.TimeSignature(4, 4, 0.0))
    violin = part(40, "Violin")
    sing(violin, beat, SONG, 80, legato=0.99)
    for phrase in range(4):
        for at in range(8):
            value = 127 - 6 * abs(at - 4)
            violin.control_changes.append(pretty_midi.ControlChange(EXPRESSION, value, (8 * phrase + at) * beat))
    midi.instruments.append(violin)
    return midi


def main(folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, piece in (("piano", waltz()), ("ensemble", ensemble()), ("line", line())):
        piece.write(str(folder / f"{name}.mid"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "three"))
