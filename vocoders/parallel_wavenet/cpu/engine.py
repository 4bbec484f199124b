"""The student's CPU engine: the kernel of cpu/student.h.

The kernel is built for several instruction sets, each a library beside its source; the best that this processor runs is loaded.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Iterator
from ctypes import c_float, c_int, c_int32, c_void_p
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from m2m.core.cpu.libraries import INSTRUCTION_SETS, load, processors
from m2m.core.errors import M2MError
from m2m.vocoders.parallel_wavenet.engine import BlockEngine, Step
from m2m.vocoders.parallel_wavenet.network import MAX_LOG_SCALE, MIN_LOG_SCALE, Flow, Student

HERE = Path(__file__).parent
BITS: dict[str, int] = {"fp32": 32, "int8": 8}  # bfloat16 is slower than int8 on every instruction set
MULTIPLE = 16  # of which channels are multiples: the kernel's vectors
MAX_FLOWS = 16
CALL = 16_384  # samples that one call into the kernel makes: Ctrl-C waits no longer, and its memory does not grow


class NetworkShape(ctypes.Structure):
    """As cpu/student.h has it."""

    _fields_ = [
        *((name, c_int32) for name in ("flows", "cycle", "residual", "skip", "width")),
        ("layers", c_int32 * MAX_FLOWS),
        *((name, c_float) for name in ("least_log_scale", "greatest_log_scale")),
    ]


@lru_cache
def library(name: str) -> ctypes.CDLL | None:
    """The kernel for an instruction set, or None where it was not built or this processor cannot run it."""
    lib = load(HERE, name, "student_supported")
    if lib is None:
        return None
    lib.student_engine.restype = lib.student_session.restype = c_void_p
    lib.student_engine.argtypes = [c_void_p, c_void_p, c_int]
    lib.student_step.argtypes = [c_void_p, c_int, c_void_p, c_void_p, c_int]
    lib.student_session.argtypes = lib.student_end_engine.argtypes = lib.student_end_session.argtypes = [c_void_p]
    lib.student_end_engine.restype = lib.student_end_session.restype = None
    return lib


def available() -> list[str]:
    """The instruction sets that were built and that this processor has, best first."""
    return [name for name in INSTRUCTION_SETS if library(name)]


class CpuEngine(BlockEngine):
    """Runs a student's streams one after another, each block on several threads.

    precision: of the products; "fp32" is exact, "int8" faster and a little noisy.
    threads: 0 is as many as this process may use processors. instructions: one of `available()`; the best if None.
    Raises M2MError where the kernel was not built, and for sizes that it does not do.
    """

    def __init__(
        self, student: Student, precision: str = "fp32", threads: int = 0, instructions: str | None = None
    ) -> None:
        if precision not in BITS:
            raise M2MError(f"precision {precision!r} came, the CPU kernel does {', '.join(BITS)}.")
        check(student)
        super().__init__(student)
        self.threads, self.instructions = threads or processors(), instructions or next(iter(available()), "")
        lib = library(self.instructions) if self.instructions else None
        if lib is None:
            raise M2MError(
                f"the CPU kernel of Parallel WaveNet was not built{f' for {instructions}' if instructions else ''}, or does not "
                "run on this processor: install a C++ compiler and m2m again, or use engine=torch."
            )
        self._library = lib
        self.about = {"engine": "cpu", "precision": precision, "instructions": self.instructions}
        weights = np.concatenate([x.detach().cpu().float().numpy().ravel() for x in weights_in_order(student)])
        engine = lib.student_engine(ctypes.byref(shape_of(student)), weights.ctypes.data, BITS[precision])
        if not engine:
            raise MemoryError("Parallel WaveNet's weights")
        self._engine = c_void_p(engine)
        weakref.finalize(self, lib.student_end_engine, self._engine)

    def start(self, streams: int) -> Step:
        sessions = [_Session(self) for _ in range(streams)]

        def step(z: Tensor, u: Tensor) -> Tensor:
            return torch.stack([session.step(*one) for session, *one in zip(sessions, z, u, strict=True)])

        return step


class _Session:
    """The state of a stream between blocks."""

    def __init__(self, engine: CpuEngine) -> None:
        self.engine = engine  # whose weights it reads
        session = engine._library.student_session(engine._engine)
        if not session:
            raise MemoryError("a stream of Parallel WaveNet")
        self.session = c_void_p(session)
        weakref.finalize(self, engine._library.student_end_session, self.session)

    def step(self, z: Tensor, u: Tensor) -> Tensor:
        """The next samples: noise (T,), conditioning (T, width) -> (T,) float32."""
        samples, given = z.to(torch.float32, copy=True).contiguous(), u.float().contiguous()
        for part, conditioning in zip(samples.split(CALL), given.split(CALL), strict=True):
            if not self.engine._library.student_step(
                self.session, len(part), part.data_ptr(), conditioning.data_ptr(), self.engine.threads
            ):
                raise MemoryError("Parallel WaveNet's samples")
        return samples


def check(student: Student) -> None:
    """Raise M2MError for sizes that the kernel does not do."""
    for name in ("residual", "skip"):
        if (size := getattr(student.config, name)) % MULTIPLE:
            raise M2MError(f"{name} is {size}, the CPU kernel wants a multiple of {MULTIPLE}: use engine=torch.")


def shape_of(student: Student) -> NetworkShape:
    """The sizes of a network as the kernel wants them."""
    c = student.config
    return NetworkShape(
        *(len(c.flows), c.dilation_cycle, c.residual, c.skip, student.width),
        (c_int32 * MAX_FLOWS)(*c.flows),
        *(MIN_LOG_SCALE, MAX_LOG_SCALE),
    )


def weights_in_order(student: Student) -> Iterator[Tensor]:
    """Every weight in the order in which the kernel takes them."""
    for flow in student.stack:
        yield from _weights_of_flow(flow)


def _weights_of_flow(flow: Flow) -> Iterator[Tensor]:
    yield from (flow.input_prev.weight, flow.input_cur.weight, flow.input_cur.bias)
    for layer in flow.stack:
        yield from (layer.prev.weight, layer.cur.weight, layer.bias, layer.cond.weight)
        yield from (layer.skip.weight, layer.skip.bias)
        if layer.res is not None:
            yield from (layer.res.weight, layer.res.bias)
    yield from (flow.out.weight, flow.out.bias, flow.end.weight, flow.end.bias)
