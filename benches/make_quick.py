"""Make the recordings that ship for `m2m bench --quick`: two pieces on four instruments, 5 s each.

    python benches/make_quick.py FluidR3Mono_GM.sf3 evaluation/quick

The prelude is the beginning of examples/prelude.mid (Bach, public domain); the study is made up here to hold what the prelude
has not: chords, repeated notes, leaps over six octaves, loud and soft. The sound is FluidSynth's, as in a data set.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pretty_midi

from m2m.core.audio import write_audio
from m2m.core.instruments import REFERENCE
from m2m.core.score import NoteArray, excerpt, hold, merge, note_array, read_score
from m2m.dataset.soundfont import Renderer

SECONDS, TAIL, RATE = 5.0, 0.6, 16_000
INSTRUMENTS = ("grand-piano", "church-organ", "pizzicato-strings", "trumpet")


def study() -> NoteArray:
    """A bass note held under repeated chords, a leap, and a run."""
    rows: list[tuple[float, float, int, int]] = [(0.05, 1.9, 36, 85), (2.0, 4.2, 33, 70)]
    for beat in range(6):
        rows += [(0.05 + 0.3 * beat, 0.2 + 0.3 * beat, key, 60 + 8 * beat) for key in (60, 64, 67)]
    rows += [
        (2.0 + 0.25 * step, 2.2 + 0.25 * step, key, 50 + 10 * step) for step, key in enumerate((45, 93, 57, 88, 69))
    ]
    rows += [(3.3 + 0.1 * step, 3.38 + 0.1 * step, 64 + 2 * step, 95) for step in range(9)]
    return note_array(rows)


def main(soundfont: str, output: str) -> None:
    """Play both pieces and write the folder."""
    out = Path(output)
    prelude = merge(
        track.notes for track in read_score(Path(__file__).parents[1] / "examples" / "prelude.mid").playable
    )
    renderer = Renderer(Path(soundfont), RATE, 1.0)
    for name, notes in (("prelude", prelude), ("study", study())):
        kept = hold(excerpt(notes, 0.0, SECONDS - TAIL), [], 0.0)
        midi = pretty_midi.PrettyMIDI(resolution=960)
        piano = pretty_midi.Instrument(0)
        piano.notes = [pretty_midi.Note(velocity, key, start, end) for start, end, key, velocity in kept.tolist()]
        midi.instruments.append(piano)
        midi.write(str(out / f"{name}.mid"))
        played = merge(track.notes for track in read_score(out / f"{name}.mid").playable)  # as MIDI's ticks have it
        for instrument in INSTRUMENTS:
            program = next(number for number, known in REFERENCE.items() if known == instrument)
            wave = renderer.render(played, program, round(SECONDS * RATE))
            fade = np.minimum(1, np.arange(len(wave))[::-1] / (0.05 * RATE)).astype(np.float32)
            path = out / f"{name}--{instrument}.flac"
            write_audio(path, np.clip(wave * fade, -1, 1), RATE, tags={}, overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
