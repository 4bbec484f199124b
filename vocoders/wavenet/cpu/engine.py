"""The CPU engine: the kernel of cpu/wavenet.h, several times faster than real time on one core.

The kernel is built for several instruction sets, each a library beside its source; the best that this processor runs is loaded.
Where none was built (no compiler at installation), `CpuEngine` says so, and the plain engine in PyTorch is there to fall back to.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator, Sequence
from ctypes import c_float, c_int, c_int32, c_int64, c_uint32, c_uint64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m2m.core.cpu.libraries import INSTRUCTION_SETS, load, processors
from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.engine import Array, WaveNetEngine
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

HERE = Path(__file__).parent
BITS: dict[str, int] = {"fp32": 32, "bf16": 16, "int8": 8}
GROUP = 8  # most streams that read each weight together; more gain nothing
MULTIPLE = 16  # of which channels are multiples: the kernel's vectors
MAX_STAGES = 8
CALL_SECONDS = 1.0  # of audio, over all streams, that one call into the kernel makes: Ctrl-C waits no longer


class NetworkShape(ctypes.Structure):
    """As cpu/wavenet.h has it."""

    _fields_ = [
        *((name, c_int32) for name in ("layers", "cycle", "residual", "skip", "classes", "outputs", "output")),
        *((name, c_int32) for name in ("features", "bands", "stages")),
        ("window", c_int32 * MAX_STAGES),
        ("stride", c_int32 * MAX_STAGES),
        ("mel_scale", c_float),
    ]


@lru_cache
def library(name: str) -> ctypes.CDLL | None:
    """The kernel for an instruction set, or None where it was not built or this processor cannot run it."""
    lib = load(HERE, name, "wavenet_supported")
    if lib is None:
        return None
    lib.wavenet_engine.restype = lib.wavenet_session.restype = c_void_p
    lib.wavenet_engine.argtypes = [c_void_p, c_void_p, c_int]
    lib.wavenet_session.argtypes = [
        *(c_void_p, c_int, c_void_p, c_void_p, c_void_p),
        *(c_int, c_uint64, c_float, c_float),
    ]
    lib.wavenet_step.argtypes = [c_void_p, c_int64, c_void_p, c_void_p, c_int]
    lib.wavenet_end_engine.argtypes = lib.wavenet_end_session.argtypes = [c_void_p]
    lib.wavenet_end_engine.restype = lib.wavenet_end_session.restype = None
    return lib


def available() -> list[str]:
    """The instruction sets that were built and that this processor has, best first."""
    return [name for name in INSTRUCTION_SETS if library(name)]


class CpuEngine(WaveNetEngine):
    """Runs a WaveNet's streams side by side, in groups of up to eight, the groups on several threads.

    precision: "fp32" is exact; "bf16" and "int8" are faster, and draw from a slightly different distribution.
    instructions: one of `available()`; the best if None.
    Raises M2MError where the kernel was not built, and for sizes that it does not do.
    """

    def __init__(self, model: WaveNet, precision: str = "fp32", instructions: str | None = None) -> None:
        if precision not in BITS:
            raise M2MError(f"precision {precision!r} came, the CPU kernel does {', '.join(BITS)}.")
        self.config, self.n_features, self.precision = model.config, model.n_features, precision
        check(model.config)
        self.instructions = instructions or next(iter(available()), "")
        lib = library(self.instructions) if self.instructions else None
        if lib is None:
            raise M2MError(
                f"the CPU kernel of WaveNet was not built{f' for {instructions}' if instructions else ''}, or does not run on "
                "this processor: install a C++ compiler and m2m again, or use engine=torch, which is slow."
            )
        self._library, self.side_by_side = lib, GROUP * processors()
        self.about = {"engine": "cpu", "precision": precision, "instructions": self.instructions}
        weights = np.concatenate([x.detach().cpu().float().numpy().ravel() for x in weights_in_order(model)])
        engine = lib.wavenet_engine(ctypes.byref(shape_of(model)), weights.ctypes.data, BITS[precision])
        if not engine:
            raise MemoryError("WaveNet's weights")
        self._engine = c_void_p(engine)
        weakref.finalize(self, lib.wavenet_end_engine, self._engine)

    def blocks(
        self, mels: Sequence[Array], seed: int, streams: Sequence[int], temperature: float, threads: int, frames: int
    ) -> Iterator[list[NDArray[Any]]]:
        hop = self.config.mel.hop_length
        session = _CpuSession(self, mels, seed, streams, temperature, threads or processors())
        longest = max(map(len, mels), default=0)
        for first in range(0, longest, frames):
            last = min(first + frames, longest)
            block = [np.empty(max(0, min(last, len(mel)) - first) * hop, np.float32) for mel in mels]
            session.step(last - first, block)
            yield [samples.astype(self.kind, copy=False) for samples in block]

    def teacher_forced(self, samples: NDArray[Any], mel: Array) -> Array:
        given, outputs = np.array(samples, np.float32), np.empty((len(samples), self.config.outputs), np.float32)
        _CpuSession(self, [mel], 0, [0], 0.0, 1).step(len(mel), [given], [outputs])
        return outputs


class _CpuSession:
    """The state of streams between blocks. Streams of similar length share a group, which runs until its longest ends."""

    def __init__(
        self,
        engine: CpuEngine,
        mels: Sequence[Array],
        seed: int,
        streams: Sequence[int],
        temperature: float,
        threads: int,
    ) -> None:
        config = engine.config
        self.engine, self.threads = engine, threads
        self.order = sorted(range(len(mels)), key=lambda i: -len(mels[i]))
        self.mels = [np.ascontiguousarray(mels[i], np.float32) for i in self.order]  # the kernel reads them here
        # As many groups as keep all threads busy, none larger than GROUP.
        rounds = -(-len(mels) // (threads * GROUP))
        size = max(1, -(-len(mels) // (threads * rounds))) if mels else 1
        count = len(mels)
        session = engine._library.wavenet_session(
            engine._engine,
            count,
            pointers(self.mels),
            (c_int64 * count)(*map(len, self.mels)),
            (c_uint32 * count)(*(streams[i] & 0xFFFFFFFF for i in self.order)),
            size,
            c_uint64(seed & (2**64 - 1)),
            temperature,
            float(config.classes // 2 if config.output == "mulaw" else 0),
        )
        if not session:
            raise MemoryError(f"{count} streams of WaveNet")
        self.session = c_void_p(session)
        weakref.finalize(self, engine._library.wavenet_end_session, self.session)

    def step(self, frames: int, samples: Sequence[Array], outputs: Sequence[Array] | None = None) -> None:
        """The next frames of each stream, in the callers' order, into `samples`; or from them, into `outputs`.

        In several calls, since Python handles no Ctrl-C while the kernel runs.
        """
        mel = self.engine.config.mel
        part = max(1, int(CALL_SECONDS * mel.frame_rate / max(1, len(self.mels))))
        for first in range(0, frames, part):
            count, skipped = min(part, frames - first), first * mel.hop_length
            rest = [
                pointers([arrays[i][skipped:] for i in self.order]) if arrays else None for arrays in (samples, outputs)
            ]
            if not self.engine._library.wavenet_step(self.session, count, *rest, self.threads):
                raise MemoryError("WaveNet's samples")


def pointers(arrays: Sequence[Array]) -> ctypes.Array[c_void_p]:
    """The addresses of arrays, for C.

    arrays: contiguous, of any shape.

    Returns a C array of pointers, (arrays,). It does not keep the arrays alive.
    """
    return (c_void_p * len(arrays))(*(x.ctypes.data for x in arrays))


def check(config: WaveNetConfig) -> None:
    """Raise M2MError for sizes that the kernel does not do."""
    for name in ("residual", "skip", "classes"):
        if (size := getattr(config, name)) % MULTIPLE:
            raise M2MError(f"{name} is {size}, the CPU kernel wants a multiple of {MULTIPLE}: use engine=torch.")
    if len(config.upsample) > MAX_STAGES:
        raise M2MError(
            f"upsample has {len(config.upsample)} stages, the CPU kernel does {MAX_STAGES}: use engine=torch."
        )


def shape_of(model: WaveNet) -> NetworkShape:
    """The sizes of a network as the kernel wants them."""
    c = model.config
    windows, strides = zip(*c.upsample, strict=True)
    return NetworkShape(
        *(c.layers, c.dilation_cycle, c.residual, c.skip, c.classes, c.outputs),
        ("mulaw", "gaussian", "mol").index(c.output),
        *(model.n_features, c.mel.n_mels, len(c.upsample)),
        (c_int32 * MAX_STAGES)(*windows),
        (c_int32 * MAX_STAGES)(*strides),
        c.mel.scale,
    )


def weights_in_order(model: WaveNet) -> Iterator[Any]:
    """Every weight in the order in which the kernel takes them."""
    if model.config.output == "mulaw":
        yield from (model.embed_prev.weight, model.embed_cur.weight)
    else:
        yield from (model.input_prev.weight, model.input_cur.weight, model.input_cur.bias)
    for convolution in model.upsample:
        yield from (convolution.weight, convolution.bias)
    for layer in model.stack:
        yield from (layer.prev.weight, layer.cur.weight, layer.bias, layer.cond.weight)
        yield from (layer.skip.weight, layer.skip.bias)
        if layer.res is not None:
            yield from (layer.res.weight, layer.res.bias)
    yield from (model.out.weight, model.out.bias, model.end.weight, model.end.bias)
