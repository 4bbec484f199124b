"""Notes as arrays: what encoders read, transcribers write and shards keep."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

LOWEST_KEY, HIGHEST_KEY = 21, 108  # MIDI numbers of the piano's 88 keys, A0 to C8
N_KEYS = HIGHEST_KEY - LOWEST_KEY + 1

NOTE = np.dtype(
    [("start", "f8"), ("end", "f8"), ("pitch", "i4"), ("velocity", "i4")]
)  # seconds, seconds, 21..108, 1..127
NoteArray: TypeAlias = NDArray[np.void]


def note_array(notes: Iterable[tuple[float, float, int, int]]) -> NoteArray:
    """(start, end, pitch, velocity) tuples as a read-only array in order of start, then pitch.

    >>> note_array([(0.5, 1.0, 64, 80), (0.0, 0.5, 60, 100)])["pitch"].tolist()
    [60, 64]
    """
    return in_order(np.array(list(notes), dtype=NOTE))


def in_order(notes: NoteArray) -> NoteArray:
    """The same notes, read-only, in order of start, then pitch."""
    notes = notes[np.lexsort((notes["pitch"], notes["start"]))]
    notes.flags.writeable = False
    return notes


def excerpt(notes: NoteArray, start: float, stop: float) -> NoteArray:
    """The notes struck in start <= t < stop (seconds), moved so that `start` is 0 and cut off at `stop`."""
    kept = notes[(notes["start"] >= start) & (notes["start"] < stop)].copy()
    kept["start"] -= start
    kept["end"] = np.minimum(kept["end"], stop) - start
    kept.flags.writeable = False
    return kept


def hold(notes: NoteArray, pedal: list[tuple[float, int]], end: float) -> NoteArray:
    """Apply a sustain pedal, given as (second, CC 64 value) events: down from 64 up. A pedal never lifted holds until `end`.

    A note also ends where its key is struck again, so that no key sounds twice at once.
    """
    held = notes.copy()
    if pedal:
        times, down = np.array([t for t, _ in sorted(pedal)]), np.array([v >= 64 for _, v in sorted(pedal)])
        state = np.searchsorted(times, held["end"], side="right") - 1  # the last pedal event at or before the release
        lifted = np.append(np.where(~down, times, np.inf), max(end, float(times[-1])))
        lifted = np.minimum.accumulate(lifted[::-1])[::-1]  # from each event on: when the pedal is next up
        caught = (state >= 0) & down[np.maximum(state, 0)]
        held["end"] = np.where(caught, np.maximum(held["end"], lifted[np.maximum(state, 0)]), held["end"])
    order = np.lexsort((held["start"], held["pitch"]))
    same_key = held["pitch"][order][1:] == held["pitch"][order][:-1]
    again = np.append(np.where(same_key, held["start"][order][1:], np.inf), np.inf)[: len(order)]
    held["end"][order] = np.minimum(held["end"][order], again)
    held = held[held["end"] > held["start"]]  # two strikes of one key at one instant are one note
    held.flags.writeable = False
    return held


def merge(parts: Iterable[NoteArray]) -> NoteArray:
    """Several parts as one: where they strike the same key, the earlier note ends."""
    return hold(in_order(np.concatenate([np.empty(0, NOTE), *parts])), [], 0.0)


def shares_keys(parts: Iterable[NoteArray]) -> bool:
    """Whether some key sounds in two places at once, so that merged parts would cut each other's notes."""
    notes = np.concatenate([np.empty(0, NOTE), *parts])
    notes = notes[np.lexsort((notes["start"], notes["pitch"]))]
    return bool(((notes["pitch"][1:] == notes["pitch"][:-1]) & (notes["start"][1:] < notes["end"][:-1])).any())


def polyphony(parts: Iterable[NoteArray]) -> int:
    """The most notes that sound at once."""
    notes = [part for part in parts if len(part)]
    if not notes:
        return 0
    starts, ends = (np.sort(np.concatenate([part[edge] for part in notes])) for edge in ("start", "end"))
    return int((np.arange(1, len(starts) + 1) - np.searchsorted(ends, starts, side="right")).max())


def as_rows(notes: NoteArray) -> NDArray[np.float64]:
    """Notes as a plain (notes, 4) float64 matrix, for files that know no structured types."""
    return np.stack([notes[name].astype(np.float64) for name in NOTE.names or ()], axis=1)


def from_rows(rows: NDArray[Any]) -> NoteArray:
    """The inverse of `as_rows`.

    rows: (notes, 4) numbers in the order of `NOTE`'s fields.
    """
    notes = np.empty(len(rows), NOTE)
    for column, name in enumerate(NOTE.names or ()):
        notes[name] = rows[:, column]
    notes.flags.writeable = False
    return notes
