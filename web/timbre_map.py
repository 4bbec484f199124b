"""The map of a model's timbre space, and its shade: how the model sounds at each point."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.mel import MelSpec, filter_bank, linear_mel
from m2m.core.mel2mel import Mel2Mel
from m2m.core.score import note_array
from m2m.core.timbre import TimbreSpace
from m2m.web.messages import Instrument, MapInfo, Shade

COLUMNS, ROWS = 24, 18  # of the shade's grid
MARGIN = 0.18  # of the instruments' extent, around it
BATCH = 16  # points predicted at once
# What is played at every point: a chord, broken and then held.
PHRASE = note_array(
    [(0.1 * i, 1.0, key, 80) for i, key in enumerate((48, 60, 64, 67))] + [(0.5, 1.0, key, 96) for key in (72, 76)]
)
SECONDS = 1.2  # of the phrase


def draw_map(name: str, space: TimbreSpace) -> MapInfo:
    """Where the pitched instruments of the model `name` lie."""
    space = space.pitched
    plane = space.plane()
    low, high = plane.min(axis=0), plane.max(axis=0)
    reach = np.maximum(high - low, max(float((high - low).max()) * 0.5, 1e-3))  # so that a map is never a line
    middle = (low + high) / 2
    low, high = middle - reach * (0.5 + MARGIN), middle + reach * (0.5 + MARGIN)
    spread = ((space.points - space.points.mean(axis=0)) ** 2).sum()
    programs = space.speaks_for()
    return MapInfo(
        model=name,
        dimensions=space.points.shape[1],
        explained=float((plane**2).sum() / spread) if spread else 1.0,
        x=(float(low[0]), float(high[0])),
        y=(float(low[1]), float(high[1])),
        instruments=[
            Instrument(name=instrument, program=program, x=float(x), y=float(y), programs=programs[instrument])
            for (instrument, program), (x, y) in zip(space.instruments.items(), plane, strict=True)
        ],
    )


def shade(model: Mel2Mel, space: TimbreSpace, drawn: MapInfo) -> dict[str, Shade]:
    """The spectral centroid (Hz) and mean energy (dB) of the phrase at each point: name -> shade. Takes some seconds."""
    x = np.linspace(*drawn.x, COLUMNS)
    y = np.linspace(drawn.y[1], drawn.y[0], ROWS)  # from the top down, as pictures are
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    both = np.concatenate([measure(mels, model.config.mel) for mels in play_at(model, space.lift(points))])
    units = {"centroid": "Hz", "energy": "dB"}
    return {
        by: Shade(by=by, unit=unit, columns=COLUMNS, rows=ROWS, values=np.round(values, 2).tolist())
        for (by, unit), values in zip(units.items(), both.T, strict=True)
    }


@torch.inference_mode()
def play_at(model: Mel2Mel, points: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
    """The phrase at points of the timbre space.

    points: (points, dimensions) float32. Gives log-mels, (up to BATCH, frames, n_mels) float32, nepers.
    """
    spec, device = model.config.mel, model.outward.weight.device
    roll = torch.from_numpy(model.encode(PHRASE, 0, int(SECONDS * spec.frame_rate))).to(device)
    mels = []
    for start in range(0, len(points), BATCH):
        some = torch.from_numpy(points[start : start + BATCH, None]).to(device)
        mels.append(model(roll.expand(len(some), -1, -1), some).float().clamp_min(spec.silence).cpu().numpy())
    return mels


def measure(mels: NDArray[np.float32], spec: MelSpec) -> NDArray[np.float64]:
    """Spectral centroid and mean energy of log-mels.

    mels: (mels, frames, n_mels) float32, nepers. Gives (mels, 2) float64: the centroid in Hz, the energy in dB.
    """
    magnitude = linear_mel(mels, spec).astype(np.float64) ** (1 / spec.power)
    filters = filter_bank(spec).numpy().astype(np.float64)
    bins = np.linspace(0.0, spec.sample_rate / 2, filters.shape[1])
    centres = filters @ bins / filters.sum(axis=1).clip(1e-9)  # Hz, of each band
    centroid = (magnitude @ centres).sum(axis=1) / magnitude.sum(axis=(1, 2)).clip(1e-9)
    energy = 10 * np.log10((magnitude**2).mean(axis=(1, 2)).clip(1e-12))
    return np.stack([centroid, energy], axis=1)
