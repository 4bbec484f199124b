"""The harmonic excitation, and what networks learn in place of true phases: how near both are to the music.

    python benches/excitation.py DATA --seconds 30

From the true mels of a data set's files, on every instrument: the harmonic excitation of the score, matched to the mel
(shared/excitation.py), with the notes and without any; and the original's magnitudes with its phases, which is what
`m2m train wavenet --preset harmonic` learns, as they come and after iterations of Griffin-Lim (`--set griffin_lim_iterations=4`).
Constant-Q is the paper's: Pearson's correlation over time with the original, mean of 84 semitones; mel the mean absolute
error of the log-mel, nepers.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from shared import open_split

from m2m.core.mel import MelSpec, log_mel
from m2m.core.mel_measures import log_mel_error
from m2m.core.score import from_rows, note_array
from m2m.core.system import progress
from m2m.evaluation.measures.constant_q import constant_q_correlation
from m2m.vocoders.shared.excitation import excitation_margin, mel_matched_excitation
from m2m.vocoders.shared.stft import transfer_phase, transfer_phase_margin

SPEC = MelSpec()
ITERATIONS = 4


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True)
@click.option("--files", type=int, help="The first so many.  [default: all]")
@click.option("--seconds", default=30.0, show_default=True, help="From the beginning of each file.")
def main(data: Path, split: str, files: int | None, seconds: float) -> None:
    shards, hop = open_split(data, split, files), SPEC.hop_length
    found: dict[str, list[tuple[float, float]]] = {}
    for index in progress.track(range(len(shards)), "files"):
        for name in shards.instruments:
            frames = min(round(seconds * SPEC.frame_rate), shards.frames(index, name))
            beyond = transfer_phase_margin(SPEC, ITERATIONS)
            notes, wave = from_rows(shards.notes(index, name)), shards.audio(index, name, 0, frames * hop)
            silence = ((beyond + excitation_margin(SPEC), beyond + excitation_margin(SPEC)), (0, 0))
            mel = np.pad(shards.mel(index, name, 0, frames), silence, constant_values=np.float32(SPEC.silence))
            excitation = mel_matched_excitation(notes, mel, -beyond, SPEC)
            blind = mel_matched_excitation(note_array([]), mel, -beyond, SPEC)
            inner = slice(beyond * hop, beyond * hop + len(wave))
            padded = np.pad(wave, (beyond * hop, len(excitation) - beyond * hop - len(wave)))
            # Without iterations less is cut off on either side.
            led, refined = (transfer_phase(padded, excitation, SPEC, iterations) for iterations in (0, ITERATIONS))
            for what, made in (
                ("excitation", excitation[inner]),
                ("excitation without notes", blind[inner]),
                (
                    "original with the excitation's phases",
                    led[(beyond - transfer_phase_margin(SPEC)) * hop :][: len(wave)],
                ),
                (f"the same, {ITERATIONS} iterations of Griffin-Lim", refined[: len(wave)]),
            ):
                correlation = float(np.nanmean(constant_q_correlation(wave, made, SPEC.sample_rate)))
                found.setdefault(what, []).append(
                    (correlation, log_mel_error(log_mel(made, SPEC), log_mel(wave, SPEC)))
                )
    for what, figures in found.items():
        correlation, error = np.mean(figures, axis=0)
        click.echo(f"{what}: constant-Q {correlation:.3f}, mel {error:.3f}")


if __name__ == "__main__":
    main()
