"""The plain engine: one sample after the other in PyTorch. Slow; what the fast engines are compared with.

A layer looks back d samples, so it keeps its last d inputs in a ring. It computes in float64 unless told otherwise: the order
of a sum, which changes with the number of streams side by side, then never shows in what is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from m2m.vocoders.shared.philox import uniforms
from m2m.vocoders.wavenet.engine import Array, WaveNetEngine
from m2m.vocoders.wavenet.network import WaveNet
from m2m.vocoders.wavenet.sampling import draw


class TorchEngine(WaveNetEngine):
    """Runs a WaveNet's streams side by side.

    >>> from m2m.vocoders.wavenet.network import WaveNetConfig
    >>> model = WaveNet(WaveNetConfig(layers=2, residual=4, skip=8))
    >>> mels = [np.zeros((1, 80), np.float32), np.zeros((2, 80), np.float32)]
    >>> [wave.shape for wave in TorchEngine(model).generate(mels, seed=0)]
    [(128,), (256,)]
    """

    def __init__(self, model: WaveNet, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float64) -> None:
        self.config, self.n_features = model.config, model.n_features
        self.device, self.dtype = torch.device(device), dtype
        self.about = {"engine": "torch", "precision": str(dtype).removeprefix("torch.")}
        self.model = deepcopy(model).to(self.device, dtype).eval().requires_grad_(False)

    @torch.inference_mode()
    def blocks(
        self, mels: Sequence[Array], seed: int, streams: Sequence[int], temperature: float, threads: int, frames: int
    ) -> Iterator[list[NDArray[Any]]]:
        if threads:
            torch.set_num_threads(threads)
        hop, length = self.config.mel.hop_length, [len(mel) for mel in mels]
        rings, before, current = self._start(len(mels))
        for first in range(0, max(length, default=0), frames):
            last = min(first + frames, max(length))
            parts = [self.model.conditioning_between(mel, first, last) for mel in mels]
            u = torch.stack(parts, dim=1)  # (samples, streams, n_mels)
            numbers = uniforms(seed, np.asarray(streams), first * hop, len(u))
            drawn = []
            for t in range(len(u)):
                expected = self._step(first * hop + t, before, current, u[t], rings)
                samples = draw(expected.cpu().numpy(), numbers[t], self.config.output, temperature)
                drawn.append(samples)
                before, current = current, self._samples(samples)
            block = np.stack(drawn, axis=1)  # (streams, samples)
            yield [row[: max(0, (n - first) * hop)] for row, n in zip(block, length, strict=True)]

    @torch.inference_mode()
    def teacher_forced(self, samples: NDArray[Any], mel: Array) -> NDArray[np.float64]:
        rings, before, current = self._start(1)
        u, out = self.model.conditioning_between(mel, 0, len(mel)), []
        for t, sample in enumerate(samples):
            out.append(self._step(t, before, current, u[t, None], rings))
            before, current = current, self._samples(np.asarray(sample)[None])
        return torch.cat(out).cpu().numpy() if out else np.zeros((0, self.config.outputs))

    def _step(self, t: int, before: Tensor, current: Tensor, u: Tensor, rings: list[Tensor]) -> Tensor:
        """One sample of every stream, all (streams, ..): samples t - 2 and t - 1, conditioning u -> what is expected of t."""
        x, skip = self.model.embed(before, current), self.model.end.weight.new_zeros(())
        for layer, ring in zip(self.model.stack, rings, strict=True):
            place = t % len(ring)
            past = ring[place].clone()
            ring[place] = x
            a, b = (layer.prev(past) + layer.cur(x) + layer.bias + layer.cond(u)).chunk(2, dim=-1)
            z = torch.tanh(a) * torch.sigmoid(b)
            skip = skip + layer.skip(z)
            if layer.res is not None:
                x = x + layer.res(z)
        return self.model.end(F.relu(self.model.out(F.relu(skip))))

    def _start(self, streams: int) -> tuple[list[Tensor], Tensor, Tensor]:
        """Rings of (dilation, streams, residual) zeros, and the two samples before the first."""
        rings = [self.model.end.weight.new_zeros(d, streams, self.config.residual) for d in self.config.dilations]
        silence = self.model.silence(streams)
        return rings, silence, silence

    def _samples(self, drawn: NDArray[Any]) -> Tensor:
        wanted = torch.int64 if self.config.output == "mulaw" else self.dtype
        return torch.from_numpy(drawn).to(self.device, wanted)
