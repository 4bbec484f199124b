"""The suite of score encoders: every promise of core/encoder.py."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import SkipTest

import numpy as np
from numpy.typing import NDArray

from m2m.core.encoder import ScoreEncoder
from m2m.core.score import NoteArray, note_array
from m2m.core.testing.suite import BrokenPromiseError, Conformance, made, require

Array = NDArray[np.float32]
RATE = 125.0  # frames a second, the default mel's


class EncoderConformance(Conformance):
    """tolerance: by which numbers of a roll may differ between ways that should give the same."""

    kind = "encoder"
    tolerance: ClassVar[float] = 1e-6

    @property
    def encoder(self) -> ScoreEncoder:
        """The encoder, set up with the suite's options."""
        encoder: ScoreEncoder = made(self.kind, self.name, self.options)
        return encoder

    def encode(self, notes: NoteArray, start: int, frames: int, rate: float = RATE) -> Array:
        """Frames start..start + frames of a roll: (frames, n_features) float32, held to its shape, dtype and range."""
        roll: Any = self.encoder.encode(notes, rate, start, frames)
        wanted = (frames, self.encoder.n_features)
        require(isinstance(roll, np.ndarray), f"a {type(roll).__name__} came, a numpy array was wanted.")
        require(roll.shape == wanted, f"a roll of shape {roll.shape} came, {wanted} was wanted.")
        require(roll.dtype == np.float32, f"a roll of {roll.dtype} came, float32 was wanted.")
        low, high = float(roll.min(initial=0.0)), float(roll.max(initial=0.0))
        require(
            low >= 0 and high <= 1, f"numbers from {low:g} to {high:g} came, 0 to 1 was wanted."
        )  # NaN fails as well
        return np.asarray(roll)

    def test_shape_type_and_range(self) -> None:
        """(frames, n_features) float32 in 0..1 come out, at any place, length and frame rate"""
        features = self.encoder.n_features
        require(
            isinstance(features, int) and features > 0, f"n_features is {features!r}, a number from 1 up was wanted."
        )
        for start, frames in ((0, 1), (0, 300), (-50, 100), (120, 7), (100_000, 10), (0, 0)):
            for rate in (RATE, 86.1328125, 31.25):
                self.encode(tune(), start, frames, rate)

    def test_silence(self) -> None:
        """Nothing but zeros where nothing sounds: without notes, before the first, and long after the last"""
        for notes, start in ((note_array([]), 0), (tune(), -500), (tune(), 500_000)):
            require(
                not self.encode(notes, start, 100).any(), f"at frame {start} nothing sounds, and the roll is not zero."
            )

    def test_windows_side_by_side_are_the_whole(self) -> None:
        """Any window by itself equals that part of the whole"""
        whole = self.encode(tune(), -20, 420)
        for size in (1, 16, 37, 200):
            parts = [self.encode(tune(), at, min(size, 400 - at)) for at in range(-20, 400, size)]
            self._same(np.concatenate(parts), whole, f"windows of {size} frames")

    def test_every_note_is_seen(self) -> None:
        """Each of the 88 keys, and how hard it is struck, makes a difference"""
        seen = [self.encode(note_array([(0.1, 0.5, key, 64)]), 0, 80) for key in range(21, 109)]
        blind = [key for key, roll in enumerate(seen, 21) if not roll.any()]
        require(not blind, f"notes of these keys leave the roll empty: {blind}.")
        require(len({roll.tobytes() for roll in seen}) == 88, "different keys give the same roll.")
        louder = self.encode(note_array([(0.1, 0.5, 60, 127)]), 0, 80)
        if np.array_equal(louder, seen[60 - 21]):
            raise SkipTest("it makes no difference how hard a key is struck")

    def test_a_later_note_changes_nothing_before_it(self) -> None:
        """A note that begins after a window does not change it"""
        early = note_array([(0.1, 0.4, 60, 80)])
        both = note_array([(0.1, 0.4, 60, 80), (3.0, 3.5, 64, 80)])
        self._same(self.encode(both, 0, 200), self.encode(early, 0, 200), "a window before a later note")

    def test_it_is_a_function(self) -> None:
        """The same notes give the same roll, from any instance, and are not written to"""
        from m2m.core.plugins import registry

        notes = tune().copy()
        try:
            first = self.encode(notes, 0, 300).copy()
        except ValueError as error:
            raise BrokenPromiseError(f"it wrote into its input: {error}") from error
        require(np.array_equal(notes, tune()), "the notes were changed: work on a copy.")
        self._same(self.encode(notes, 0, 300), first, "a second call")
        again = registry.create("encoder", self.name, options=self.encoder.options.model_dump(mode="json"))
        self._same(again.encode(notes, RATE, 0, 300), first, "another instance with the same options")

    def test_threads(self) -> None:
        """Several threads may use one instance at once"""
        alone = [self.encode(tune(), 50 * n, 100) for n in range(4)]
        for number, roll in enumerate(self.at_once(lambda n: self.encode(tune(), 50 * n, 100))):
            self._same(roll, alone[number], f"thread {number} of four at once")

    def _same(self, roll: Array, wanted: Array, what: str) -> None:
        apart = float(np.abs(roll - wanted).max(initial=0.0)) if roll.shape == wanted.shape else np.inf
        require(apart <= self.tolerance, f"{what}: the roll is {apart:g} apart, {self.tolerance:g} is the most.")


def tune() -> NoteArray:
    """Two and a half seconds of overlapping, repeated and very short notes over the whole keyboard."""
    return note_array(
        [
            *((0.05 * n, 0.05 * n + 0.3, 21 + 37 * n % 88, 1 + 29 * n % 127) for n in range(40)),
            *((0.5 * n, 0.5 * n + 0.499, 60, 100) for n in range(4)),
            (1.0, 1.0005, 72, 127),
            (0.0, 2.5, 40, 64),
        ]
    )
