"""The paper's three losses on mel spectrograms (arXiv 1811.00223, section 3.2). All take natural-log mels, (..., n_mels)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

REFERENCE = 0.1  # the mel magnitude that tanh-log-abs takes as 0 dB: -20 dB of a full-scale sine


def abs_mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of linear magnitudes: loud frames decide."""
    return (predicted.exp() - true.exp()).square().mean()


def log_abs_mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of log magnitudes: every level counts alike, down to the -100 dB floor."""
    return (predicted - true).square().mean()


def tanh_log_abs_mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of tanh(log magnitude / 4): what is nearly silent counts less than what is near 0 dB.

    0 dB is where the paper's tanh is steepest, and the paper does not say how loud its audio was. Ours leaves headroom for
    dense chords; REFERENCE puts the steep part at the partials of an ordinary tone instead of above everything that occurs.
    """
    level = math.log(REFERENCE)
    return (torch.tanh((predicted - level) / 4) - torch.tanh((true - level) / 4)).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "abs": abs_mse,
    "log-abs": log_abs_mse,
    "tanh-log-abs": tanh_log_abs_mse,
}
