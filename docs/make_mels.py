"""Draw true mels beside predicted ones, one row an instrument, of a data set's test file.

python docs/make_mels.py DATA models/mel2mel-film docs/mels-film.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from m2m.core.mel2mel import load_mel2mel
from m2m.training.dataset import ShardReader
from m2m.training.mel2mel import predict

FILE, FRAMES = 1, 1000  # a Beethoven sonata in the reference split; 8 s


def main(data: str, folder: str, picture: str) -> None:
    """Predict the first seconds of one test file on every instrument."""
    model, _ = load_mel2mel(Path(folder))
    test, names = ShardReader(Path(data), "test"), list(model.config.instruments)
    figure, axes = plt.subplots(len(names), 2, figsize=(11, 1.35 * len(names)), layout="constrained")
    for row, name in zip(axes, names, strict=True):
        for axis, mel in zip(row, predict(model, test, FILE, name, FRAMES), strict=True):
            axis.imshow(mel.T, origin="lower", aspect="auto", cmap="magma", vmin=-10, vmax=-1.5, interpolation="none")
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, fontsize=8)
    axes[0, 0].set_title(f"true ({test.files[FILE]}, 8 s)", fontsize=9)
    axes[0, 1].set_title("predicted", fontsize=9)
    figure.savefig(picture, dpi=70)


if __name__ == "__main__":
    main(*sys.argv[1:4])
