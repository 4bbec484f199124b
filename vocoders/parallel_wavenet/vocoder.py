"""The vocoder: a trained student's folder, and noise through it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from m2m.core.cpu import libraries
from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.model_folders import find_model, read_notice
from m2m.core.system import progress
from m2m.core.vocoder import EngineReport, Vocoder, VocoderOptions
from m2m.vocoders.parallel_wavenet.cpu import engine as cpu_engine
from m2m.vocoders.parallel_wavenet.cpu.engine import CpuEngine
from m2m.vocoders.parallel_wavenet.engine import BlockEngine
from m2m.vocoders.parallel_wavenet.network import KIND, Student, load_student
from m2m.vocoders.parallel_wavenet.torch_engine import TorchEngine
from m2m.vocoders.shared.silence_gate import GatedMel, gate_silence

Array = NDArray[np.float32]

BLOCK = {"cpu": 0.1, "cuda": 4.0}  # seconds: what fits a core's cache, and what keeps a GPU busy


class ParallelWaveNetOptions(VocoderOptions):
    """Options of `ParallelWaveNet`."""

    model: str | None = Field(None, description="folder of a trained student, or the name of one that ships")
    engine: Literal["auto", "cpu", "torch"] = Field(
        "auto",
        description="what computes: the C++ kernel, or plain PyTorch; auto is the kernel on a CPU, if it was built",
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        "auto",
        description="of the arithmetic; auto is int8 in the kernel where there is an excitation, else fp32; bf16 is PyTorch's",
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="scale of the noise that goes in; below 1: duller; as the model has it, if none is given",
    )
    block_seconds: float | None = Field(
        None, ge=0.05, le=60, description="audio computed at once: latency, and memory  [default: 0.1, on a GPU 4]"
    )
    streams: int = Field(8, ge=1, le=1024, description="mels rendered side by side, where several are at hand")
    threads: int = Field(0, ge=0, le=1024, description="of the CPU; 0 leaves it to the engine")
    compile: bool = Field(False, description="torch.compile: a slow start (a minute) for a faster run")


class ParallelWaveNet(Vocoder):
    """Mel to audio by a stack of inverse autoregressive flows, all samples of a block at once."""

    API_VERSION = 1
    Options = ParallelWaveNetOptions
    uses_notes = True
    options: ParallelWaveNetOptions

    def __init__(self, options: ParallelWaveNetOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        try:
            folder = find_model(KIND, self.options.model, {})
        except M2MError as error:
            if self.options.model is not None:
                raise
            raise M2MError(
                "no Parallel WaveNet ships with this m2m; train one with 'm2m train parallel-wavenet', and give its folder: "
                "--vocoder-opt model=FOLDER."
            ) from error
        student, digest = load_student(folder)
        self.mel_spec, self.notice = student.config.mel, read_notice(folder)
        self.engine = make_engine(student, self.options, device)
        given = self.options.temperature
        self.temperature = student.config.temperature if given is None else given
        self.uses_seed = self.temperature > 0
        self.provenance = {"weights": digest, **self.engine.about, "temperature": f"{self.temperature:g}"}
        seconds = self.options.block_seconds or BLOCK["cuda" if torch.device(device).type == "cuda" else "cpu"]
        self.block = max(1, round(seconds * self.mel_spec.frame_rate))  # frames

    @classmethod
    def best_engine(cls) -> EngineReport:
        if torch.cuda.is_available():
            return EngineReport("PyTorch on the GPU with --device cuda, else the C++ kernel")
        return libraries.report(cpu_engine.HERE, cpu_engine.available(), "PyTorch on the CPU", "PyTorch sees no GPU")

    def stream(self, mel: Mel, seed: int) -> Iterator[Array]:
        """Yield a block of audio at a time: (samples,) float32."""
        gated = GatedMel(mel)
        yield from gate_silence(gated, (block for (block,) in self._blocks([gated], seed)))

    def batch(self, mels: Sequence[Mel], seed: int = 0) -> list[Array]:
        """Several mels side by side, which a GPU does faster.

        Returns of each mel what `synthesize` gives of it alone, up to rounding: (samples,) float32 audio, in -1..1.
        """
        waves: list[Array] = []
        for mel in mels:
            self.check(mel)
        for first in range(0, len(mels), self.options.streams):
            group = [GatedMel(mel) for mel in mels[first : first + self.options.streams]]
            blocks = list(self._blocks(group, seed))
            for i, mel in enumerate(group):
                rested = gate_silence(mel, (block[i] for block in blocks))
                waves.append(np.concatenate([np.zeros(0, np.float32), *rested]))
        return waves

    def _blocks(self, mels: Sequence[Mel], seed: int) -> Any:
        return self.engine.stream(mels, seed, self.block, self.temperature)


def make_engine(student: Student, options: ParallelWaveNetOptions, device: str = "cpu") -> BlockEngine:
    """The engine that is asked for. "auto" takes the C++ one on a CPU, then PyTorch, and says so in one line.

    Raises M2MError where the kernel is asked for by name and cannot run, and for bf16 where the device has none.
    """
    for_pytorch = torch.device(device).type == "cuda" or options.compile or options.precision == "bf16"
    if options.engine == "cpu" or (options.engine == "auto" and not for_pytorch):
        try:
            # The noise of int8 is 31 to 49 dB below what a student makes (docs/parallel-wavenet.md), be it all that sounds
            # or only what an excitation lacks.
            fastest = "int8" if student.config.excitation else "fp32"
            precision = fastest if options.precision == "auto" else options.precision
            return CpuEngine(student, precision, options.threads)
        except M2MError as error:
            if options.engine == "cpu":
                raise
            progress.say(f"Parallel WaveNet renders in plain PyTorch, which is slower: {error}")
    plain: Any = "fp32" if options.precision == "auto" else options.precision
    return TorchEngine(student, device, plain, options.compile)
