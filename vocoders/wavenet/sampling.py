"""Drawing a sample from its distribution, in NumPy and float32.

The sums are computed in the order of the engines' kernels, so that all engines draw the same. For each of the three distributions
(`WaveNetConfig.output`) the outputs of the network are:

    mulaw     logits of the µ-law classes
    gaussian  mean, log scale                            as ClariNet (arXiv 1807.07281)
    mol       logits, means, log scales of a mixture of logistics, discretised to 16 bits, as PixelCNN++ (arXiv 1701.05517)

The random numbers are those of vocoders/shared/philox.py, which all engines share; likelihoods are training's
(training/losses/nll.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.vocoders.shared.philox import logistic, normal

Array = NDArray[np.float32]


def draw(outputs: NDArray[np.floating[Any]], u: Array, output: str, temperature: float) -> NDArray[Any]:
    """Draw one sample from each distribution.

    outputs: (..., outputs) float, of the network.
    u: (..., 2) float32, uniform in (0, 1].
    output: "mulaw", "gaussian" or "mol".
    temperature: 1 draws from the distribution itself, less from a narrower one, 0 takes its mode: the likeliest class, or the
        mean (of the likeliest logistic).

    Returns (...,) int16 µ-law codes, or (...,) float32 audio in -1..1.
    """
    values, heat = outputs.astype(np.float32), np.float32(temperature)
    if output == "mulaw":
        return draw_class(values, u[..., 0], heat)
    if output == "gaussian":
        mean, scale, noise = values[..., 0], np.exp(values[..., 1]), normal(u)
    else:
        logits, means, log_scales = np.split(values, 3, axis=-1)
        chosen = draw_class(logits, u[..., 0], heat)[..., None]
        mean, log_scale = (np.take_along_axis(x, chosen, -1)[..., 0] for x in (means, log_scales))
        scale, noise = np.exp(log_scale), logistic(u[..., 1])
    wave = mean + heat * scale * noise if heat else mean
    return np.clip(wave, -1, 1, dtype=np.float32)


def draw_class(logits: Array, u: Array, temperature: np.float32) -> NDArray[np.int16]:
    """Draw a class by inversion: the first one at which the cumulative probability exceeds u.

    logits: (..., classes) float32.
    u: (...,) float32, uniform in (0, 1].
    temperature: divides the logits; 0 takes the largest.

    Returns (...,) int16.
    """
    if temperature == 0:
        return logits.argmax(-1).astype(np.int16)
    logits = logits / temperature
    sums = np.exp(logits - logits.max(-1, keepdims=True)).cumsum(-1, dtype=np.float32)  # in order of the classes
    below = (sums <= u[..., None] * sums[..., -1:]).sum(-1)
    last = (sums < sums[..., -1:]).sum(-1)  # the last class of any probability, for u that rounds to 1
    return np.minimum(below, last).astype(np.int16)
