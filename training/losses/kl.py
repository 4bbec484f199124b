"""Kullback-Leibler divergence of a student's distribution of a sample from its teacher's, in nats: what distillation minimises.

There is one for each sample: the student's is conditioned on its noise, the teacher's on the samples that the student drew.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2m.training.losses.nll import LEVELS, MIN_LOG_SCALE, nll

ENTROPY = {"gaussian": 0.5 * math.log(2 * math.pi * math.e), "logistic": 2.0}  # of noise of scale 1


def gaussian_kl(mean: Tensor, log_scale: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher) of two Gaussians, in closed form.

    mean, log_scale: (...,) the student's. teacher: (..., 2) the teacher's; its scale counts as no less than MIN_LOG_SCALE, as in
    the likelihood that it was trained with. Returned: (...,) nats.
    """
    teacher_mean, teacher_log_scale = teacher.float().unbind(-1)
    teacher_log_scale = teacher_log_scale.clamp_min(MIN_LOG_SCALE)
    apart = teacher_log_scale - log_scale
    return apart + 0.5 * ((-2 * apart).exp() + ((mean - teacher_mean) * (-teacher_log_scale).exp()).square() - 1)


def scale_penalty(log_scale: Tensor, teacher: Tensor) -> Tensor:
    """ClariNet's regularisation: the squared difference of log scales (arXiv 1807.07281, section 3.2).

    It is needed since KL grows as the inverse square of the teacher's scale, and is steep where both are small.

    log_scale: (...,) the student's. teacher: (..., 2) mean and log scale. Returned: (...,).
    """
    return (teacher.float()[..., 1].clamp_min(MIN_LOG_SCALE) - log_scale).square()


def noise_like(tensor: Tensor, noise: str, *shape: int) -> Tensor:
    """White noise of scale 1 from torch's global generator, on the device of `tensor`. noise: gaussian or logistic.

    Returned: `shape`, float32.
    """
    if noise == "gaussian":
        return torch.randn(shape, device=tensor.device)
    return torch.logit(torch.rand(shape, device=tensor.device), eps=1e-7)


def monte_carlo_kl(mean: Tensor, log_scale: Tensor, teacher: Tensor, noise: str, output: str, draws: int) -> Tensor:
    """KL(student || teacher) by Monte Carlo, where there is no closed form: the cross-entropy, less the student's entropy.

    mean, log_scale: (...,) the student's, of `noise`. teacher: (..., outputs) distributions of kind `output`. draws: samples
    drawn for each, independent of those that the teacher was given (Parallel WaveNet, section 3.1). Returned: (...,) nats.
    """
    drawn = mean + log_scale.exp() * noise_like(mean, noise, draws, *mean.shape)
    cross = nll(teacher.expand(draws, *teacher.shape), drawn, output).mean(0)
    if output == "mol":
        cross = cross + math.log(2 / (LEVELS - 1))  # of a level's probability -> of a density's
    return cross - log_scale - ENTROPY[noise]
