"""Negative log-likelihoods of samples under a network's outputs: classes, a Gaussian, or a mixture of logistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

# Scales are clamped: below the first, 0.0009 of full scale, a Gaussian's likelihood grows without bound on digital silence; above
# the second a level's probability, under a logistic, is lost in rounding.
MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 4.0
LEVELS = 65536  # of 16-bit audio, whose distribution a mixture of logistics is


def nll(outputs: Tensor, samples: Tensor, output: str) -> Tensor:
    """Negative log-likelihood of each sample.

    outputs: (..., outputs) a network's, for an `output` of mulaw, mol or gaussian. samples: (...,) µ-law codes, int64, for mulaw,
    else values in -1..1.
    Returned: (...,) nats; of a class for mulaw (uniform guessing costs ln 256 = 5.5), of one of 65,536 levels for mol (11.1), and
    of a density for gaussian, where it may be negative.
    """
    outputs = outputs.float() if outputs.dtype != torch.float64 else outputs
    if output == "mulaw":
        return F.cross_entropy(outputs.flatten(0, -2), samples.flatten(), reduction="none").view(samples.shape)
    return gaussian_nll(outputs, samples) if output == "gaussian" else logistics_nll(outputs, samples, LEVELS)


def gaussian_nll(outputs: Tensor, samples: Tensor) -> Tensor:
    """Negative log-likelihood under a Gaussian.

    outputs: (..., 2) mean and log scale. samples: (...,) -1..1. Returned: (...,) nats.
    """
    mean, log_scale = outputs.unbind(-1)
    log_scale = log_scale.clamp_min(MIN_LOG_SCALE)
    return 0.5 * ((samples - mean) * torch.exp(-log_scale)).square() + log_scale + 0.5 * math.log(2 * math.pi)


def logistics_nll(outputs: Tensor, samples: Tensor, levels: int) -> Tensor:
    """Negative log-likelihood under a mixture of logistics, of the step that a sample is on (PixelCNN++, section 2.1).

    There are `levels` steps from -1 to 1; the lowest has all the probability below it, the highest all above.

    outputs: (..., 3 K) logits, means and log scales of K logistics. samples: (...,) -1..1. Returned: (...,) nats.
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
