"""m2m's reading of a MIDI file beside the second one (mido_machine.py): what differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from mido_channel import PartKey
from mido_machine import Part, Reading, settled
from numpy.typing import NDArray

from m2m.core.assembly import DRUM_SECONDS, STRIKE_AHEAD
from m2m.core.score import Score
from m2m.core.tracks import Track

CLOSE = 1e-7  # seconds, where one tick is far more; and of a curve's values, of which gain is about 1 and bend in cents


def differences(score: Score, reading: Reading) -> Iterator[str]:
    """One line for each thing in which the two differ; none where they agree."""
    tracks = {PartKey(t.port, t.channel - 1, t.bank, t.program, t.is_drum): t for t in score.tracks}
    if tracks.keys() != reading.parts.keys() or len(tracks) != len(score.tracks):
        yield f"parts: {sorted(tracks)} and {sorted(reading.parts)}"
        return
    for key, part in reading.parts.items():
        yield from (f"{key}: {line}" for line in _of_a_track(tracks[key], key, part, reading))
    empty = sum(omission.count for omission in score.omissions if omission.kind == "empty")
    if empty != sum(part.empty for part in reading.parts.values()):
        yield f"notes of no length: {empty} and {sum(part.empty for part in reading.parts.values())}"


def _of_a_track(track: Track, key: PartKey, part: Part, reading: Reading) -> Iterator[str]:
    ours = sorted(track.sounding.tolist())
    theirs = sorted(_in_seconds(key, part, reading))
    if [note[2:] for note in ours] != [note[2:] for note in theirs]:
        yield f"keys and velocities: {ours} and {theirs}"
    elif not np.allclose([n[:2] for n in ours], [n[:2] for n in theirs], rtol=1e-12, atol=CLOSE):
        yield f"times: {ours} and {theirs}"
    curves = reading.curves[key.port, key.channel]

    def seconds(tick: int) -> float:
        return float(reading.seconds(tick))

    gain = _cut([(seconds(tick), float(value)) for tick, value in settled(curves.gain, None)], part, seconds)
    bend = [(seconds(tick), float(value)) for tick, value in settled(curves.bend, None)]
    pan = [(seconds(tick), (value - 64) / 64) for tick, value in settled(curves.pan, None)]
    modulation = [(seconds(tick), value / 127) for tick, value in settled(curves.modulation, None)]
    for name, start, points in (
        ("gain", 1.0, gain),
        ("bend", 0.0, bend),
        ("pan", 0.0, pan),
        ("modulation", 0.0, modulation),
    ):
        if not _equal(getattr(track, name), np.array([(0.0, start), *points])):
            yield f"{name}: {getattr(track, name).tolist()} and {points}"


def _in_seconds(key: PartKey, part: Part, reading: Reading) -> Iterator[tuple[float, float, int, int]]:
    for start, end, pitch, velocity in part.notes:
        first, last = float(reading.seconds(start)), float(reading.seconds(end))
        if key.is_drum:
            yield first, max(last, first + DRUM_SECONDS), pitch, velocity
        else:
            yield first, last, pitch, velocity


def _cut(gain: list[tuple[float, float]], part: Part, seconds: Callable[[int], float]) -> list[tuple[float, float]]:
    """The gain, and silence from each "all sound off" to a little before the next strike."""
    for start, end in part.cuts:
        first = seconds(start)
        last = max(first, math.inf if math.isinf(end) else seconds(int(end)) - STRIKE_AHEAD)
        after = [value for time, value in [(0.0, 1.0), *gain] if time <= last][-1]
        kept = [(time, value) for time, value in gain if not first <= time <= last]
        gain = sorted(
            [*kept, (first, 0.0), *([(last, after)] if math.isfinite(last) else [])], key=lambda point: point[0]
        )
    return gain


def _equal(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Whether two curves have the same value between any two of their points."""
    points = np.unique(np.concatenate([one[:, 0], other[:, 0]]))
    points = np.append(points, points[-1] + 1)
    middles = ((points[1:] + points[:-1]) / 2)[np.diff(points) > CLOSE]
    first, second = (curve[np.searchsorted(curve[:, 0], middles, side="right") - 1, 1] for curve in (one, other))
    return np.allclose(first, second, rtol=1e-9, atol=CLOSE)
