"""A timbre space: the trained instruments' points, and everything in between.

How a timbre is written:

    trumpet                           one instrument
    trumpet:0.7,church-organ:0.3      a point between instruments: the weighted mean of theirs
    0:grand-piano,30:vibraphone       a path: at 0 s the one, at 30 s the other, straight in between
    @0.2,-1.3,...                     the coordinates themselves, one number a dimension
    map@0.2,-1.3                      a place on the map of the space (`m2m timbres` tells where on it the instruments are)
    0:map@0,1; 8:organ:3,harp:1       a path through any of these: semicolons between its points

Drum kits have points, too, but play drums only: they are not on the map, and no mixture or path has kits and instruments.
"""

from __future__ import annotations

import difflib
import math
import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.instruments import FIRST_KIT, is_kit, nearest_instrument

FARTHEST = 1e6  # of a coordinate: further out, squares leave float32


@dataclass(frozen=True)
class Timbre:
    """A point, or a path through points.

    seconds: (points,) when each point is reached, ascending; one point holds still for ever.
    points:  (points, dimensions) float32.
    text:    how it was written.
    is_kit:  whether it is a drum kit's, which plays drums only.
    """

    seconds: NDArray[np.float64]
    points: NDArray[np.float32]
    text: str
    is_kit: bool = False

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
    """The instruments of a model: name -> number (core/instruments.py), and their points, (instruments, dimensions) float32."""

    instruments: dict[str, int]
    points: NDArray[np.float32]

    @cached_property
    def pitched(self) -> TimbreSpace:
        """The space without its drum kits: what the map shows."""
        kept = {name: number for name, number in self.instruments.items() if not is_kit(number)}
        return TimbreSpace(kept, self.points[[name in kept for name in self.instruments]])

    def parse(self, text: str) -> Timbre:
        """Read a timbre as the module's docstring describes. Raises M2MError that says what is wrong with it.

        >>> space = TimbreSpace({"organ": 19, "trumpet": 56}, np.eye(2, dtype=np.float32))
        >>> space.parse("organ:3,trumpet:1").points.tolist()
        [[0.75, 0.25]]
        >>> space.parse("0:organ,2:trumpet").curve(frames=3, frame_rate=1.0)[1].tolist()
        [0.5, 0.5]
        """
        named = {name.strip() for name in re.split("[:,;]", text)} & self.instruments.keys()
        kits = {name for name in named if is_kit(self.instruments[name])}
        if kits and kits != named:
            raise M2MError(
                f"timbre {text!r}: {min(kits)} is a drum kit and {min(named - kits)} is none; they cannot be mixed."
            )
        return replace(self._read(text), is_kit=bool(kits))

    def _read(self, text: str) -> Timbre:
        if ";" in text:
            nodes = [tuple(side.strip() for side in part.split(":", 1)) for part in text.split(";") if part.strip()]
            if any(len(node) != 2 or _number(node[0]) is None for node in nodes):
                raise M2MError(
                    f"timbre {text!r}: a point of a path is 'seconds:timbre', as in '0:trumpet; 8:trumpet:0.7,vibraphone:0.3'."
                )
            return self._path([(_number(node[0]) or 0.0, self._still(node[1], text)) for node in nodes], text)
        pairs = _pairs(text)
        if all(len(pair) == 2 and _number(pair[0]) is not None for pair in pairs):
            return self._path([(_number(pair[0]) or 0.0, self.point(pair[1])) for pair in pairs], text)
        return Timbre(np.zeros(1), self._still(text, text)[None], text)

    def point(self, name: str) -> NDArray[np.float32]:
        """An instrument's point: (dimensions,) float32. Raises M2MError, with the nearest names, for one that is not there."""
        if name not in self.instruments:
            near = difflib.get_close_matches(name, self.instruments, n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(self.instruments)}."
            raise M2MError(f"no timbre {name!r}; {hint}")
        point: NDArray[np.float32] = self.points[list(self.instruments).index(name)]
        return point

    def for_program(self, number: int) -> str | None:
        """The instrument that stands in for a General MIDI program, or for a drum kit (128 and its program), if one can."""
        return nearest_instrument(number, self.instruments)

    def speaks_for(self) -> dict[str, list[int]]:
        """The General MIDI programs that each instrument plays."""
        chosen = [(self.for_program(program), program) for program in range(FIRST_KIT)]
        return {name: [program for by, program in chosen if by == name] for name in self.instruments}

    @cached_property
    def _map(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The map's origin, (dimensions,), and its two axes, (2, dimensions): the first principal components."""
        points = self.pitched.points.astype(np.float64)
        _, _, axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
        axes = np.pad(axes[:2], ((0, 2 - len(axes[:2])), (0, 0)))
        strongest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
        return points.mean(axis=0), np.where(
            strongest < 0, -axes, axes
        )  # else the sign is the linear algebra library's

    def plane(self) -> NDArray[np.float64]:
        """The instruments on a plane, for a map: (instruments, 2), the first two principal components of the pitched ones."""
        origin, axes = self._map
        return (self.points - origin) @ axes.T

    def lift(self, places: NDArray[np.floating]) -> NDArray[np.float32]:
        """From the map back into the space: (places, dimensions) float32.

        places: (places, 2) on the map.

        The plane of the first two principal components misses most instruments of a space with more dimensions. So each
        instrument's residual is added around its place, weighted by the inverse fourth power of the distance (Shepard's
        interpolation): at an instrument's place the map returns that instrument. In two dimensions there is no residual.
        """
        origin, axes = self._map
        plane = self.pitched.plane()
        missed = self.pitched.points - (origin + plane @ axes)  # (instruments, dimensions)
        far = ((np.asarray(places, np.float64)[:, None] - plane) ** 2).sum(axis=-1)  # squared: (places, instruments)
        scale = max(float((plane**2).sum(axis=1).max()), 1e-12)
        weights = (far / scale + 1e-9) ** -2  # at a distance of nought finite, and then the only one that counts
        weights /= weights.sum(axis=1, keepdims=True)
        return (origin + places @ axes + weights @ missed).astype(np.float32)

    def _still(self, text: str, whole: str) -> NDArray[np.float32]:
        """One point, (dimensions,), written in any way; `whole` is what an error quotes."""
        if text.startswith("map@"):
            return self.lift(self._coordinates(text[3:], whole, 2, "of the map")[None])[0]
        if text.startswith("@"):
            return self._coordinates(text, whole, self.points.shape[1], "of the space").astype(np.float32)
        pairs = _pairs(text)
        if len(pairs) == 1 and len(pairs[0]) == 1:
            return self.point(pairs[0][0])
        if any(len(pair) != 2 for pair in pairs):
            raise M2MError(
                f"timbre {whole!r}: every part needs a number, 'name:weight,...' for a mixture, 'seconds:name,...' for a path; "
                "a path through mixtures has ';' between its points, '0:trumpet; 8:trumpet:0.7,vibraphone:0.3'."
            )
        return self._mixture(pairs, whole)

    def _coordinates(self, text: str, whole: str, dimensions: int, of: str) -> NDArray[np.float64]:
        numbers = [_number(part) for part in text[1:].split(",")]
        if len(numbers) != dimensions or None in numbers or any(abs(number or 0.0) > FARTHEST for number in numbers):
            raise M2MError(f"timbre {whole!r}: '@' and {dimensions} numbers are wanted, one a dimension {of}.")
        return np.array(numbers, np.float64)

    def _mixture(self, pairs: list[tuple[str, ...]], text: str) -> NDArray[np.float32]:
        numbers = [_number(weight) for _, weight in pairs]
        weights = [number for number in numbers if number is not None and number >= 0]
        if len(weights) < len(pairs) or not sum(weights) > 0:
            raise M2MError(
                f"timbre {text!r}: the weights of a mixture are numbers from 0 up and not all 0: 'trumpet:0.7,vibraphone:0.3'; "
                "between the points of a path through mixtures stands ';'."
            )
        points = np.stack([self.point(name) for name, _ in pairs])
        mixed: NDArray[np.float32] = np.average(points, axis=0, weights=weights).astype(np.float32)
        return mixed

    def _path(self, nodes: list[tuple[float, NDArray[np.float32]]], text: str) -> Timbre:
        seconds = np.array([second for second, _ in nodes])
        if not len(nodes) or (seconds < 0).any() or (np.diff(seconds) <= 0).any():
            raise M2MError(
                f"timbre {text!r}: the seconds of a path start at 0 or later and rise, as in '0:grand-piano,30:vibraphone'."
            )
        return Timbre(seconds, np.stack([point for _, point in nodes]), text)


def _pairs(text: str) -> list[tuple[str, ...]]:
    return [tuple(side.strip() for side in part.split(":", 1)) for part in text.split(",")]


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
