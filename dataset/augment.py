"""Variations of a score for training, made before it is rendered, where they are exact."""

from __future__ import annotations

import random

import numpy as np

from m2m.core.score import HIGHEST_KEY, LOWEST_KEY, NoteArray, excerpt
from m2m.dataset.shards import DatasetConfig


def vary(notes: NoteArray, config: DatasetConfig, draw: random.Random) -> NoteArray:
    """A training excerpt: a random part of a piece, transposed, at another tempo, louder or softer.

    Rendering is ours, so this augmentation is free and exact: the audio is played from the varied notes.
    """
    varied = notes.copy()
    stretch = 1.0 + draw.uniform(-config.stretch, config.stretch)
    varied["start"] *= stretch
    varied["end"] *= stretch
    lowest, highest = (
        int(notes["pitch"].min(initial=LOWEST_KEY + 24)),
        int(notes["pitch"].max(initial=HIGHEST_KEY - 24)),
    )
    varied["pitch"] += draw.randint(
        max(-config.transpose, LOWEST_KEY - lowest), min(config.transpose, HIGHEST_KEY - highest)
    )
    louder = 1.0 + draw.uniform(-config.velocity, config.velocity)
    varied["velocity"] = np.clip(np.round(varied["velocity"] * louder), 1, 127)
    if config.excerpt == "first" or not len(varied):
        return varied
    last = float(varied["start"].max())
    latest = min(last, max(0.0, last - config.seconds + 2 * config.tail))
    begin = float(
        varied["start"][np.searchsorted(varied["start"], draw.uniform(0.0, latest))]
    )  # at an onset, not in a rest
    return excerpt(varied, max(0.0, begin - 0.1), np.inf)
