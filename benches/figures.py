"""The pictures of docs/results.md, each by one command.

    python benches/figures.py curves BENCH docs/curves.png             # correlation of each semitone, the paper's beside it
    python benches/figures.py instruments BENCH docs/instruments.png   # by instrument, the paper's beside it
    python benches/figures.py octaves BENCH SYSTEM docs/octaves.png    # by instrument and octave
    python benches/figures.py embedding MODEL docs/embedding.png       # the timbre space on a plane
    python benches/figures.py mels DATA MODEL docs/mels.png            # true mels beside predicted ones
    python benches/figures.py sounds DATA VOCODER docs/sounds.png      # spectrograms of originals beside a vocoder's
    python benches/figures.py training docs/training.png RUN...        # losses and validation figures of training runs
    python benches/figures.py losses BENCH                             # the ranking of losses, as a table

BENCH is a folder of `m2m bench`, or its results.json; DATA is a folder of `m2m dataset build`; RUN one of `m2m train`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from shared import true_mel

from m2m.core.mel2mel import load_mel2mel
from m2m.core.model_folders import find_model
from m2m.core.plugins import registry
from m2m.core.rendering.pipeline import timbre_space
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench import figures
from m2m.evaluation.bench.results import markdown, read_results, show
from m2m.web.timbre_map import draw_map, shade

TITLES = {"centroid": "spectral centroid", "energy": "mean energy"}
MELS_FILE, MELS_FRAMES = 1, 1000  # a Beethoven sonata in the reference split; 8 s
PAPER = {"mu-law": "µ-law", "true-mel": "true mel > WaveNet"}  # our stage -> the paper's name of its own
EXISTING = click.Path(exists=True, path_type=Path)


@click.group()
def main() -> None:
    """Draw the pictures of docs/results.md."""


@main.command()
@click.argument("bench", type=EXISTING)
@click.argument("picture")
def curves(bench: Path, picture: str) -> None:
    """Correlation of each semitone, one curve a system; rings are the paper's ends, dashed lines its means."""
    results = read_results(bench)
    stages = {s["stage"] for s in figures.audible(results)}
    losses = [s["loss"] for s in figures.audible(results) if s["loss"]]
    paper = [PAPER[stage] for stage in PAPER if stage in stages]
    paper += [loss for loss in figures.PAPER if loss in losses] or ["tanh-log-abs"]
    figures.save(figures.semitone_curves(results, tuple(paper)), picture)


@main.command()
@click.argument("bench", type=EXISTING)
@click.argument("picture")
def instruments(bench: Path, picture: str) -> None:
    """Correlation of each instrument, one mark a system."""
    figures.save(figures.by_instrument(read_results(bench), paper=True), picture)


@main.command()
@click.argument("bench", type=EXISTING)
@click.argument("system")
@click.argument("picture")
def octaves(bench: Path, system: str, picture: str) -> None:
    """Correlation of each instrument in each octave, of one system."""
    results = read_results(bench)
    known = [s["system"] for s in figures.audible(results)]
    if system not in known:
        raise click.UsageError(f"there is no {system!r}; there are {', '.join(known)}.")
    figures.save(figures.octaves_by_instrument(results, system), picture)


@main.command()
@click.argument("bench", type=EXISTING)
def losses(bench: Path) -> None:
    """What models trained with each loss reach, as a Markdown table."""
    results = read_results(bench)
    names = ("constant_q", "log_mel", "tanh_log", "mel_correlation")
    heads = ["constant-Q, paper", "constant-Q", "log-mel MAE, nepers", "paper-tanh-log-abs (x 1000)", "mel correlation"]
    rows = []
    for loss, (_, paper, _) in list(figures.PAPER.items())[2:]:
        systems = [s for s in results["systems"] if s["loss"] == loss]
        measures = {s["stage"]: s["measures"] for s in reversed(systems)}  # the first of a stage counts
        audio, mel = measures.get("predicted", {}), measures.get("mel", {})
        cells = [show(name, (audio if name == "constant_q" else mel).get(name)) for name in names]
        rows.append([loss, f"{paper:.3f}", *cells])
    click.echo(markdown(["loss", *heads], rows))


