"""How far notes sound from the pitch of their keys: bend wheel and tuning, vibrato, portamento, keys beyond the piano's.

A roll has the piano's 88 keys and nothing between them. All else is a bend (core/rendering/bends.py), one for all notes of a part
at a time. So a track is split into voices: notes that always share one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from m2m.core.notes import HIGHEST_KEY, LOWEST_KEY, NoteArray, in_order
from m2m.core.tracks import GLIDE, Curve, Track, constant

# The vibrato of the SoundFont 2.04 specification: depth by modulation or channel pressure (8.4), rate (8.1.2).
VIBRATO_CENTS, VIBRATO_HZ = 50.0, 8.176
MOST = 2400  # cents; a part is computed in a time of its own, which passes four times as fast then
GLIDING = 4  # voices for notes that glide, at most
RINGING = 0.25  # seconds for which a gliding voice waits after a note, so as not to take its release along


@dataclass(frozen=True, eq=False)
class Voice:
    """Notes of a track, on keys of the piano, that share their distance from these keys.

    bend: cents above these keys, vibrato and glides aside. glides: `GLIDE` array, of some of the notes, which sound alone.
    """

    track: Track
    notes: NoteArray
    bend: Curve
    glides: NDArray[np.void] = field(default_factory=lambda: np.empty(0, GLIDE))

    @property
    def is_straight(self) -> bool:
        """Whether the notes always have their keys' pitch."""
        moved = any(curve[:, 1].any() for curve in (self.bend, self.track.modulation, _pressure(self.track)))
        return not (moved or len(self.glides))

    def cents(self, frames: int, frame_rate: float) -> NDArray[np.float32]:
        """By how much the notes sound above their keys, at the centre of each frame: (frames,) float32, cents."""
        at = np.arange(frames) / frame_rate
        cents = _held(self.bend, at)
        depth = _held(self.track.modulation, at) + _held(_pressure(self.track), at) / 127
        if depth.any():
            struck = self.notes["start"][np.searchsorted(self.notes["start"], at, side="right").clip(1) - 1]
            cents = cents + VIBRATO_CENTS * depth * _triangle(VIBRATO_HZ * (at - struck))
        for start, _, distance, seconds in self.glides.tolist():
            gliding = slice(*np.searchsorted(at, (start, start + seconds)))
            cents[gliding] += distance * (1 - (at[gliding] - start) / seconds)
        return cents.clip(-MOST, MOST).astype(np.float32)


def voices(track: Track) -> Iterator[Voice]:
    """A track's voices, none of them without notes; together they have all its notes, but for drums beyond the piano's keys.

    A tuning that never changes goes to the nearest keys. Notes beyond the piano's keys sound by whole octaves. A note that glides
    has a voice for itself while it sounds; where GLIDING of them sound at once, a further one begins at its own pitch.
    """
    notes = track.notes if track.is_drum else track.struck
    bend = track.bend[
        np.searchsorted(track.bend[:, 0], notes["start"][0], side="right") - 1 :
    ]  # from the first strike on
    tuning = round(bend[0, 1] / 100) if len(bend) == 1 and not track.is_drum else 0  # semitones
    keys = notes["pitch"] + tuning
    octaves = np.where(keys < LOWEST_KEY, (keys - LOWEST_KEY) // 12, -(-(keys - HIGHEST_KEY).clip(0) // 12))
    number = np.full(len(notes), GLIDING)  # of each note's voice; GLIDING: of those that do not glide
    free = np.full(GLIDING, -np.inf)  # seconds, from when a gliding voice takes another note
    glides: dict[tuple[int, int], list[np.void]] = {}
    places = {note: n for n, note in enumerate(notes[["start", "pitch"]].tolist())} if len(track.glides) else {}
    for glide in track.glides:
        place, waiting = places.get(glide.tolist()[:2]), np.flatnonzero(free <= glide["start"])
        if place is not None and len(waiting):
            number[place] = waiting[0]
            free[waiting[0]] = notes["end"][place] + RINGING
            glides.setdefault((int(waiting[0]), int(octaves[place])), []).append(glide)
    for which, octave in sorted(set(zip(number.tolist(), octaves.tolist(), strict=True)), reverse=True):
        own = (number == which) & (octaves == octave)
        kept = notes[own]
        kept["pitch"] = keys[own] - 12 * octave
        above = bend.copy()
        above[0, 0] = 0.0
        above[:, 1] += 1200 * octave - 100 * tuning
        yield Voice(track, in_order(kept), above, np.array(glides.get((which, octave), []), GLIDE))


def _pressure(track: Track) -> Curve:
    return track.controls.get("pressure", constant(0.0))


def _held(curve: Curve, at: NDArray[np.float64]) -> NDArray[np.float64]:
    """A curve's value at some seconds: (n,) -> (n,)."""
    return curve[np.searchsorted(curve[:, 0], at, side="right").clip(1) - 1, 1]


def _triangle(turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """A triangle wave that begins at 0 and rises, -1..1: (n,) -> (n,)."""
    return 1 - np.abs((turns + 0.25) % 1 * 4 - 2)
