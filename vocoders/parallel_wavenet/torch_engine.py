"""The student's engine in plain PyTorch, on the CPU or a GPU, where each block is one CUDA graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.backends.cpu import get_cpu_capability
from torch.nn import functional as F

from m2m.core.errors import M2MError
from m2m.core.system.processor import has_bf16
from m2m.vocoders.parallel_wavenet.engine import BlockEngine, Step
from m2m.vocoders.parallel_wavenet.network import MAX_LOG_SCALE, MIN_LOG_SCALE, Flow, Student
from m2m.vocoders.shared.layer import Layer

Precision = Literal["fp32", "bf16"]
Kept = list[Tensor]  # of a flow: its last two inputs (streams, 2), then of each layer its last d (streams, d, residual)


class TorchEngine(BlockEngine):
    """A student's weights, packed for inference.

    precision: of the products; sums from layer to layer and flow to flow stay float32. compiled: by torch.compile.
    Raises M2MError for another precision, and for bf16 where the device has none.
    """

    def __init__(
        self, student: Student, device: str = "cpu", precision: Precision = "fp32", compiled: bool = False
    ) -> None:
        if precision not in get_args(Precision):
            raise M2MError(f"precision {precision!r} came, PyTorch does {', '.join(get_args(Precision))}.")
        if precision == "bf16" and not has_bf16(device):
            raise M2MError(f"{device} has no bfloat16 arithmetic of its own: use precision=fp32.")
        super().__init__(student.to(device))
        self.device = torch.device(device)
        runs_on = torch.cuda.get_device_name(device) if self.device.type == "cuda" else get_cpu_capability()
        self.about = {"engine": f"PyTorch on {runs_on}", "precision": precision}
        self.sums = next(student.parameters()).dtype
        self.dtype = torch.bfloat16 if precision == "bf16" else self.sums
        self.flows = [_PackedFlow(flow, self.dtype) for flow in student.stack]
        self.step: Callable[[Tensor, Tensor, list[Kept]], Tensor] = (
            torch.compile(self._step) if compiled else self._step
        )

    def start(self, streams: int) -> Step:
        kept = [flow.silence(streams) for flow in self.flows]
        step = _Graph(self.step, kept) if self.device.type == "cuda" else self.step
        return lambda z, u: step(z.to(self.device, self.sums), u.to(self.dtype), kept).float().cpu()

    def _step(self, z: Tensor, u: Tensor, kept: list[Kept]) -> Tensor:
        """A block through all flows: noise (streams, T), conditioning (streams, T, n_mels) -> (streams, T). Moves `kept` on."""
        for flow, before in zip(self.flows, kept, strict=True):
            mean, log_scale = flow(z, u, before)
            z = z * log_scale.exp() + mean
        return z


class _PackedFlow:
    """`Flow` for a block whose past is at hand: weights that are multiplied together lie together."""

    def __init__(self, flow: Flow, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.input = torch.cat([flow.input_prev.weight, flow.input_cur.weight], dim=1)  # (residual, 2)
        self.input_bias = flow.input_cur.bias
        self.layers = [_PackedLayer(layer, dtype) for layer in flow.stack]
        self.skip_bias = torch.stack([layer.skip.bias for layer in flow.stack]).sum(0)
        self.out, self.end, self.skips = flow.out, flow.end, len(self.skip_bias)

    def silence(self, streams: int) -> Kept:
        """What is kept before the first block."""
        zeros = [self.skip_bias.new_zeros(streams, 2)]
        for layer in self.layers:
            zeros.append(self.skip_bias.new_zeros(streams, layer.dilation, len(self.input)).to(self.dtype))
        return zeros

    def __call__(self, z: Tensor, u: Tensor, kept: Kept) -> tuple[Tensor, Tensor]:
        padded = torch.cat([kept[0], z], dim=1)  # (B, 2 + T)
        x = F.linear(torch.stack([padded[:, :-2], padded[:, 1:-1]], dim=-1), self.input, self.input_bias)
        kept[0].copy_(padded[:, -2:])
        channels, skip = x.shape[-1], self.skip_bias
        for layer, before in zip(self.layers, kept[1:], strict=True):
            now = torch.cat([before, x.to(self.dtype)], dim=1)  # (B, d + T, residual)
            given = torch.cat([now[:, : x.shape[1]], now[:, layer.dilation :], u], dim=-1)
            before.copy_(now[:, x.shape[1] :])
            s = torch.sigmoid(F.linear(given, layer.gates, layer.gates_bias).to(x.dtype))
            gated = (2 * s[..., :channels] - 1) * s[..., channels:]
            out = F.linear(gated.to(self.dtype), layer.out)
            skip = skip + out[..., -self.skips :]
            if layer.residual_bias is not None:
                x = x + (out[..., :channels] + layer.residual_bias)
        hidden = F.relu(self.out(F.relu(skip)))
        mean, log_scale = self.end(hidden).unbind(-1)
        return mean, log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


class _PackedLayer:
    """tanh(a) is 2 sigmoid(2 a) - 1: with the factor in the weights, one sigmoid does for both gates, in a third of the time."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        self.dilation, channels = layer.dilation, len(layer.bias) // 2
        gates = torch.cat([layer.prev.weight, layer.cur.weight, layer.cond.weight], dim=1)  # (2 residual, inputs)
        twice = gates.new_ones(2 * channels)
        twice[:channels] = 2
        self.gates, self.gates_bias = (gates * twice[:, None]).to(dtype), (layer.bias * twice).to(dtype)
        both = [layer.skip.weight] if layer.res is None else [layer.res.weight, layer.skip.weight]
        self.out = torch.cat(both).to(dtype)  # (residual + skip, residual)
        self.residual_bias = None if layer.res is None else layer.res.bias


class _Graph:
    """A step as a CUDA graph: hundreds of small kernels, launched as one. Captured at the first block, replayed after it.

    Only one capture at a time may be under way in a process (PyTorch's rule), and it must not forbid other threads, which may
    be rendering, to ask for memory: CUDA's "global" mode does, "thread_local" does not.
    """

    _capturing = threading.Lock()

    def __init__(self, step: Callable[[Tensor, Tensor, list[Kept]], Tensor], kept: list[Kept]) -> None:
        self.run, self.kept = step, kept
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, z: Tensor, u: Tensor, kept: list[Kept]) -> Tensor:
        if self.graph is None:
            with self._capturing:
                self.graph = self._capture(z, u, kept)
        self.z.copy_(z)
        self.u.copy_(u)
        self.graph.replay()
        return self.wave

    def _capture(self, z: Tensor, u: Tensor, kept: list[Kept]) -> torch.cuda.CUDAGraph:
        self.z, self.u = z.clone(), u.clone()
        before = [[tensor.clone() for tensor in flow] for flow in kept]
        side = torch.cuda.Stream(self.z.device)
        side.wait_stream(torch.cuda.current_stream(self.z.device))
        with torch.cuda.stream(side):
            for _ in range(2):  # libraries choose their kernels now, since they may not while a graph is captured
                self.run(self.z, self.u, kept)
        torch.cuda.current_stream(self.z.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            self.wave = self.run(self.z, self.u, kept)
        for flow, saved in zip(kept, before, strict=True):
            for tensor, old in zip(flow, saved, strict=True):
                tensor.copy_(old)
        return graph
