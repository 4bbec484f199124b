"""Where a part is between left and right: pan (CC 10) and balance (CC 8), as FluidSynth plays a mono part.

Pan has constant power: the sides' gains are the cosine and the sine of an angle that goes from 0, hard left, to 90 degrees.
They are times the root of 2, so that both are 1 at the centre: a part there is in both channels what it is in a mono mix.
Balance softens the side that it is turned away from, by the 40 log10 law of the volume.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from m2m.core.choices import CHANNELS
from m2m.core.errors import M2MError
from m2m.core.tracks import Track, constant, smoothed

_MIDDLE = constant(64.0)  # of balance


def channels_of(tracks: Iterable[Track], wanted: int | None = None) -> int:
    """Of a mix of tracks: `wanted`, or as they are written: 2 where one of them is ever away from the centre, else 1.

    Raises M2MError for a number of channels that there is not.
    """
    if wanted is None:
        return 2 if any(placement(track) for track in tracks) else 1
    if wanted not in CHANNELS:
        raise M2MError(f"{wanted!r} channels came, {' or '.join(map(str, CHANNELS))} were wanted.")
    return int(wanted)


def placement(track: Track) -> tuple[bytes, bytes] | None:
    """What two tracks share that are always at the same place; None at the centre."""
    balance = track.controls.get("balance", _MIDDLE)
    if not track.pan[:, 1].any() and (balance[:, 1] == _MIDDLE[0, 1]).all():
        return None
    return track.pan.tobytes(), balance.tobytes()


def side_gains(track: Track, first: int, last: int, sample_rate: int) -> NDArray[np.float32]:
    """The gains of left and right for samples first..last: (last - first, 2) float32, steps smoothed so that none clicks."""
    angle = (smoothed(track.pan, first, last, sample_rate) + 1) * (np.pi / 4)
    gains = np.sqrt(2.0) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    if "balance" in track.controls:
        times, turned = track.controls["balance"].T
        for side, share in enumerate(((128 - turned) / 64, turned / 64)):
            curve = np.stack([times, np.minimum(share, 1.0) ** 2], axis=1)
            gains[:, side] *= smoothed(curve, first, last, sample_rate)
    return gains.astype(np.float32)
