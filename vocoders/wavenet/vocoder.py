"""The vocoder: a trained WaveNet's folder and the best engine there is for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator

from m2m.core.audio import mu_law_decode
from m2m.core.cpu import libraries
from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.model_folders import find_model, read_notice
from m2m.core.system import progress
from m2m.core.vocoder import EngineReport, Vocoder, VocoderOptions
from m2m.vocoders.shared.silence_gate import GatedMel, gate_silence
from m2m.vocoders.wavenet.cpu import engine as cpu_engine
from m2m.vocoders.wavenet.cpu.engine import CpuEngine
from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.cuda.engine import CudaEngine
from m2m.vocoders.wavenet.engine import WaveNetEngine
from m2m.vocoders.wavenet.network import WaveNet, apply_temperature, load_wavenet
from m2m.vocoders.wavenet.segments import FADE, SEARCH, SHORTEST, Segment, cut, join, segment_count
from m2m.vocoders.wavenet.torch_engine import TorchEngine

Array = NDArray[np.float32]
BLOCK = 64  # frames of a piece in one stream that are read and made at a time
FASTEST = "int8"  # costs about 0.001 nats a sample on trained weights: docs/performance.md


class WaveNetOptions(VocoderOptions):
    """Options of `WaveNetVocoder`."""

    model: str | None = Field(None, description="folder of a trained WaveNet, or the name of one that ships")
    engine: Literal["auto", "cuda", "cpu", "torch"] = Field(
        "auto",
        description="what computes: a GPU, the C++ kernel, or plain PyTorch, which is slow; auto takes the best there is",
    )
    precision: Literal["auto", "fp32", "fp16", "bf16", "int8"] = Field(
        "auto", description="of the arithmetic; auto is int8 on the CPU, fp16 on a GPU, which has no int8"
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=2,
        description="below 1: less noise, and duller; 0 takes where samples lie densest; as the model has it, if none is given",
    )
    regime: Literal["auto", "segments"] = Field(
        "auto",
        description="of engine=cuda; segments: how a GPU divides its work is decided by their number (not yet measured)",
    )
    segment: float = Field(
        2.0, ge=0, le=3600, description="seconds: a piece is cut into so long parts, to be rendered at once; 0: in one"
    )
    streams: int = Field(
        0,
        ge=0,
        le=4096,
        description="segments rendered side by side, of one piece or several; 0 leaves it to the engine",
    )
    threads: int = Field(0, ge=0, le=1024, description="of the CPU; 0 leaves it to the engine")

    @field_validator("segment")
    @classmethod
    def _longer_than_its_joins(cls, seconds: float) -> float:
        if 0 < seconds < SHORTEST:
            raise ValueError(f"a segment of {seconds:g} s is shorter than {SHORTEST:g} s; 0 renders a piece in one")
        return seconds


class WaveNetVocoder(Vocoder):
    """Mel to audio by a WaveNet, sample by sample, in segments that are rendered side by side (segments.py)."""

    API_VERSION = 1
    Options = WaveNetOptions
    uses_notes = True
    expects_cuda = False
    options: WaveNetOptions

    def __init__(self, options: WaveNetOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        try:
            # A teacher of Parallel WaveNet is a WaveNet as well, and may ship beside the one that is meant by the name.
            wanted = {"output": "mulaw"} if self.options.model is None else {}
            folder = find_model("wavenet", self.options.model, wanted)
        except M2MError as error:
            if self.options.model is not None:
                raise
            raise M2MError(
                "no WaveNet ships with this m2m; train one with 'm2m train wavenet', and give its folder: "
                "--vocoder-opt model=FOLDER."
            ) from error
        self.model, digest = load_wavenet(folder)
        self.mel_spec, self.notice = self.model.config.mel, read_notice(folder)
        given = self.options.temperature
        self.temperature = self.model.config.temperature if given is None else given
        self.uses_seed = self.temperature > 0
        apply_temperature(self.model, self.temperature)
        self.engine = make_engine(self.model, self.options, device, self.expects_cuda)
        self.provenance = {"weights": digest, **self.engine.about, "temperature": f"{self.temperature:g}"}

    @classmethod
    def best_engine(cls) -> EngineReport:
        without_cuda = cuda_device.available()
        if not without_cuda:
            return EngineReport(cuda_device.describe())
        plain = "PyTorch, some 30 times slower than real time"
        return libraries.report(cpu_engine.HERE, cpu_engine.available(), plain, f"of CUDA: {without_cuda}")

    def stream(self, mel: Mel, seed: int) -> Iterator[Array]:
        """Yield (samples,) float32: half a second at a time of a piece in one, else as much as is rendered side by side."""
        gated, count = GatedMel(mel), segment_count(mel, self.options.segment)
        engine = self.engine.for_segments(count)
        if count == 1:
            yield from gate_silence(gated, self._in_one(gated, seed, engine))
        else:
            yield from gate_silence(gated, join(self._render([gated], seed, engine), mel.spec, mel.frames, self._reach))

    def batch(self, mels: Sequence[Mel], seed: int = 0) -> list[Array]:
        """Several mels, all their segments side by side.

        Returns of each mel what `synthesize` gives of it alone: (samples,) float32 audio, in -1..1.
        """
        for mel in mels:
            self.check(mel)
        gated, empty = [GatedMel(mel) for mel in mels], np.zeros(0, np.float32)
        counts = [segment_count(mel, self.options.segment) for mel in mels]
        engines = [self.engine.for_segments(count) for count in counts]
        rendered = {
            engine: self._render([mel for mel, its in zip(gated, engines, strict=True) if its is engine], seed, engine)
            for engine in dict.fromkeys(engines)
        }
        return [
            np.concatenate(
                [empty, *gate_silence(mel, join(islice(rendered[engine], count), mel.spec, mel.frames, self._reach))]
            )
            for mel, count, engine in zip(gated, counts, engines, strict=True)
        ]

    def _in_one(self, mel: Mel, seed: int, engine: WaveNetEngine) -> Iterator[Array]:
        """A piece in one stream; the mel is read as far as each block needs it."""
        features, known = np.zeros((mel.frames, self.model.n_features), np.float32), 0
        drawn = engine.stream([features], seed, frames=BLOCK, **self._drawing)
        for first in range(0, mel.frames, BLOCK):
            needed = min(first + BLOCK + self.model.config.margin, mel.frames)
            if needed > known:
                features[known:needed] = self.model.features_of(mel, known, needed)
                known = needed
            (block,) = next(drawn)
            yield self._wave(block, features[first : first + BLOCK])

    def _cut(self, mel: Mel) -> Iterator[Segment]:
        config, hop = self.model.config, mel.spec.hop_length
        moved = (FADE / 2 + self._reach) * mel.spec.sample_rate
        lead = config.margin + math.ceil((config.receptive_field + moved) / hop)
        tail = config.margin + math.ceil(moved / hop)
        return cut(mel, self.options.segment, lead, tail)

    def _render(self, mels: Sequence[Mel], seed: int, engine: WaveNetEngine) -> Iterator[tuple[Segment, Array]]:
        """All that is rendered for each segment, mel by mel; so many at once as fill the engine, in rounds of like size."""
        jobs = ((mel, segment) for mel in mels for segment in self._cut(mel))
        count = sum(segment_count(mel, self.options.segment) for mel in mels)
        rounds = max(1, math.ceil(count / (self.options.streams or engine.side_by_side)))
        for size in map(len, np.array_split(np.arange(count), rounds)):
            segments, features = [], []
            for mel, segment in islice(jobs, size):  # each read when it is cut, so that a LazyMel is computed once
                segments.append(segment)
                features.append(self.model.features_of(mel, segment.start, segment.stop))
            numbers = [segment.number for segment in segments]
            waves = engine.generate(features, seed, numbers, **self._drawing)
            yield from zip(segments, map(self._wave, waves, features), strict=True)

    @property
    def _reach(self) -> float:
        """Seconds by which a segment is moved where it joins; an excitation has brought them all into phase."""
        return 0.0 if self.model.config.excitation else SEARCH

    @property
    def _drawing(self) -> dict[str, Any]:
        return {"temperature": self.temperature, "threads": self.options.threads}

    def _wave(self, drawn: NDArray[Any], features: Array) -> Array:
        """What was drawn, as sound; with the features of these frames."""
        config = self.model.config
        y = mu_law_decode(drawn, config.classes) if config.output == "mulaw" else drawn.astype(np.float32, copy=False)
        return self.model.to_sound(torch.from_numpy(y), torch.from_numpy(features)).numpy()


class CudaWaveNetVocoder(WaveNetVocoder):
    """The same, asked for by the name of its fastest engine: where there is no CUDA, one line says so and the CPU renders."""

    expects_cuda = True

    @classmethod
    def best_engine(cls) -> EngineReport:
        return replace(super().best_engine(), substitute=cuda_device.available())


def make_engine(
    model: WaveNet, options: WaveNetOptions, device: str = "cpu", expects_cuda: bool = False
) -> WaveNetEngine:
    """The engine that is asked for. "auto" takes CUDA's if it can be used, then the C++ one, then PyTorch, and says in one line
    what it does without; that there is no CUDA, only where CUDA was expected, by name or by device.

    Raises M2MError where an engine is asked for by name and cannot run.
    """
    on_gpu = device.startswith("cuda")
    if options.engine == "cuda" or (
        options.engine == "auto" and (on_gpu or expects_cuda or not cuda_device.available())
    ):
        precision: Any = "fp16" if options.precision == "auto" else options.precision
        streams = options.streams or (0 if options.segment else 1)
        try:
            on = device if on_gpu else "cuda"
            return CudaEngine(model, precision, options.regime, on, streams=streams)
        except M2MError as error:
            if options.engine == "cuda":
                raise
            progress.say(f"WaveNet renders on the CPU: {error}")
    if options.engine != "torch":
        try:
            return CpuEngine(model, FASTEST if options.precision == "auto" else options.precision)
        except M2MError as error:
            if options.engine == "cpu":
                raise
            progress.say(f"WaveNet renders in plain PyTorch, some 30 times slower than real time: {error}")
    return TorchEngine(model, device)
