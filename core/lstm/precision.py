"""The precision of an LSTM in training and inference by PyTorch."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn


def run_lstm(lstm: nn.LSTM, x: Tensor) -> Tensor:
    """An LSTM's outputs: (batch, frames, inputs) -> (batch, frames, outputs), of one dtype.

    On a GPU it is float32 under autocast too: cuDNN's would be float16, which cannot write the gradient of a mean over
    millions of numbers.
    """
    gpu = x.device.type == "cuda"
    with torch.autocast("cuda", enabled=False) if gpu else nullcontext():
        made: Tensor = lstm(x.to(lstm.weight_ih_l0.dtype) if gpu else x)[0]
    return made.to(x.dtype)
