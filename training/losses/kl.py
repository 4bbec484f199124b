"""How far a student's distribution of a sample is from its teacher's, in nats: what distillation minimises.

Both are known sample by sample: the student's given the noise before, the teacher's given the samples that the student drew.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2m.training.losses.nll import LEVELS, MIN_LOG_SCALE, nll

ENTROPY = {"gaussian": 0.5 * math.log(2 * math.pi * math.e), "logistic": 2.0}  # of noise of scale 1


def gaussian_kl(mean: Tensor, log_scale: Tensor, teacher: Tensor) -> Tensor:
    """KL(student || teacher) of two Gaussians in closed form: (...,) mean and log scale, (..., 2) the teacher's -> (...,).

    The teacher's scale counts as no less than what its likelihood was trained with.
    """
    teacher_mean, teacher_log_scale = teacher.float().unbind(-1)
    teacher_log_scale = teacher_log_scale.clamp_min(MIN_LOG_SCALE)
    apart = teacher_log_scale - log_scale
    return apart + 0.5 * ((-2 * apart).exp() + ((mean - teacher_mean) * (-teacher_log_scale).exp()).square() - 1)


def scale_penalty(log_scale: Tensor, teacher: Tensor) -> Tensor:
    """ClariNet's regularisation, squared difference of log scales: (...,) and (..., 2) -> (...,) (section 3.2).

    KL grows as the inverse square of the teacher's scale, and is steep where both are small.
    """
    return (teacher.float()[..., 1].clamp_min(MIN_LOG_SCALE) - log_scale).square()


def noise_like(tensor: Tensor, noise: str, *shape: int) -> Tensor:
    """White noise of scale 1, gaussian or logistic, of `shape`, on the device of a tensor; from torch's global chance."""
    if noise == "gaussian":
        return torch.randn(shape, device=tensor.device)
    return torch.logit(torch.rand(shape, device=tensor.device), eps=1e-7)


def monte_carlo_kl(mean: Tensor, log_scale: Tensor, teacher: Tensor, noise: str, output: str, draws: int) -> Tensor:
    """KL(student || teacher) where there is no closed form: cross-entropy by drawing, less the student's entropy.

    mean, log_scale: (...,) of the student. teacher: (..., outputs), distributions of kind `output`. draws: samples drawn for
    each, independent of the one that the teacher was given (Parallel WaveNet, section 3.1). -> (...,)
    """
    drawn = mean + log_scale.exp() * noise_like(mean, noise, draws, *mean.shape)
    cross = nll(teacher.expand(draws, *teacher.shape), drawn, output).mean(0)
    if output == "mol":
        cross = cross + math.log(2 / (LEVELS - 1))  # of a level's probability -> of a density's
    return cross - log_scale - ENTROPY[noise]
