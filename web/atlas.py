"""The map of a model's timbre space, shaded by how the model sounds at every place of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.mel import MelSpec, filter_bank, linear_mel
from m2m.core.mel2mel import Mel2Mel
from m2m.core.score import note_array
from m2m.core.timbre import TimbreSpace
from m2m.web.messages import Instrument, Map, Shade

COLUMNS, ROWS = 24, 18
MARGIN = 0.18  # of the instruments' extent, around it
PLACES_AT_ONCE = 16
# What is played at every place: a chord, broken and then held.
PHRASE = note_array(
    [(0.1 * i, 1.0, key, 80) for i, key in enumerate((48, 60, 64, 67))] + [(0.5, 1.0, key, 96) for key in (72, 76)]
)
SECONDS = 1.2


def draw_map(name: str, space: TimbreSpace) -> Map:
    """Where the instruments lie."""
    plane = space.plane()
    low, high = plane.min(axis=0), plane.max(axis=0)
    reach = np.maximum(high - low, max(float((high - low).max()) * 0.5, 1e-3))  # no map is a line
    middle = (low + high) / 2
    low, high = middle - reach * (0.5 + MARGIN), middle + reach * (0.5 + MARGIN)
    spread = ((space.points - space.points.mean(axis=0)) ** 2).sum()
    speaks: dict[str, list[int]] = {instrument: [] for instrument in space.instruments}
    for program in range(128):
        speaks[space.for_program(program)].append(program)
    return Map(
        model=name,
        dimensions=space.points.shape[1],
        explained=float((plane**2).sum() / spread) if spread else 1.0,
        x=(float(low[0]), float(high[0])),
        y=(float(low[1]), float(high[1])),
        instruments=[
            Instrument(name=instrument, program=program, x=float(x), y=float(y), programs=speaks[instrument])
            for (instrument, program), (x, y) in zip(space.instruments.items(), plane, strict=True)
        ],
    )


def shade(model: Mel2Mel, space: TimbreSpace, drawn: Map) -> dict[str, Shade]:
    """Spectral centroid and mean energy of the phrase all over the map: name -> its shade. Takes some seconds."""
    x = np.linspace(*drawn.x, COLUMNS)
    y = np.linspace(drawn.y[1], drawn.y[0], ROWS)  # from the top down, as pictures are
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    both = np.concatenate([measure(mels, model.config.mel) for mels in play_at(model, space.lift(places))])
    units = {"centroid": "Hz", "energy": "dB"}
    return {
        by: Shade(by=by, unit=unit, columns=COLUMNS, rows=ROWS, values=np.round(values, 2).tolist())
        for (by, unit), values in zip(units.items(), both.T, strict=True)
    }


@torch.inference_mode()
def play_at(model: Mel2Mel, points: NDArray[np.float32]) -> Iterable[NDArray[np.float32]]:
    """The phrase's log-mels at timbre points (places, dimensions), some at a time: (some, frames, n_mels)."""
    spec, device = model.config.mel, model.outward.weight.device
    roll = torch.from_numpy(model.encode(PHRASE, 0, int(SECONDS * spec.frame_rate))).to(device)
    mels = []
    for start in range(0, len(points), PLACES_AT_ONCE):
        some = torch.from_numpy(points[start : start + PLACES_AT_ONCE, None]).to(device)
        mels.append(model(roll.expand(len(some), -1, -1), some).float().clamp_min(spec.silence).cpu().numpy())
    return mels


def measure(mels: NDArray[np.float32], spec: MelSpec) -> NDArray[np.float64]:
    """Of log-mels (places, frames, n_mels): (places, 2), the spectral centroid in Hz and the mean energy in dB."""
    magnitude = linear_mel(mels, spec).astype(np.float64) ** (1 / spec.power)
    filters = filter_bank(spec).numpy().astype(np.float64)
    bins = np.linspace(0.0, spec.sample_rate / 2, filters.shape[1])
    centres = filters @ bins / filters.sum(axis=1).clip(1e-9)  # Hz, of each band
    centroid = (magnitude @ centres).sum(axis=1) / magnitude.sum(axis=(1, 2)).clip(1e-9)
    energy = 10 * np.log10((magnitude**2).mean(axis=(1, 2)).clip(1e-12))
    return np.stack([centroid, energy], axis=1)
