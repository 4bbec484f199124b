"""What each instrument of a data set plays of a file: its notes, varied for training; a kit its drums, or a generated part."""

from __future__ import annotations

import random

import numpy as np

from m2m.core.instruments import FIRST_KIT, is_kit
from m2m.core.notes import NoteArray, excerpt, hold
from m2m.dataset.augment import vary
from m2m.dataset.drums import HIGHEST_DRUM, LOWEST_DRUM, drum_part
from m2m.dataset.ranges import idiomatic
from m2m.dataset.shards import DatasetConfig


def part_for(
    program: int, notes: NoteArray, drums: NoteArray, split: str, config: DatasetConfig, draw: random.Random
) -> NoteArray:
    """What an instrument plays: (notes,) from second 0 on, of which none is struck in the tail.

    A kit plays the drums of the file, or a generated part where it has none.

    program: an instrument's number. notes, drums: (notes,) of the file each, in the order of their onsets. draw: where chance
    comes from.
    """
    seconds = config.seconds - config.tail
    if is_kit(program):
        notes = drums[(drums["pitch"] >= LOWEST_DRUM) & (drums["pitch"] <= HIGHEST_DRUM)]
        if not len(notes):
            return excerpt(drum_part(program - FIRST_KIT, seconds, draw), 0.0, seconds)
        config = config.model_copy(update={"transpose": 0, "idiomatic": 0.0})
    if split == "train":
        notes = vary(notes, config, draw)
        if config.idiomatic and draw.random() < config.idiomatic:
            notes = idiomatic(notes, program)
    elif config.begin == "note":
        notes = excerpt(notes, float(notes["start"].min(initial=np.inf)), np.inf)
    return hold(excerpt(notes, 0.0, seconds), [], 0.0)
