"""Whether the joins of WaveNet's segments can be seen: spectral flux and level at them, against the same places in one stream.

    python benches/wavenet_joins.py DATA --plot joins.png

The true mels of test files, first 30 s of each of ten instruments, are rendered in segments of two seconds and once more in one
stream. Flux is the mean rise of the log-mel's bands from one frame to the next, nepers, the greatest within 16 ms of a join; the
dip is how far the level of 16 ms at the join lies below the softer of the 50 ms on its two sides, dB. One stream, cut nowhere,
has both as well, since music has onsets and beats. The last line is the same at places drawn by chance.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
from shared import json_option, open_split, true_mel, write_json

from m2m.core.mel import Mel, log_mel
from m2m.evaluation.bench.results import markdown
from m2m.vocoders.wavenet.segments import cut
from m2m.vocoders.wavenet.vocoder import WaveNetOptions, WaveNetVocoder

FADE = 256  # samples


def flux(wave: np.ndarray, mel: Mel) -> np.ndarray:
    """Mean rise of the bands at each frame: (frames,) nepers, of those within 60 dB of full scale."""
    bands = np.maximum(log_mel(wave, mel.spec), np.log(1e-3))
    return np.append(0, np.maximum(np.diff(bands, axis=0), 0).mean(axis=1))


def dip(wave: np.ndarray, at: int) -> float:
    """dB by which 16 ms are softer than what is on both sides; negative where they are louder than the softer side."""

    def level(first: int, last: int) -> float:
        return 10 * np.log10(np.square(wave[max(0, first) : last], dtype=np.float64).mean() + 1e-9)

    half = FADE // 2
    sides = min(level(at - half - 800, at - half), level(at + half, at + half + 800))
    return sides - level(at - half, at + half)


@click.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--model", help="a folder; without, the one that ships")
@click.option("--files", default=4, show_default=True)
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--segment", default=2.0, show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def main(
    data: Path, model: str | None, files: int, seconds: float, segment: float, plot: Path | None, json_path: Path | None
) -> None:
    """Measure the joins."""
    test = open_split(data, "test", files)
    spec, draw = test.config.mel, np.random.default_rng(0)
    frames = round(seconds * spec.frame_rate)
    mels = [true_mel(test, file, name, frames) for file in range(len(test)) for name in test.instruments]
    joined, whole = (WaveNetVocoder(WaveNetOptions(model=model, segment=s)) for s in (segment, 0.0))
    cuts = [[s.first for s in cut(mel, segment, lead=0, tail=0) if s.first] for mel in mels]
    renderings = {"segments": joined.batch(mels), "one stream": whole.batch(mels)}
    rows: list[dict[str, Any]] = []
    for mode, waves in renderings.items():
        for places in ("joins", "chance"):
            rises, dips = [], []
            for mel, wave, edges in zip(mels, waves, cuts, strict=True):
                rise = flux(wave, mel)
                where = edges if places == "joins" else draw.integers(10, mel.frames - 10, len(edges))
                rises += [rise[frame - 2 : frame + 3].max() for frame in where]
                dips += [dip(wave, frame * spec.hop_length) for frame in where]
            rows.append(
                {
                    "rendering": mode,
                    "places": places,
                    "count": len(rises),
                    "flux": float(np.mean(rises)),
                    "flux, 95th percentile": float(np.percentile(rises, 95)),
                    "dip, dB": float(np.mean(dips)),
                    "dip, 95th percentile": float(np.percentile(dips, 95)),
                }
            )
    cells = [[f"{value:.3f}" if isinstance(value, float) else value for value in row.values()] for row in rows]
    click.echo(markdown(list(rows[0]), cells))
    write_json(json_path, rows)
    if plot:
        picture(plot, {mode: waves[0] for mode, waves in renderings.items()}, mels[0], cuts[0])


def picture(path: Path, waves: dict[str, np.ndarray], mel: Mel, edges: list[int]) -> None:
    """Mel and waveform of the first rendering around its first joins."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    last = edges[min(2, len(edges) - 1)] + 60
    figure, axes = plt.subplots(4, 1, figsize=(12, 9), sharex=True, layout="constrained")
    for (mode, wave), top, bottom in zip(waves.items(), axes[::2], axes[1::2], strict=True):
        extent = (0, last / mel.spec.frame_rate, 0, mel.spec.n_mels)
        bands = log_mel(wave, mel.spec)[:last].T
        top.imshow(bands, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=-9, vmax=-1)
        samples = wave[: last * mel.spec.hop_length]
        bottom.plot(np.arange(len(samples)) / mel.spec.sample_rate, samples, lw=0.3)
        top.set_title(mode)
        for axis in (top, bottom):
            for edge in edges[:3]:
                axis.axvline(edge / mel.spec.frame_rate, color="tab:cyan", lw=0.8, ls=":")
    axes[-1].set_xlabel("seconds; dotted: where the segments are joined")
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
