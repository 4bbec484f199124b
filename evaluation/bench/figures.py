"""Plots of a bench, for its report and for the documents; matplotlib, without its global state."""

from __future__ import annotations

import io
import re
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from m2m.evaluation.measures.waves import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart on white and on near-black, and by most colour-blind eyes.
COLOURS = ("#8a8f98", "#c98a1b", "#2f8f83", "#4f7fc9", "#b5566f", "#7d63b8", "#6d8f2f", "#a4633a")
MARKERS = "osD^vPX*"
INK = "#010203"  # replaced by the page's text colour (`svg`)
OCTAVES = [f"C{octave}" for octave in range(1, 8)]

# The reference system's figures (arXiv 1811.00223, read off its authors' published curves): C1, mean of 84 bins, top bin.
PAPER = {
    "µ-law": (0.965, 0.979, 0.912),
    "true mel > WaveNet": (0.702, 0.854, 0.848),
    "tanh-log-abs": (0.575, 0.754, 0.800),
    "log-abs": (0.580, 0.754, 0.811),
    "abs": (0.480, 0.635, 0.741),
}
PAPER_INSTRUMENTS = {  # tanh-log-abs
    "pizzicato-strings": 0.816,
    "vibraphone": 0.760,
    "acoustic-guitar": 0.748,
    "orchestral-harp": 0.732,
    "electric-piano": 0.714,
    "grand-piano": 0.713,
    "synth-lead": 0.690,
    "trumpet": 0.668,
    "string-ensemble": 0.664,
    "church-organ": 0.646,
}


def new_figure(width: float, height: float, columns: int = 1) -> tuple[Figure, Any]:
    """A figure in inches, with one axes or several side by side, in the page's ink on no ground."""
    need("matplotlib", "plotting")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        axis.tick_params(colors=INK, labelsize=9)
        axis.grid(color=INK, alpha=0.12, linewidth=0.7)
        axis.set_axisbelow(True)
    return figure, axes[0] if columns == 1 else axes


def audible(results: dict[str, Any]) -> list[dict[str, Any]]:
    """The systems that made sound to compare: all but the original, mels, and what failed."""
    return [s for s in results["systems"] if s["stage"] not in ("original", "mel") and any(s["semitones"])]


def colour(results: dict[str, Any], system: str) -> tuple[str, str]:
    """A system's colour and marker, the same in every plot."""
    index = [s["system"] for s in audible(results)].index(system)
    return COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]


