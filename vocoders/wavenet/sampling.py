"""A sample's distribution: random numbers that every engine shares, drawing with them, and likelihoods.

The random numbers come from Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): no state,
only a function of seed, stream and sample. So every engine, on whatever processor and however many streams side by side, has the
same numbers, and engines agree sample for sample where their arithmetic does.

Drawing is NumPy in float32, in the order in which the engines' kernels go; likelihoods are PyTorch, for training. Outputs of
the network are, for each of the three distributions (`WaveNetConfig.output`):

    mulaw     logits of the µ-law classes
    gaussian  mean, log scale                            as ClariNet (arXiv 1807.07281)
    mol       logits, means, log scales of a mixture of logistics, discretised to 16 bits, as PixelCNN++ (arXiv 1701.05517)
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Array = NDArray[np.float32]

MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio, and the square root of 3 less 1
ROUNDS = 10
LOW, HIGH = np.uint64(0xFFFFFFFF), np.uint64(32)

# Likelihoods count no scale below the first, 0.0009 of full scale, since a Gaussian's grows without bound on digital silence,
# and a logistic's none above the second, where a level's probability is lost in rounding.
MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 4.0
LEVELS = 65536  # of the 16-bit audio that a mixture of logistics is the distribution of


def philox(counter: NDArray[np.integer[Any]], key: tuple[int, int]) -> NDArray[np.uint32]:
    """Philox4x32-10: (..., 4) counters and two key words, all of 32 bits -> (..., 4) random words.

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
    """Two uniform numbers for each of samples start..start + count of each stream: (count, streams, 2) float32 in (0, 1].

    (The nearest float32 to the largest is 1 itself.)
    """
    counter = np.zeros((count, len(streams), 4), np.uint32)
    time = np.arange(start, start + count, dtype=np.uint64)[:, None]
    counter[..., 0], counter[..., 1] = time & LOW, time >> HIGH
    counter[..., 2] = np.asarray(streams)
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))[..., :2]
    return ((words >> np.uint32(8)).astype(np.float32) + np.float32(0.5)) * np.float32(2**-24)


def draw(outputs: NDArray[np.floating[Any]], u: Array, output: str, temperature: float) -> NDArray[Any]:
    """Draw samples: outputs of the network (..., outputs) and uniforms (..., 2) -> (...,) µ-law codes int16, or float32 in -1..1.

    temperature: 1 draws from the distribution as it is, less from a narrower one, 0 takes what is likeliest.
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


def normal(u: Array) -> Array:
    """Two uniform numbers -> one of the normal distribution: (..., 2) -> (...,). Box and Muller, 1958."""
    return np.sqrt(-2 * np.log(u[..., 0])) * np.cos(np.float32(2 * np.pi) * u[..., 1])


def logistic(u: Array) -> Array:
    """A uniform number -> one of the logistic distribution, (...,) -> (...,); infinite where u is 1."""
    with np.errstate(divide="ignore"):
        return np.log(u) - np.log(1 - u)


def draw_class(logits: Array, u: Array, temperature: np.float32) -> NDArray[np.int16]:
    """The first class up to which the probabilities sum to more than u: logits (..., classes), u (...,) -> (...,) int16."""
    if temperature == 0:
        return logits.argmax(-1).astype(np.int16)
    logits = logits / temperature
    sums = np.exp(logits - logits.max(-1, keepdims=True)).cumsum(-1, dtype=np.float32)  # in order of the classes
    below = (sums <= u[..., None] * sums[..., -1:]).sum(-1)
    last = (sums < sums[..., -1:]).sum(
        -1
    )  # where u rounds to 1: the last class that has any probability, not the loudest
    return np.minimum(below, last).astype(np.int16)


def nll(outputs: Tensor, samples: Tensor, output: str) -> Tensor:
    """Negative log-likelihood of each sample, nats: (..., outputs) of the network and (...,) samples -> (...,).

    Of a class for mulaw (uniform guessing costs ln 256 = 5.5), of one of 65,536 levels for mol (11.1), and a density's, which
    may be negative, for gaussian.
    """
    outputs = outputs.float() if outputs.dtype != torch.float64 else outputs
    if output == "mulaw":
        return F.cross_entropy(outputs.flatten(0, -2), samples.flatten(), reduction="none").view(samples.shape)
    return gaussian_nll(outputs, samples) if output == "gaussian" else logistics_nll(outputs, samples, LEVELS)


def gaussian_nll(outputs: Tensor, samples: Tensor) -> Tensor:
    """Of the density N(mean, scale), with (..., 2) mean and log scale."""
    mean, log_scale = outputs.unbind(-1)
    log_scale = log_scale.clamp_min(MIN_LOG_SCALE)
    return 0.5 * ((samples - mean) * torch.exp(-log_scale)).square() + log_scale + 0.5 * math.log(2 * math.pi)


def logistics_nll(outputs: Tensor, samples: Tensor, levels: int) -> Tensor:
    """Of the one of `levels` steps from -1 to 1 that a sample is on, under (..., 3 K) mixtures (PixelCNN++, section 2.1).

    The lowest step has all that lies below it, the highest all above.
    """
    logits, means, log_scales = outputs.chunk(3, dim=-1)
    inverse = torch.exp(-log_scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE))
    half = 1 / (levels - 1)
    samples = samples[..., None]
    upper = (samples + half - means) * inverse
    lower = (samples - half - means) * inverse
    # sigmoid(upper) - sigmoid(lower) without cancellation: sigmoid(upper) * sigmoid(-lower) * (1 - exp(lower - upper)).
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * half * inverse))
    log_likelihood = torch.where(
        samples < -1 + half, F.logsigmoid(upper), torch.where(samples > 1 - half, F.logsigmoid(-lower), inside)
    )
    return -torch.logsumexp(F.log_softmax(logits, dim=-1) + log_likelihood, dim=-1)
