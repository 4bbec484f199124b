"""Random numbers that are a function of seed, stream and sample alone.

They come from Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), which keeps no state. Every
engine, on any processor and with any number of streams side by side, has the same numbers, so engines agree sample for sample
where their arithmetic does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio, and the square root of 3 less 1
ROUNDS = 10
LOW, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(counter: NDArray[np.integer[Any]], key: tuple[int, int]) -> NDArray[np.uint32]:
    """The function Philox4x32-10.

    counter: (..., 4) integers of 32 bits.
    key: two words of 32 bits.

    Returns (..., 4) uint32 random words.

    >>> [f"{word:08x}" for word in philox(np.zeros(4, np.uint32), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = np.moveaxis(counter.astype(np.uint64), -1, 0)
    for number in range(ROUNDS):
        k0, k1 = (np.uint64((word + number * step) & 0xFFFFFFFF) for word, step in zip(key, KEY_STEPS, strict=True))
        first, second = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2  # 64 bits each
        c0, c1, c2, c3 = (second >> HIGH) ^ c1 ^ k0, second & LOW, (first >> HIGH) ^ c3 ^ k1, first & LOW
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def uniforms(seed: int, streams: NDArray[np.integer[Any]], start: int, count: int) -> Array:
    """Two uniform numbers for each of samples start..start + count of each stream.

    seed: of 64 bits.
    streams: (streams,) integers of 32 bits, the streams' numbers.

    Returns (count, streams, 2) float32 in (0, 1]: the largest number, a little below 1, rounds to 1 in float32.
    """
    counter = np.zeros((count, len(streams), 4), np.uint32)
    time = np.arange(start, start + count, dtype=np.uint64)[:, None]
    counter[..., 0], counter[..., 1] = time & LOW, time >> HIGH
    counter[..., 2] = np.asarray(streams)
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))[..., :2]
    return ((words >> np.uint32(8)).astype(np.float32) + np.float32(0.5)) * np.float32(2**-24)


def normal(u: Array) -> Array:
    """Numbers of the standard normal distribution (Box and Muller, 1958).

    u: (..., 2) float32, uniform in (0, 1].

    Returns (...,) float32.
    """
    return np.sqrt(-2 * np.log(u[..., 0])) * np.cos(np.float32(2 * np.pi) * u[..., 1])


def logistic(u: Array) -> Array:
    """Numbers of the standard logistic distribution.

    u: (...,) float32, uniform in (0, 1].

    Returns the same shape, float32; infinite where u is 1.
    """
    with np.errstate(divide="ignore"):
        return np.log(u) - np.log(1 - u)