def semitone_curves(results: dict[str, Any], paper: tuple[str, ...] = ()) -> Figure:
    """The paper's figure: correlation of each constant-Q bin, one curve a system; `paper` adds the reference's points."""
    figure, axis = new_figure(9.5, 3.9)
    for system in audible(results):
        shade, _ = colour(results, system["system"])
        values = np.array([np.nan if r is None else r for r in system["semitones"]])
        axis.plot(values, color=shade, linewidth=1.8, label=f"{system['system']}  {np.nanmean(values):.3f}")
    for name, marker in zip(paper, "oD^sv", strict=False):
        low, mean, high = PAPER[name]
        label = f"paper, {name}  {mean:.3f}"
        axis.plot([0, 83], [low, high], marker, color=INK, markersize=6, markerfacecolor="none", label=label)
        axis.axhline(mean, color=INK, alpha=0.35, linewidth=0.9, linestyle=(0, (4, 3)))
    axis.set_xticks(range(0, 84, 12), OCTAVES)
    axis.set(xlim=(-1, 84), ylim=(min(0.3, axis.get_ylim()[0]), 1.01))
    axis.set_ylabel("correlation", color=INK)
    axis.legend(frameon=False, labelcolor=INK, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def by_instrument(results: dict[str, Any], paper: bool = False) -> Figure:
    """Mean correlation of each instrument, one mark a system, best instrument of the last system on top."""
    means = {
        (system["system"], instrument): fmean(found)
        for system in audible(results)
        for instrument in results["recordings"]["instruments"]
        if (found := _correlations(results, system["system"], instrument))
    }
    last = audible(results)[-1]["system"]
    names = sorted(results["recordings"]["instruments"], key=lambda name: means.get((last, name), 0.0))
    figure, axis = new_figure(9.5, 1.2 + 0.32 * len(names))
    for system in audible(results):
        shade, marker = colour(results, system["system"])
        points = [(means[system["system"], n], y) for y, n in enumerate(names) if (system["system"], n) in means]
        axis.plot(*zip(*points, strict=True), marker, color=shade, markersize=7, label=system["system"])
    if paper:
        points = [(PAPER_INSTRUMENTS[name], y) for y, name in enumerate(names) if name in PAPER_INSTRUMENTS]
        label = "paper, tanh-log-abs"
        axis.plot(*zip(*points, strict=True), "o", color=INK, markerfacecolor="none", markersize=7, label=label)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlabel("correlation, mean of 84 semitones", color=INK)
    axis.legend(frameon=False, labelcolor=INK, fontsize=8.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _correlations(results: dict[str, Any], system: str, instrument: str) -> list[float]:
    rows = (r for r in results["cells"] if r["system"] == system and r["instrument"] == instrument and not r["error"])
    return [row["measures"]["constant_q"] for row in rows if "constant_q" in row["measures"]]


def octaves_by_instrument(results: dict[str, Any], system: str) -> Figure:
    """A heat map: correlation of each instrument in each octave, of one system."""
    names = results["recordings"]["instruments"]
    grid = np.full((len(names), 7), np.nan)
    for row, name in enumerate(names):
        cells = [
            c for c in results["cells"] if c["system"] == system and c["instrument"] == name and c.get("semitones")
        ]
        values = np.array([[np.nan if r is None else r for r in cell["semitones"]] for cell in cells])
        octaves: Any = values.reshape(len(cells), 7, 12).transpose(1, 0, 2).reshape(7, -1) if len(cells) else []
        grid[row] = [o[~np.isnan(o)].mean() if (~np.isnan(o)).any() else np.nan for o in octaves] or np.nan
    figure, axis = new_figure(7.5, 1.0 + 0.34 * len(names))
    axis.grid(False)
    axis.imshow(grid, aspect="auto", cmap="viridis", vmin=max(0.0, float(np.nanmin(grid)) - 0.05), vmax=1)
    for (row, column), value in np.ndenumerate(grid):
        shade = "black" if value > (np.nanmin(grid) + 1) / 2 else "white"
        axis.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=8.5, color=shade)
    axis.set_xticks(range(7), OCTAVES)
    axis.set_yticks(range(len(names)), names)
    axis.set_title(system, color=INK, fontsize=10, loc="left")
    return figure


def quality_and_speed(results: dict[str, Any]) -> Figure | None:
    """Each timed vocoder's quality from the true mel against its speed; None where there is none."""
    timed = {row["vocoder"]: row for row in results["speed"] if row["vocoder"] and not row["error"]}
    shown = [s for s in audible(results) if s["stage"] == "true-mel" and s["vocoder"] in timed]
    if not shown:
        return None
    figure, axis = new_figure(9.5, 3.0)
    for system in shown:
        shade, marker = colour(results, system["system"])
        factors = [1 / f for f in timed[system["vocoder"]]["real_time_factors"]]
        at, quality = median(factors), system["measures"]["constant_q"]
        axis.plot([min(factors), max(factors)], [quality, quality], color=shade, linewidth=1.5, alpha=0.6)
        axis.plot(at, quality, marker, color=shade, markersize=9)
        axis.annotate(system["vocoder"], (at, quality), (10, 6), textcoords="offset points", color=INK, fontsize=9.5)
    axis.set_xscale("log")
    axis.axvline(1, color=INK, alpha=0.4, linewidth=0.9, linestyle=(0, (4, 3)))
    _pad(axis)
    axis.set_xlabel("times real time (log)", color=INK)
    axis.set_ylabel("correlation, true mel", color=INK)
    return figure


def _pad(axis: Axes) -> None:
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, 0.7) / 1.3, max(high, 2.0) * 3)  # room for names, and for real time itself
    low, high = axis.get_ylim()
    axis.set_ylim(low - 0.02, high + 0.02)


def svg(figure: Figure) -> str:
    """A figure as an <svg> element that takes the text colour and the font of the page it stands in."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "m2m"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    return re.sub(r"(font(?:-family)?: [^;\"]*?)(?:'[^']*'(?:, )?)+[^;\"]*", r"\1inherit", text)


def save(figure: Figure, path: str) -> None:
    """A figure as a picture for the documents, on white."""
    figure.patch.set(alpha=1, facecolor="white")
    figure.savefig(path, dpi=90)
