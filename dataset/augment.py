"""Variations of a score for training, made before it is rendered, where they are exact."""

from __future__ import annotations

import random

import numpy as np

from m2m.core.score import HIGHEST_KEY, LOWEST_KEY, NoteArray, excerpt
from m2m.dataset.shards import DatasetConfig

TWO_OCTAVES = 24  # semitones


def vary(notes: NoteArray, config: DatasetConfig, draw: random.Random) -> NoteArray:
    """A random part of a piece, transposed, at another tempo, louder or softer; as far as `config` allows.

    The audio is rendered from the varied notes, so both agree exactly.

    notes: (notes,) of a piece, in the order of their onsets; they are left as they are. draw: where chance comes from.
    Returned: (notes,), which begin at an onset, unless config.excerpt is "first"; keys are the piano's, velocities 1..127.
    """
    varied = notes.copy()
    tempo = 1.0 + draw.uniform(-config.stretch, config.stretch)
    varied["start"] *= tempo
    varied["end"] *= tempo
    lowest = int(notes["pitch"].min(initial=LOWEST_KEY + TWO_OCTAVES))
    highest = int(notes["pitch"].max(initial=HIGHEST_KEY - TWO_OCTAVES))
    down, up = max(-config.transpose, LOWEST_KEY - lowest), min(config.transpose, HIGHEST_KEY - highest)
    varied["pitch"] += draw.randint(down, up)
    louder = 1.0 + draw.uniform(-config.velocity, config.velocity)
    varied["velocity"] = np.clip(np.round(varied["velocity"] * louder), 1, 127)
    if config.excerpt == "first" or not len(varied):
        return varied
    last = float(varied["start"].max())
    latest = min(last, max(0.0, last - config.seconds + 2 * config.tail))
    onset = np.searchsorted(varied["start"], draw.uniform(0.0, latest))  # a note's, so that it does not begin in a rest
    return excerpt(varied, max(0.0, float(varied["start"][onset]) - 0.1), np.inf)
