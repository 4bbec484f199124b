"""A timbre space: the trained instruments' points, and everything in between.

How a timbre is written:

    trumpet                           one instrument
    trumpet:0.7,church-organ:0.3      a point between instruments: the weighted mean of theirs
    0:grand-piano,30:vibraphone       a path: at 0 s the one, at 30 s the other, straight in between
    @0.2,-1.3,...                     the coordinates themselves, one number a dimension
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.instruments import nearest_instrument


@dataclass(frozen=True)
class Timbre:
    """A point, or a path through points.

    seconds: (points,) when each point is reached, ascending; one point holds still for ever.
    points:  (points, dimensions) float32.
    text:    how it was written.
    """

    seconds: NDArray[np.float64]
    points: NDArray[np.float32]
    text: str

    def curve(self, frames: int, frame_rate: float) -> NDArray[np.float32]:
        """What a conditioner is given: (dimensions,) where it holds still, (frames, dimensions) along a path."""
        if len(self.points) == 1:
            return self.points[0]
        at = np.arange(frames) / frame_rate
        return np.stack([np.interp(at, self.seconds, axis) for axis in self.points.T], axis=1).astype(np.float32)

    def __repr__(self) -> str:
        return f"Timbre({self.text!r})"


@dataclass(frozen=True)
class TimbreSpace:
    """The instruments of a model: name -> General MIDI program, and their points, (instruments, dimensions) float32."""

    instruments: dict[str, int]
    points: NDArray[np.float32]

    def parse(self, text: str) -> Timbre:
        """Read a timbre as the module's docstring describes. Raises M2MError that says what is wrong with it.

        >>> space = TimbreSpace({"organ": 19, "trumpet": 56}, np.eye(2, dtype=np.float32))
        >>> space.parse("organ:3,trumpet:1").points.tolist()
        [[0.75, 0.25]]
        >>> space.parse("0:organ,2:trumpet").curve(frames=3, frame_rate=1.0)[1].tolist()
        [0.5, 0.5]
        """
        if text.startswith("@"):
            return Timbre(np.zeros(1), self._coordinates(text)[None], text)
        pairs = [tuple(side.strip() for side in part.split(":", 1)) for part in text.split(",")]
        if len(pairs) == 1 and len(pairs[0]) == 1:
            return Timbre(np.zeros(1), self.point(pairs[0][0])[None], text)
        if any(len(pair) != 2 for pair in pairs):
            raise M2MError(
                f"timbre {text!r}: every part needs a number: 'name:weight,...' for a mixture, 'seconds:name,...' for a path."
            )
        if all(_number(first) is not None for first, _ in pairs):
            return self._path([(_number(first) or 0.0, name) for first, name in pairs], text)
        return Timbre(np.zeros(1), self._mixture(pairs, text)[None], text)

    def point(self, name: str) -> NDArray[np.float32]:
        """An instrument's point: (dimensions,)."""
        if name not in self.instruments:
            near = difflib.get_close_matches(name, self.instruments, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(self.instruments)}."
            raise M2MError(f"no timbre {name!r}; {hint}")
        point: NDArray[np.float32] = self.points[list(self.instruments).index(name)]
        return point

    def for_program(self, program: int) -> str:
        """The instrument that speaks for a General MIDI program."""
        return nearest_instrument(program, self.instruments)

    def plane(self) -> NDArray[np.float64]:
        """The instruments on a plane, for a map: (instruments, 2), the first two principal components of their points."""
        centred = self.points.astype(np.float64) - self.points.mean(axis=0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        plane = centred @ axes[:2].T
        return np.pad(plane, ((0, 0), (0, 2 - plane.shape[1])))

    def _coordinates(self, text: str) -> NDArray[np.float32]:
        numbers = [_number(part) for part in text[1:].split(",")]
        if None in numbers or len(numbers) != self.points.shape[1]:
            raise M2MError(
                f"timbre {text!r}: '@' and {self.points.shape[1]} numbers are wanted, one a dimension of the space."
            )
        return np.array(numbers, np.float32)

    def _mixture(self, pairs: list[tuple[str, ...]], text: str) -> NDArray[np.float32]:
        numbers = [_number(weight) for _, weight in pairs]
        weights = [number for number in numbers if number is not None and number >= 0]
        if len(weights) < len(pairs) or not sum(weights) > 0:
            raise M2MError(
                f"timbre {text!r}: the weights of a mixture are numbers from 0 up and not all 0: 'trumpet:0.7,organ:0.3'."
            )
        points = np.stack([self.point(name) for name, _ in pairs])
        mixed: NDArray[np.float32] = np.average(points, axis=0, weights=weights).astype(np.float32)
        return mixed

    def _path(self, nodes: list[tuple[float, str]], text: str) -> Timbre:
        seconds = np.array([second for second, _ in nodes])
        if (seconds < 0).any() or (np.diff(seconds) <= 0).any():
            raise M2MError(
                f"timbre {text!r}: the seconds of a path start at 0 or later and rise, as in '0:grand-piano,30:vibraphone'."
            )
        return Timbre(seconds, np.stack([self.point(name) for _, name in nodes]), text)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