@main.command()
@click.argument("model")
@click.argument("picture")
def embedding(model: str, picture: str) -> None:
    """The instruments on the explorer's map, shaded by the spectral centroid and by the mean energy of what sounds there."""
    network, _ = load_mel2mel(find_model("mel2mel", model, {}))
    space = timbre_space(network)
    drawn = draw_map(model, space)
    at = space.plane()
    figure, panels = figures.new_figure(12, 4.6, 2)
    for axis, found in zip(panels, shade(network, space, drawn).values(), strict=True):
        across, up = np.linspace(*drawn.x, found.columns), np.linspace(*drawn.y[::-1], found.rows)
        values = np.reshape(found.values, (found.rows, found.columns))
        axis.grid(False)
        picture_ = axis.pcolormesh(across, up, values, cmap="viridis", shading="gouraud")
        figure.colorbar(picture_, ax=axis)
        axis.plot(*at.T, "o", color="white", markeredgecolor="black")
        sides = np.argsort(np.argsort(at[:, 1])) % 2  # names of neighbours one left, one right of their points
        for name, place, side in zip(space.instruments, at, sides, strict=True):
            where: Any = {"xytext": (6, 5), "ha": "left"} if side else {"xytext": (-6, -13), "ha": "right"}
            label = axis.annotate(name, place, textcoords="offset points", fontsize=8.5, **where)
            label.set_bbox({"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1})
        axis.set_title(f"{TITLES[found.by]}, {found.unit}", fontsize=10)
    panels[0].set_xlabel(f"first two principal components, {drawn.explained:.0%} of the variance", fontsize=9)
    figures.save(figure, picture)


@main.command()
@click.argument("data", type=EXISTING)
@click.argument("model")
@click.argument("picture")
def mels(data: Path, model: str, picture: str) -> None:
    """True mels beside predicted ones, one row an instrument, of a data set's test file."""
    from m2m.training.mel2mel import predict

    network, _ = load_mel2mel(find_model("mel2mel", model, {}))
    test, names = ShardReader(data, "test"), list(network.config.instruments)
    pairs = {name: predict(network, test, MELS_FILE, name, MELS_FRAMES) for name in names}
    titles = (f"true ({test.files[MELS_FILE]}, 8 s)", "predicted")
    figures.save(side_by_side(pairs, titles, (-10, -1.5)), picture)


@main.command()
@click.argument("data", type=EXISTING)
@click.argument("vocoder")
@click.argument("picture")
@click.option("--opt", "options", multiple=True, metavar="NAME=VALUE", help="of the vocoder")
def sounds(data: Path, vocoder: str, picture: str, options: tuple[str, ...]) -> None:
    """Spectrograms, original beside what a vocoder makes of its mel, one row an instrument, of a data set's test file."""
    test = ShardReader(data, "test")
    made = registry.create("vocoder", vocoder, options=dict(option.split("=", 1) for option in options))
    waves = made.batch([true_mel(test, MELS_FILE, name, MELS_FRAMES) for name in test.instruments], 0)
    pairs = {
        name: (spectrogram(test.audio(MELS_FILE, name, 0, len(wave))), spectrogram(wave))
        for name, wave in zip(test.instruments, waves, strict=True)
    }
    titles = (f"original ({test.files[MELS_FILE]}, 8 s, 0 to 8 kHz)", f"{vocoder}, from the true mel")
    figures.save(side_by_side(pairs, titles, (-75, -5)), picture)


@main.command()
@click.argument("picture")
@click.argument("runs", nargs=-1, required=True, type=EXISTING)
@click.option(
    "--window", default=50, show_default=True, help="Logged steps that a point of the training loss is the mean of."
)
def training(picture: str, runs: tuple[Path, ...], window: int) -> None:
    """What each run logged: its training loss, smoothed, and the figure by which its best model is chosen."""
    from tensorboard.backend.event_processing import event_accumulator  # type: ignore[import-untyped]

    figure, panels = figures.new_figure(4.4 * len(runs), 3, len(runs))
    for axis, run in zip(np.atleast_1d(panels), runs, strict=True):
        log = event_accumulator.EventAccumulator(str(run / "logs"), size_guidance={"scalars": 0})
        log.Reload()
        tags = log.Tags()["scalars"]
        known = ("nll", "stft", "paper-tanh-log-abs", "tanh-log-abs")  # the last is what 0.1 called the third
        best = next(f"validation/{name}" for name in known if f"validation/{name}" in tags)
        loss = log.Scalars("train/loss")
        values = np.convolve([point.value for point in loss], np.ones(window) / window, "valid")
        axis.plot([point.step for point in loss[window - 1 :]], values, lw=0.8, label="training loss")
        axis.plot(
            *zip(*((point.step, point.value) for point in log.Scalars(best)), strict=True), "o-", ms=3, label=best
        )
        axis.set(title=run.name, xlabel="step")
        axis.legend(fontsize=7)
    figures.save(figure, picture)


def spectrogram(wave: np.ndarray) -> np.ndarray:
    """dB of full scale: (frames, 513)."""
    window = torch.hann_window(1024)
    spectrum = torch.stft(torch.from_numpy(wave), 1024, 256, window=window, return_complex=True).abs()
    return (20 * torch.log10(spectrum * (2 / window.sum()) + 1e-6)).T.numpy()


def side_by_side(
    pairs: dict[str, tuple[np.ndarray, np.ndarray]], titles: tuple[str, str], extremes: tuple[float, float]
) -> Any:
    """Two pictures (frames, bands) in each row, low bands at the bottom."""
    figure, _ = figures.new_figure(11, 1.35 * len(pairs))
    figure.clear()
    axes = figure.subplots(len(pairs), 2)
    low, high = extremes
    for row, (name, pair) in zip(axes, pairs.items(), strict=True):
        for axis, values in zip(row, pair, strict=True):
            axis.imshow(
                values.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, interpolation="none"
            )
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=8)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    return figure


if __name__ == "__main__":
    main()
