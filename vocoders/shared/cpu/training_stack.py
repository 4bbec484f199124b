"""WaveNet's layers as they are trained on a CPU: the kernel of stack.h, forward and backward.

It computes what the layers of shared/layer.py do one after the other, in the precision of bfloat16 autocast: products of
bfloat16, sums of float32. PyTorch spends most of the time between the products: a layer of 64 channels is ten passes over memory.
The kernel has one. Where it was not built, or does not do these sizes, PyTorch's layers are used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import c_int, c_int32, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from m2m.core.cpu.libraries import load

if TYPE_CHECKING:
    from m2m.vocoders.shared.layer import Layer

HERE = Path(__file__).parent
INSTRUCTION_SETS = ("amx", "avx512_bf16")  # best first
DEPTH = 32  # what numbers of channels and of samples are multiples of
WEIGHTS = (
    "prev",
    "cur",
    "cond",
    "bias",
    "res",
    "res_bias",
    "out",
    "out_bias",
)  # of all layers, as `skip_sum` stacks them


class _Stack(ctypes.Structure):
    """As cpu/stack.h has it."""

    _fields_ = [
        *((name, c_int32) for name in ("layers", "cycle", "residual", "skip", "width", "sequences", "samples")),
        *((name, c_void_p) for name in (*WEIGHTS, "first", "u", "x", "gates", "sum")),
        *((name, c_void_p) for name in ("dsum", "du", "dfirst", *(f"d{name}" for name in WEIGHTS))),
    ]


@lru_cache
def library(name: str) -> ctypes.CDLL | None:
    """The kernel for an instruction set, or None where it was not built or this processor cannot run it."""
    lib = load(HERE, f"stack_{name}", "stack_supported")
    if lib:
        lib.stack_run.argtypes = [c_void_p, c_int]
    return lib


def available() -> list[str]:
    """The instruction sets that were built and that this processor has, best first."""
    return [name for name in INSTRUCTION_SETS if library(name)]


def does(layers: Sequence[Layer], x: Tensor, u: Tensor) -> bool:
    """Whether the kernel can compute these layers.

    x: (batch, samples, residual), the lowest layer's input.
    u: (batch, samples, width), the conditioning.
    """
    return (
        u.dtype == torch.bfloat16  # it is so under autocast alone
        and x.device.type == "cpu"
        and all(size % DEPTH == 0 for size in (*x.shape[1:], len(layers[0].skip.bias)))
        and x.numel() > 0
        and layers[0].dilation == 1  # they double from there
        and not torch.compiler.is_compiling()
        and bool(available())
    )


def skip_sum(layers: Sequence[Layer], x: Tensor, u: Tensor, instructions: str | None = None) -> Tensor:
    """layer_stack.py's `skip_sum` by the kernel, where it `does` these layers.

    x: (batch, samples, residual) float32, the lowest layer's input.
    u: (batch, samples, width) bfloat16, the conditioning.
    instructions: one of `available()`; the best if None.

    Returns (batch, samples, skip) bfloat16.
    """
    through = [layer.res for layer in layers if layer.res is not None]
    none = x.new_zeros(0)
    weights = (
        *(torch.stack([getattr(layer, name).weight for layer in layers]) for name in ("prev", "cur", "cond")),
        torch.stack([layer.bias for layer in layers]),
        torch.stack([linear.weight for linear in through]) if through else none,
        torch.stack([linear.bias for linear in through]) if through else none,
        torch.stack([layer.skip.weight for layer in layers]),
        torch.stack([layer.skip.bias for layer in layers]).sum(0),
    )
    cycle = max(layer.dilation for layer in layers).bit_length()
    found: Tensor = _SkipSum.apply(x, u, cycle, instructions or available()[0], *weights)
    return found


class _SkipSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, u: Tensor, cycle: int, instructions: str, *weights: Tensor) -> Tensor:
        given = dict(zip(WEIGHTS, weights, strict=True))
        (batch, samples, residual), count, skip = x.shape, len(given["prev"]), len(given["out_bias"])
        pad, beyond = 1 << (min(count, cycle) - 1), -u.shape[-1] % DEPTH
        given["cond"] = F.pad(given["cond"], (0, beyond))
        given = {name: weight.float().contiguous() for name, weight in given.items()}
        padded = F.pad(u, (0, beyond, pad, 0)).flatten(0, 1)
        padded = F.pad(padded, (0, 0, 0, pad))
        rows, width = padded.shape
        given |= {
            "u": padded,
            "x": u.new_empty(count, rows, residual),
            "gates": u.new_empty(count, batch * samples, 2 * residual),
        }
        found = u.new_empty(batch, samples, skip)
        ctx.sizes = (count, cycle, residual, skip, width, batch, samples)
        _run(instructions, ctx.sizes, **given, first=x.float().contiguous(), sum=found)
        ctx.save_for_backward(*given.values())
        ctx.names, ctx.instructions, ctx.width, ctx.pad = list(given), instructions, u.shape[-1], pad
        return found

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, dsum: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        given = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        _, _, residual, _, width, batch, samples = ctx.sizes
        wanted = any(ctx.needs_input_grad[4:])  # a teacher's weights stay
        made = (
            {f"d{name}": torch.zeros_like(given[name]) for name in WEIGHTS} if wanted else {}
        )  # the kernel adds to them
        du, dx = torch.empty_like(given["u"]), given["bias"].new_empty(batch, samples, residual)
        _run(ctx.instructions, ctx.sizes, **given, dsum=dsum.contiguous(), du=du, dfirst=dx, **made)
        du = du[: -ctx.pad].view(batch, -1, width)[:, ctx.pad :, : ctx.width]
        if not wanted:
            return dx, du, None, None, *[None] * len(WEIGHTS)
        made["dcond"] = made["dcond"][..., : ctx.width]
        return dx, du, None, None, *made.values()


def _run(instructions: str, sizes: tuple[int, ...], **tensors: Tensor) -> None:
    stack = _Stack(*sizes, **{name: tensor.data_ptr() for name, tensor in tensors.items()})
    lib = library(instructions)
    assert lib is not None
    if not lib.stack_run(ctypes.byref(stack), torch.get_num_threads()):
        raise MemoryError("WaveNet's layers")
