"""The paper's three losses on mel spectrograms (arXiv 1811.00223, section 3.2). All take natural-log mels, (..., n_mels).

LOSSES is the one table of them: a run's config, `m2m train mel2mel --loss` and the table in docs/mel2mel.md follow from it. The
first line of a loss's docstring describes it there. A loss uses tensor methods alone, so that the command's help needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

REFERENCE = 0.1  # the mel magnitude that tanh-log-abs takes as 0 dB: -20 dB of a full-scale sine


def abs_mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of linear magnitudes: loud frames decide.

    predicted, true: (..., n_mels) natural-log mels. Returned is a scalar.
    """
    return (predicted.exp() - true.exp()).square().mean()


def log_abs_mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of log magnitudes: every level counts alike, down to the floor of -100 dB.

    predicted, true: (..., n_mels) natural-log mels. Returned is a scalar, nepers squared.
    """
    return (predicted - true).square().mean()


def tanh_log_abs_mse(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean squared error of tanh(log magnitude / 4), 0 dB being -20 dB of full scale: near silence counts less.

    predicted, true: (..., n_mels) natural-log mels. Returned is a scalar.

    The tanh is steepest at 0 dB, and the paper does not say how loud its audio was. Ours leaves headroom for dense chords;
    REFERENCE puts the steep part at the partials of an ordinary tone instead of above everything that occurs. The formula as
    printed, with 0 dB at full scale, is `paper-tanh-log-abs` of validation (core/mel_measures.py).
    """
    level = math.log(REFERENCE)
    return (((predicted - level) / 4).tanh() - ((true - level) / 4).tanh()).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "abs": abs_mse,
    "log-abs": log_abs_mse,
    "tanh-log-abs": tanh_log_abs_mse,
}
