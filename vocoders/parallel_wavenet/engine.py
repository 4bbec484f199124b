"""The student's inference, in blocks over time: memory does not grow with length, and blocks meet exactly.

A layer that looks back d samples keeps its last d inputs, and a flow its last two. A block that begins with these equals that
part of the whole. All blocks have one length, the last one is padded: so every step is the same computation, as `torch.compile`
and CUDA graphs require, and gives the same bits whatever the length of the music.

The noise is a function of seed and sample alone (Philox, vocoders/shared/philox.py), not of blocks, and so are the samples.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.backends.cpu import get_cpu_capability
from torch.nn import functional as F

from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.system.processor import has_bf16
from m2m.vocoders.parallel_wavenet.network import MAX_LOG_SCALE, MIN_LOG_SCALE, Flow, Student
from m2m.vocoders.shared.layer import Layer
from m2m.vocoders.shared.philox import logistic, normal, philox

Array = NDArray[np.float32]
Precision = Literal["fp32", "bf16"]
Kept = list[Tensor]  # of a flow: its last two inputs (streams, 2), then of each layer its last d (streams, d, residual)

AHEAD = 64  # frames, half a second: features are computed at least so many at a time
WORDS = 4  # random words that one call of Philox gives


def white_noise(seed: int, first: int, count: int, kind: str) -> Array:
    """Samples first..first + count of the noise of a seed: (count,) float32, gaussian or logistic of scale 1.

    One call of Philox makes four uniform numbers, and those two Gaussian or four logistic ones.
    """
    each = WORDS // 2 if kind == "gaussian" else WORDS
    begin, end = first // each, -(-(first + count) // each)
    counter = np.zeros((end - begin, WORDS), np.uint32)
    numbers = np.arange(begin, end, dtype=np.uint64)
    counter[:, 0], counter[:, 1] = numbers & np.uint64(0xFFFFFFFF), numbers >> np.uint64(32)
    words = philox(counter, (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    # 23 bits and a half, so that neither 0 nor 1 comes of it in float32, where a logistic would be infinite.
    u = ((words >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2**-23)
    drawn = normal(u.reshape(-1, 2)) if kind == "gaussian" else logistic(u.reshape(-1))
    return drawn[first - begin * each :][:count]


class StudentEngine:
    """A student's weights, packed for inference: mels to audio, several side by side.

    precision: of the products; sums from layer to layer and flow to flow stay float32. compiled: by torch.compile.
    about: what of it shows in its samples, for core/vocoder.py's `provenance`.
    """

    def __init__(
        self, student: Student, device: str = "cpu", precision: Precision = "fp32", compiled: bool = False
    ) -> None:
        if precision == "bf16" and not has_bf16(device):
            raise M2MError(f"{device} has no bfloat16 arithmetic of its own: use precision=fp32.")
        self.student = student.to(device)
        self.config, self.device = student.config, torch.device(device)
        runs_on = torch.cuda.get_device_name(device) if self.device.type == "cuda" else get_cpu_capability()
        self.about = {"engine": f"PyTorch on {runs_on}", "precision": precision}
        self.sums = next(student.parameters()).dtype
        self.dtype = torch.bfloat16 if precision == "bf16" else self.sums
        self.flows = [_PackedFlow(flow, self.dtype) for flow in student.stack]
        self.step: Callable[[Tensor, Tensor, list[Kept]], Tensor] = (
            torch.compile(self._step) if compiled else self._step
        )

    @torch.inference_mode()
    def stream(self, mels: Sequence[Mel], seed: int, frames: int, temperature: float = 1.0) -> Iterator[list[Array]]:
        """Audio of each mel in blocks of so many frames: (samples,) float32 each, empty where that mel is at its end.

        All mels get the same noise, so that each result equals that of the mel alone.

        temperature: the scale of the noise, zero or more.
        """
        hop, lengths = self.config.mel.hop_length, [mel.frames for mel in mels]
        samples = frames * hop
        kept = [flow.silence(len(mels)) for flow in self.flows]
        readers = [_FeatureReader(self.student, mel) for mel in mels]
        step = _Graph(self.step, kept) if self.device.type == "cuda" else self.step
        for first in range(0, max(lengths, default=0), frames):
            noise = torch.from_numpy(white_noise(seed, first * hop, samples, self.config.noise)).to(self.device)
            z = (noise * temperature).to(self.sums).expand(len(mels), -1)
            inputs = [reader.between(first, first + frames) for reader in readers]
            u = torch.stack([conditioning for conditioning, _ in inputs])
            drawn = step(z, u.to(self.dtype), kept).float().cpu()
            yield [
                self.student.to_sound(y[: len(features) * hop], features).numpy().copy()
                for y, (_, features) in zip(drawn, inputs, strict=True)
            ]

    def _step(self, z: Tensor, u: Tensor, kept: list[Kept]) -> Tensor:
        """A block through all flows: noise (streams, T), conditioning (streams, T, n_mels) -> (streams, T). Moves `kept` on."""
        for flow, before in zip(self.flows, kept, strict=True):
            mean, log_scale = flow(z, u, before)
            z = z * log_scale.exp() + mean
        return z


class _FeatureReader:
    """Reads a mel's features from its beginning on, at least `AHEAD` frames at a time.

    The excitation of a few frames depends on as many frames around them, which cost as much again.
    """

    def __init__(self, student: Student, mel: Mel) -> None:
        self.student, self.mel, self.first = student, mel, 0
        self.features = student.features_of(mel, 0, 0)

    def between(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """Of frames first..last: (samples, width), zero beyond the mel's end; and the features of those that there are.

        What lies before `first` is not asked for again.
        """
        margin, frames = self.student.config.margin, self.mel.frames
        begin, known = max(0, first - margin), self.first + len(self.features)
        if known < min(frames, last + margin):
            more = self.student.features_of(self.mel, known, min(frames, max(last + margin, known + AHEAD)))
            self.features = np.concatenate([self.features, more])
        skipped = min(begin - self.first, len(self.features))
        self.features, self.first = self.features[skipped:], self.first + skipped
        here = first - self.first
        u = self.student.conditioning_between(self.features[: here + last - first + margin], here, here + last - first)
        return u, torch.from_numpy(self.features[here : here + last - first])


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
