"""The tracks of a score: notes, and curves of what is done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from m2m.core.channels import DOWN
from m2m.core.instruments import FIRST_KIT
from m2m.core.notes import NOTE, NoteArray, in_order

Curve: TypeAlias = NDArray[np.float64]  # (points, 2): from that second on, this value; the first point is at 0
GLIDE = np.dtype([("start", "f8"), ("key", "i4"), ("cents", "f8"), ("seconds", "f8")])

SOFT_PEDAL = 0.8  # times the velocity: 4 dB softer by General MIDI's 40 log10 law


def constant(value: float) -> Curve:
    """A curve that never changes."""
    curve = np.array([[0.0, value]])
    curve.flags.writeable = False
    return curve


def smoothed(curve: Curve, first: int, last: int, sample_rate: int) -> NDArray[np.float64]:
    """A curve at samples first..last: (last - first,), its steps as ramps of 10 ms."""
    if len(curve) < 2:
        return np.full(last - first, curve[0, 1])
    width = max(1, sample_rate // 100)
    at = (curve[:, 0] * sample_rate).astype(np.int64)
    samples = np.arange(first - width, last).clip(0)
    steps = curve[np.searchsorted(at, samples, side="right") - 1, 1]
    sums = steps.cumsum()  # the mean of each sample and the `width - 1` before it
    means: NDArray[np.float64] = (sums[width:] - sums[:-width]) / width
    return means


@dataclass(frozen=True, eq=False)
class Track:
    """What one MIDI channel plays on one program and kit.

    program:  General MIDI program, 0..127; of drums, the kit.
    notes:    `NOTE` array, keys of the piano; `end` is where the sound is let go, pedals included.
    outside:  the notes on keys that the piano has not, below A0 or above C8.
    glides:   `GLIDE` array, portamento: which notes (start, key) begin so many cents off, and how long they take to their pitch.
    gain:     linear factor. Volume 100 and expression 127 (MIDI's power-on state) are 1.0; attenuation is the 40 log10 law of
              the General MIDI guidelines. 0 where "all sound off" has cut the sound.
    pan:      -1 (left) to 63/64 (right). bend: cents, with the channel's tuning. modulation: 0..1.
    controls: other controllers that were moved, by name, as values of 0..127.
    bank:     coarse * 128 + fine. channel: from 1. port: from 0.
    """

    name: str
    program: int
    is_drum: bool
    notes: NoteArray
    gain: Curve
    pan: Curve = field(default_factory=lambda: constant(0.0))
    bend: Curve = field(default_factory=lambda: constant(0.0))
    modulation: Curve = field(default_factory=lambda: constant(0.0))
    outside: NoteArray = field(default_factory=lambda: np.empty(0, NOTE))
    glides: NDArray[np.void] = field(default_factory=lambda: np.empty(0, GLIDE))
    controls: Mapping[str, Curve] = field(default_factory=dict)
    bank: int = 0
    channel: int = 1
    port: int = 0

    @property
    def sounding(self) -> NoteArray:
        """All its notes, on whatever keys, in order."""
        return in_order(np.concatenate([self.notes, self.outside])) if len(self.outside) else self.notes

    @property
    def is_playable(self) -> bool:
        """Whether it has notes that can sound: of drums, only those on keys of the piano can."""
        return bool(len(self.notes) or (len(self.outside) and not self.is_drum))

    @property
    def instrument(self) -> int:
        """Its instrument's number, as core/instruments.py counts: a drum kit's is 128 and the program."""
        return self.program + FIRST_KIT * self.is_drum

    def gain_curve(self, first: int, last: int, sample_rate: int) -> NDArray[np.float32]:
        """The gain of samples first..last: (last - first,) float32, steps smoothed over 10 ms so that no jump clicks."""
        return smoothed(self.gain, first, last, sample_rate).astype(np.float32)

    @cached_property
    def struck(self) -> NoteArray:
        """Its notes as they sound: those struck while the soft pedal is down have a lower velocity."""
        pedal = self.controls.get("soft pedal")
        if pedal is None or self.is_drum:
            return self.sounding
        notes = self.sounding.copy()
        down = pedal[np.searchsorted(pedal[:, 0], notes["start"], side="right") - 1, 1] >= DOWN
        notes["velocity"][down] = np.maximum(1, np.rint(SOFT_PEDAL * notes["velocity"][down]))
        notes.flags.writeable = False
        return notes


@dataclass(frozen=True)
class Omission:
    """Something in the file that will not sound as written. second: where it first does not."""

    kind: str
    count: int
    text: str
    second: float = 0.0
