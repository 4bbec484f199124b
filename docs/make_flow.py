"""Draw docs/flow.svg: what a MIDI file becomes on its way to audio, and which module does each step.

python docs/make_flow.py docs/flow.svg

Boxes bring their own light background and arrows are of a middle grey, so that the picture reads on a light and a dark page.
"""

from __future__ import annotations

import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

DATA = [
    ("MIDI file", "bytes"),
    ("Score", "tracks of notes in seconds"),
    ("Part", "notes (n,), a path in the timbre space"),
    ("Roll", "(frames, features) 0..1"),
    ("Conditioned features", "(frames, hidden)"),
    ("Mel", "log-mel (frames, n_mels), with notes and timbre"),
    ("Samples", "(frames * hop_length,), block by block"),
    ("Audio file", "the mix, tagged with what made it"),
]
STEPS = [  # what leads from one to the next: what is done, where, and whether it is a component
    ("read, apply the pedal", "core/midi.py, core/score.py", False),
    ("group tracks by timbre", "core/rendering/pipeline.py", False),
    ("encoder", "encoders/", True),
    ("conditioner", "conditioners/, called by core/mel2mel.py", True),
    ("LSTM, conditioner, linear layer", "core/mel2mel.py", False),
    ("vocoder", "vocoders/", True),
    ("add parts, write", "core/rendering/performance.py, core/audio.py", False),
]
WIDTH, DATA_X, STEP_X = 9.0, 0.75, 5.1  # inches
DATA_SIZE, STEP_SIZE, ROW = (3.7, 0.52), (3.7, 0.46), 0.86
GREY, DARK, SMALL = "#7d8590", "#1f2328", "#4a525b"
FILLS = {"data": ("#ddf4ff", "#54aeff"), "component": ("#fff1c2", "#d4a72c"), "core": ("#f0f2f4", "#afb8c1")}


def box(axes: Axes, x: float, y: float, size: tuple[float, float], fill: str, title: str, text: str) -> None:
    """A box around its middle height y, with a title and a line below it."""
    face, edge = FILLS[fill]
    corner = (x, y - size[1] / 2)
    axes.add_patch(FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.08", fc=face, ec=edge, lw=1.2))
    middle = x + size[0] / 2
    axes.text(middle, y + 0.1, title, ha="center", va="center", fontsize=10.5, fontweight="bold", color=DARK)
    axes.text(middle, y - 0.12, text, ha="center", va="center", fontsize=8.5, color=SMALL)


def main(picture: str) -> None:
    """Draw data on the left, from top to bottom, and on the right what is done to it."""
    mpl.rcParams.update({"svg.fonttype": "path", "svg.hashsalt": "flow", "font.family": "DejaVu Sans"})
    height = ROW * (len(DATA) - 1) + 1.0
    figure = plt.figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, WIDTH), ylim=(0, height))
    axes.axis("off")
    rows = [height - 0.45 - ROW * number for number in range(len(DATA))]
    arrow = {"arrowstyle": "-|>", "color": GREY, "lw": 1.6, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14}
    middle, half = DATA_X + DATA_SIZE[0] / 2, DATA_SIZE[1] / 2
    for (title, text), y in zip(DATA, rows, strict=True):
        box(axes, DATA_X, y, DATA_SIZE, "data", title, text)
    for number, (title, text, component) in enumerate(STEPS):
        between = (rows[number] + rows[number + 1]) / 2
        axes.annotate("", (middle, rows[number + 1] + half), (middle, rows[number] - half), arrowprops=arrow)
        axes.plot([middle, STEP_X], [between, between], color=GREY, lw=1.0, ls=":")
        box(axes, STEP_X, between, STEP_SIZE, "component" if component else "core", title, text)
    # Notes and timbre go round the model, to the mel that the vocoder gets.
    side, part, mel = 0.45, rows[2], rows[5]
    axes.plot([DATA_X, side, side], [part, part, mel], color=GREY, lw=1.2, ls="--")
    axes.annotate("", (DATA_X, mel), (side, mel), arrowprops=arrow | {"ls": "--", "lw": 1.2})
    axes.text(0.3, (part + mel) / 2, "notes, timbre", rotation=90, ha="center", va="center", fontsize=8.5, color=GREY)
    figure.savefig(picture, transparent=True, metadata={"Date": None} if picture.endswith(".svg") else None)


if __name__ == "__main__":
    main(sys.argv[1])
