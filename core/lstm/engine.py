"""An LSTM on a CPU: the kernel of lstm.h, which multiplies bytes where PyTorch multiplies floats.

The kernel is built for several instruction sets, each a library beside its source; the best that this processor runs is loaded.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import c_int, c_int32, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from m2m.core.cpu.libraries import INSTRUCTION_SETS, load
from m2m.core.errors import M2MError

HERE = Path(__file__).parent
BITS = {"fp32": 32, "int8": 8}
MULTIPLE = 16  # of which features and units are multiples: the kernel's vectors


class Work(ctypes.Structure):
    """As lstm.h has it."""

    _fields_ = [(name, c_int32) for name in ("sequences", "steps", "skip")] + [("x", c_void_p), ("out", c_void_p)]


@lru_cache
def library(name: str) -> ctypes.CDLL | None:
    """The kernel for an instruction set, or None where it was not built or this processor cannot run it."""
    lib = load(HERE, name, "lstm_supported")
    if lib is None:
        return None
    lib.lstm_layer.restype, lib.lstm_end.restype = c_void_p, None
    lib.lstm_layer.argtypes = [c_int, c_int, c_void_p, c_int]
    lib.lstm_run.argtypes = [c_void_p, c_void_p, c_int]
    lib.lstm_end.argtypes = [c_void_p]
    return lib


def available() -> list[str]:
    """The instruction sets that were built and that this processor has, best first; PyTorch is faster than a generic kernel."""
    return [name for name in INSTRUCTION_SETS if library(name)]


def can_run(lstm: nn.LSTM) -> bool:
    """Whether the kernel computes this LSTM here: bidirectional, batch first, sizes of multiples of MULTIPLE."""
    usual = lstm.bidirectional and lstm.batch_first and lstm.bias and not lstm.proj_size
    return usual and not (lstm.input_size % MULTIPLE or lstm.hidden_size % MULTIPLE) and bool(available())


class CpuLstm:
    """Runs an LSTM of PyTorch's from its present weights.

    precision: of the products; "fp32" is exact, "int8" faster and a little noisy. instructions: one of `available()`; None is
    the best. Raises M2MError where `can_run` is false.
    """

    def __init__(
        self, lstm: nn.LSTM, precision: Literal["fp32", "int8"] = "int8", instructions: str | None = None
    ) -> None:
        lib = library(instructions or next(iter(available()), "")) if can_run(lstm) else None
        if lib is None:
            raise M2MError(
                "the CPU kernel of the LSTM was not built, or does not run this network here: use PyTorch's."
            )
        self._library, self._hidden = lib, lstm.hidden_size
        self._layers = [self._layer(lstm, number, BITS[precision]) for number in range(lstm.num_layers)]

    def _layer(self, lstm: nn.LSTM, number: int, bits: int) -> c_void_p:
        inputs = 2 * lstm.hidden_size if number else lstm.input_size
        parts: list[Tensor] = []
        for way in ("", "_reverse"):
            ih, hh, *biases = (
                getattr(lstm, f"{name}_l{number}{way}").detach().float()
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            parts += [ih, hh, biases[0] + biases[1]]
        weights = np.concatenate([part.numpy().ravel() for part in parts])
        made = self._library.lstm_layer(inputs, lstm.hidden_size, weights.ctypes.data, bits)
        if not made:
            raise MemoryError("the LSTM's weights")
        layer = c_void_p(made)
        weakref.finalize(self, self._library.lstm_end, layer)
        return layer

    def __call__(self, features: Tensor, context: int = 0) -> Tensor:
        """The states of both directions: features (batch, frames, inputs) -> (batch, frames - 2 context, 2 hidden) float32.

        context: frames at both ends of which no states are wanted; each direction computes only those that it comes from.
        """
        for layer in self._layers[:-1]:
            features = self._run(layer, features, 0)
        return self._run(self._layers[-1], features, context)

    def _run(self, layer: c_void_p, features: Tensor, context: int) -> Tensor:
        given = features.float().contiguous()
        batch, frames, _ = given.shape
        made = torch.empty(batch, frames - 2 * context, 2 * self._hidden)
        work = Work(batch, frames - context, context, given.data_ptr(), made.data_ptr())
        if made.numel() and not self._library.lstm_run(layer, ctypes.byref(work), torch.get_num_threads()):
            raise MemoryError("the LSTM's states")
        return made
