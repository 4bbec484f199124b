"""The vocoder: a trained WaveNet's folder and the best engine there is for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from m2m.core import progress
from m2m.core.audio import mu_law_decode
from m2m.core.checkpoint import find_model
from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.score import note_array
from m2m.core.vocoder import Vocoder, VocoderOptions
from m2m.vocoders.wavenet.cpu_engine import CpuEngine
from m2m.vocoders.wavenet.network import WaveNet, load_wavenet
from m2m.vocoders.wavenet.torch_engine import TorchEngine

Array = NDArray[np.float32]


class WaveNetOptions(VocoderOptions):
    """Options of `WaveNetVocoder`."""

    model: str | None = Field(None, description="folder of a trained WaveNet, or the name of one that ships")
    engine: Literal["auto", "cpu", "torch"] = Field(
        "auto",
        description="what computes: the C++ kernel, or plain PyTorch, which is slow; auto takes the best there is",
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field("auto", description="of the cpu engine's arithmetic")
    temperature: float = Field(1.0, ge=0, le=2, description="below 1: less noise, and duller; 0 takes the likeliest")
    streams: int = Field(8, ge=1, le=1024, description="pieces rendered side by side, where several are at hand")
    threads: int = Field(0, ge=0, le=1024, description="of the CPU; 0 leaves it to the engine")


class WaveNetVocoder(Vocoder):
    """Mel to audio by a WaveNet, sample by sample."""

    Options = WaveNetOptions
    uses_notes = True
    options: WaveNetOptions

    def __init__(self, options: WaveNetOptions | None = None, device: str = "cpu") -> None:
        super().__init__(options, device)
        try:
            folder = find_model("wavenet", self.options.model, {})
        except M2MError as error:
            if self.options.model is not None:
                raise
            raise M2MError(
                "no WaveNet ships with this m2m; train one with 'm2m train wavenet', and give its folder: "
                "--vocoder-opt model=FOLDER."
            ) from error
        self.model, self.model_hash = load_wavenet(folder)
        self.mel_spec = self.model.config.mel
        self.engine = make_engine(self.model, self.options, device)

    def stream(self, mel: Mel, seed: int) -> Iterator[Array]:
        """Yield half a second of audio at a time: (samples,) float32."""
        for (block,) in self.engine.stream([self._features(mel)], seed, **self._drawing):
            yield self._wave(block)

    def batch(self, mels: Sequence[Mel], seed: int = 0) -> list[Array]:
        """Several mels side by side, which is faster; each result equals `synthesize` of that mel alone."""
        waves: list[Array] = []
        for mel in mels:
            self.check(mel)
        for first in range(0, len(mels), self.options.streams):
            group = mels[first : first + self.options.streams]
            features = [self._features(mel) for mel in group]
            waves += map(self._wave, self.engine.generate(features, seed, [0] * len(group), **self._drawing))
        return waves

    @property
    def _drawing(self) -> dict[str, Any]:
        return {"temperature": self.options.temperature, "threads": self.options.threads}

    def _features(self, mel: Mel) -> Array:
        """What the network reads: (frames, features)."""
        encoder = self.model.encoder
        if encoder is None:
            return mel.values
        notes = note_array([]) if mel.notes is None else mel.notes
        return np.concatenate([mel.values, encoder.encode(notes, mel.spec.frame_rate, 0, mel.frames)], axis=1)

    def _wave(self, drawn: NDArray[Any]) -> Array:
        config = self.model.config
        return (
            mu_law_decode(drawn, config.classes) if config.output == "mulaw" else drawn.astype(np.float32, copy=False)
        )


def make_engine(model: WaveNet, options: WaveNetOptions, device: str) -> Any:
    """The engine that is asked for. Where the C++ one cannot run, "auto" says so in one line and takes PyTorch.

    Raises M2MError where "cpu" is asked for and cannot run.
    """
    if options.engine != "torch":
        try:
            return CpuEngine(model) if options.precision == "auto" else CpuEngine(model, options.precision)
        except M2MError as error:
            if options.engine == "cpu":
                raise
            progress.say(f"WaveNet renders in plain PyTorch, some 30 times slower than real time: {error}")
    return TorchEngine(model, device)
