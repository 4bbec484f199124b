"""Negative log-likelihoods of samples under what a network says of them: of a class, a Gaussian, or a mixture of logistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Likelihoods count no scale below the first, 0.0009 of full scale, since a Gaussian's grows without bound on digital silence,
# and a logistic's none above the second, where a level's probability is lost in rounding.
MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 4.0
LEVELS = 65536  # of the 16-bit audio that a mixture of logistics is the distribution of


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
