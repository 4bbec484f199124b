"""The CUDA engine: the kernel of cuda/wavenet.cu, compiled for this network and this GPU when it is first needed.

Audio is made in blocks of some thousand samples a stream, one launch each, since a launch cannot be interrupted and its audio
is not available before its end; the state of a stream stays in the GPU's memory from launch to launch. The mel comes to the
rate of samples on the GPU, block by block, so memory does not grow with length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.cuda.device import PLAIN, CudaDevice, Device, Kernels, Memory, available, describe, scalars
from m2m.vocoders.wavenet.cuda.plan import Plan, Precision, Regime, filled, make_plan, pack, plans
from m2m.vocoders.wavenet.engine import Array, WaveNetEngine
from m2m.vocoders.wavenet.network import WaveNet

__all__ = ["CudaEngine", "available", "describe"]

FEW = 8  # streams up to which each has blocks of its own
MANY = 1 << 30  # streams: more than run side by side
MEMORY = 1 << 30  # bytes for the mel at the rate of samples; more streams make shorter blocks


@dataclass(frozen=True)
class Loaded:
    """A plan's kernels and its weights on the GPU."""

    plan: Plan
    kernels: Kernels
    weights: Memory
    biases: Memory


class CudaEngine(WaveNetEngine):
    """Runs a WaveNet's streams on a GPU.

    precision: "fp32" is exact but for the order of sums; "fp16" and "bf16" are faster, with sums in float32.
    regime:    "latency" has one stream done as early as can be, "specialised" as well, by another kernel; "throughput" has the
               most samples a second over many streams, "balanced" those that are given done as early as can be. "auto" takes
               latency or throughput by `streams`, how many are meant to run side by side (0: as many as gain), and by nothing
               else: which regime it is may show in what is drawn, who else is rendered may not. "segments" leaves it to
               `for_segments`.
    device:    "cuda" or "cuda:N".
    Raises M2MError where there is no such GPU, or where the network does not fit it.
    """

    def __init__(
        self,
        model: WaveNet,
        precision: Precision = "fp16",
        regime: Regime | Literal["auto", "segments"] = "auto",
        device: str | Device = "cuda",
        *,
        streams: int = 1,
    ) -> None:
        self.config, self.n_features, self.precision = model.config, model.n_features, precision
        few = 0 < streams <= FEW
        by_streams: dict[str, Regime] = {"auto": "latency" if few else "throughput", "segments": "balanced"}
        self.regime: Regime = by_streams.get(regime, regime)  # type: ignore[arg-type]
        self.device = CudaDevice(_index(device)) if isinstance(device, str) else device
        limits = self.device.limits
        capability = ".".join(map(str, limits.capability))
        told = "segments" if regime == "segments" else self.regime
        self.about = {"engine": "cuda", "precision": precision, "regime": told, "capability": capability}
        self.model = model
        self._loaded: dict[tuple[int, int], Loaded | None] = {}  # by blocks and streams of a cluster
        self._siblings: dict[Regime, CudaEngine] = {self.regime: self}
        many = MANY if self.regime == "balanced" else 1
        self.plan = make_plan(model.config, precision, self.regime, limits, many)
        if self.regime != "balanced":
            self.plan = self.loaded(1).plan
        self.side_by_side = max(1, limits.processors // self.plan.blocks) * self.plan.streams
        self.stages = []  # of upsampling: window, stride, inputs, weight (window, inputs, bands), bias
        for (window, stride), convolution in zip(model.config.upsample, model.upsample, strict=True):
            weight = np.ascontiguousarray(_array(convolution.weight).transpose(2, 0, 1))
            self.stages.append(
                (window, stride, weight.shape[1], self._upload(weight), self._upload(_array(convolution.bias)))
            )

    def for_segments(self, count: int) -> CudaEngine:
        """Itself; but where the segments are to decide, the specialised regime's for one that clusters can hold, and the
        throughput regime's for more than run side by side.
        """
        if self.about["regime"] != "segments":
            return self
        wanted: Regime = "specialised" if count == 1 else self.regime if count <= self.side_by_side else "throughput"
        if wanted not in self._siblings:
            try:
                self._siblings[wanted] = CudaEngine(self.model, self.precision, wanted, self.device)
            except M2MError:
                if wanted != "specialised":
                    raise
                self._siblings[wanted] = self
        return self._siblings[wanted]

    def loaded(self, streams: int) -> Loaded:
        """What runs so many streams; of "balanced" the fewest streams a cluster with which all run side by side.

        Raises M2MError where the GPU cannot run a single cluster of it.
        """
        wanted = min(streams, self.side_by_side) if self.regime == "balanced" else 1
        best = None
        for plan in plans(self.config, self.precision, self.regime, self.device.limits, wanted):
            shape = plan.blocks, plan.streams
            if shape not in self._loaded:
                kernels = self.device.compile(plan)
                weights = map(self._upload, pack(self.model, plan))
                self._loaded[shape] = Loaded(plan, kernels, *weights) if kernels else None
            best = self._loaded[shape] or best
            if best and (self.regime != "balanced" or best.kernels.clusters * plan.streams >= wanted):
                return best  # a cluster too large for the multiprocessors of the GPU is followed by one of fewer blocks
        if best is None:
            raise M2MError(f"the GPU ({self.device.limits}) has no room for this WaveNet's kernel: use engine=cpu.")
        return best

    def _upload(self, array: NDArray[Any]) -> Memory:
        memory = self.device.memory(array.nbytes)
        self.device.write(memory, array)
        return memory

    def blocks(
        self, mels: Sequence[Array], seed: int, streams: Sequence[int], temperature: float, threads: int, frames: int
    ) -> Iterator[list[NDArray[Any]]]:
        hop, longest = self.config.mel.hop_length, max(map(len, mels), default=0)
        session = _CudaSession(self, mels, seed, streams, temperature)
        for first in range(0, longest, frames):
            last = min(first + frames, longest)
            block = [np.empty(max(0, min(last, len(mel)) - first) * hop, self.kind) for mel in mels]
            for start, count in session.parts(first, last):
                drawn, _ = session.step(start, count)
                for i, samples in zip(session.order, drawn, strict=False):
                    room = block[i][(start - first) * hop :][: count * hop]
                    room[:] = samples[: len(room)]
            yield block

    def teacher_forced(self, samples: NDArray[Any], mel: Array) -> Array:
        given, hop = np.array(samples, np.float32), self.config.mel.hop_length
        session, found = _CudaSession(self, [mel], 0, [0], 0.0), [np.zeros((0, self.config.outputs), np.float32)]
        for start, count in session.parts(0, len(mel)):
            found.append(session.step(start, count, given[None, start * hop : (start + count) * hop])[1][0])
        return np.concatenate(found)


class _CudaSession:
    """The state of streams between blocks, the longest first, so that those still running are the first ones."""

    def __init__(
        self,
        engine: CudaEngine,
        mels: Sequence[Array],
        seed: int,
        streams: Sequence[int],
        temperature: float,
    ) -> None:
        self.loaded = engine.loaded(len(mels))
        config, plan, device = engine.config, self.loaded.plan, engine.device
        self.engine, self.seed, self.temperature = engine, seed & (2**64 - 1), temperature
        self.order = sorted(range(len(mels)), key=lambda i: -len(mels[i]))
        self.mels = [mels[i] for i in self.order]
        self.lengths = np.zeros(
            -(-len(mels) // plan.streams) * plan.streams, np.int64
        )  # as many as clusters run, in frames
        self.lengths[: len(mels)] = [len(mel) for mel in self.mels]
        numbers = np.zeros(len(self.lengths), np.uint32)
        numbers[: len(mels)] = [streams[i] & 0xFFFFFFFF for i in self.order]
        silence = config.classes // 2 if config.output == "mulaw" else 0
        clusters = len(self.lengths) // plan.streams
        self.numbers, self.ends = engine._upload(numbers), engine._upload(self.lengths)
        self.last = engine._upload(np.full((len(numbers), 2), silence, np.float32))
        self.rings = device.memory(clusters * plan.blocks * plan.ring * plan.size)
        self.room: dict[str, tuple[int, Memory]] = {}  # of each launch's arrays, as large as one of them was

    def parts(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Launches that make frames first..last: where each begins, and how many it makes."""
        config, plan = self.engine.config, self.loaded.plan
        each = config.mel.hop_length * filled(config.mel.n_mels) * plan.size * max(1, len(self.lengths))
        most = max(1, MEMORY // each)
        for start in range(first, last, most):
            yield start, min(most, last - start)

    def step(self, first: int, frames: int, given: Array | None = None) -> tuple[Array, Array]:
        """Frames from `first` on of the streams that run: (streams, samples), in the order of `order`; or, of samples that are
        given, what is expected of each: (streams, samples, outputs).
        """
        engine, plan, config = self.engine, self.loaded.plan, self.engine.config
        clusters = -(-int((self.lengths > first).sum()) // plan.streams)
        streams, count = clusters * plan.streams, frames * config.mel.hop_length
        u = self._upsampled(first, frames, streams)
        drawn = np.zeros((streams, count), np.float32)
        samples = self._memory("samples", drawn.nbytes)
        if given is not None:
            drawn[: len(given)] = given
            engine.device.write(samples, drawn)
        outputs = np.zeros((streams, count, config.outputs) if given is not None else 0, np.float32)
        expected = self._memory("expected", outputs.nbytes) if given is not None else None
        self.loaded.kernels.launch(
            "wavenet",
            clusters,
            *scalars(
                self.loaded.weights, self.loaded.biases, self.rings, u, self.numbers, self.last, samples, expected
            ),
            *(np.int64(first * config.mel.hop_length), np.int32(count), np.int32(streams)),
            *(np.uint64(self.seed), np.float32(self.temperature)),
        )
        if expected is None:
            engine.device.read(samples, drawn)
        else:
            engine.device.read(expected, outputs)
        return drawn, outputs

    def _upsampled(self, first: int, frames: int, streams: int) -> Memory:
        """The mel of these frames at the rate of samples: (samples, streams, bands filled up), as the kernel's numbers."""
        engine, plan, config = self.engine, self.loaded.plan, self.engine.config
        margin, bands, rate = config.margin, config.mel.n_mels, 1
        features = np.zeros((streams, frames + 2 * margin, engine.n_features), np.float32)
        for i, mel in enumerate(self.mels[:streams]):
            begin = max(0, first - margin)
            part = mel[begin : first + frames + margin]
            to = features[i, begin - first + margin :][: len(part)]
            to[:] = part
            to[:, :bands] = config.mel.scaled(to[:, :bands])
        level = self._memory("mel", features.nbytes)
        engine.device.write(level, features)
        start, there = first - margin, features.shape[1]  # what `level` holds, at its rate
        for i, (window, stride, inputs, weight, bias) in enumerate(engine.stages):
            rate, final = rate * stride, i + 1 == len(engine.stages)
            in_first, in_count = start, there
            extra = 0 if final else margin  # frames to either side
            start, there = (first - extra) * rate, (frames + 2 * extra) * rate
            width, size = (filled(bands), plan.size) if final else (bands, 4)
            out = self._memory(f"level {i}", there * streams * width * size)
            self.loaded.kernels.launch(
                "upsample_last" if final else "upsample",
                -(-there * streams * bands // PLAIN),
                *scalars(level, weight, bias, self.ends, out),
                *(np.int32(x) for x in (streams, inputs, bands, window, stride, rate)),
                *(np.int64(in_first), np.int32(in_count), np.int64(start), np.int32(there)),
            )
            level = out
        return level

    def _memory(self, name: str, size: int) -> Memory:
        """Room of at least so many bytes, kept for the next launch. What was in it stays, but for the filling of bands zeros."""
        there, memory = self.room.get(name, (-1, None))
        if memory is None or there < size:
            memory = self.engine.device.memory(size)
            self.room[name] = size, memory
        return memory


def _array(tensor: Any) -> Array:
    return tensor.detach().cpu().float().numpy()


def _index(device: str) -> int:
    """Of "cuda" or "cuda:N"."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise M2MError(f"device {device!r} came, cuda or cuda:N was wanted by the CUDA engine.")
    return int(number or 0)
