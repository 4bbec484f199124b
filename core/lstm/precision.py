"""The precision of an LSTM in training and inference by PyTorch."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn


def run_lstm(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """What an LSTM makes of sequences, of the dtype that they have.

    On a GPU it is float32 under autocast too: cuDNN's would be float16, which cannot write the gradient of a mean over
    millions of numbers.

    x: (batch, frames, inputs) float.

    Returns (batch, frames, outputs).
    """
    gpu = x.device.type == "cuda"
    with torch.autocast("cuda", enabled=False) if gpu else nullcontext():
        made: Tensor = lstm(x.to(next(lstm.parameters()).dtype) if gpu else x)[0]
    return made.to(x.dtype)
