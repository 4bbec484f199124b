"""Train WaveNet: which windows it hears, on true mels or predicted ones, and how it is validated.

A window begins with its layers at zero, as a rendering does, though in the middle of a piece: what it cannot have heard, it
learns to do without. With `lead` the loss leaves the first frames out, which costs their computation. Validation always lets
the layers fill first, so its figures are those of a long rendering.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from m2m.core.audio import mu_law_decode, mu_law_encode
from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.instruments import REFERENCE
from m2m.core.mel2mel import load_mel2mel
from m2m.core.score import NoteArray, from_rows, note_array
from m2m.training.dataset import ShardReader
from m2m.training.loop import LoopConfig, Task, fit
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.sampling import nll
from m2m.vocoders.wavenet.torch_engine import TorchEngine

MU = 255  # of the µ-law in whose steps noise is given
# What `--preset` sets, over a config file and under single values; dotted names, as for `--set`.
PRESETS: dict[str, dict[str, object]] = {
    # Kim et al., arXiv 1811.00223, section 3.3: days on a large GPU.
    "paper": {
        "sequence": 128,
        "loop.batch_size": 4,
        "loop.steps": 1_000_000,
        "loop.learning_rate": 0.001,
        "loop.schedule": "halving",
        "loop.halve_every": 100_000,
        "loop.warmup": 0,
        "loop.average": 0.0,
    },
}


class WaveNetLoop(LoopConfig):
    """The loop's options; the defaults are for a short budget, hours on a CPU: small batches, many steps, one cycle."""

    steps: int = Field(40_000, ge=1)
    batch_size: int = Field(2, ge=1, description="windows a step")
    warmup: int = Field(50, ge=0, description="steps of linear rise to the learning rate")
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the moving average of weights that is validated and exported; 0: none"
    )


class WaveNetRun(BaseModel):
    """A training run of WaveNet, as a YAML or TOML file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: WaveNetConfig = WaveNetConfig()
    loop: WaveNetLoop = WaveNetLoop()
    instruments: dict[str, int] = Field({name: program for program, name in REFERENCE.items()}, min_length=1)
    sequence: int = Field(32, ge=1, description="frames of a training window: 0.26 s")
    lead: int = Field(0, ge=0, description="frames at a window's beginning that the loss leaves out")
    noise: float = Field(
        0.0,
        ge=0,
        description="in steps of the µ-law: up to so much is added to what is heard, not to what is to be told, so that "
        "the network trusts the mel and not only its own past, which in rendering has its errors",
    )
    without_notes: float = Field(
        0.1, ge=0, le=1, description="of the windows, if the model reads notes: a mel may come without any"
    )
    mel_model: Path | None = Field(None, description="folder of a Mel2Mel whose predictions stand in for true mels")
    mel_model_share: float = Field(0.5, ge=0, le=1, description="of the windows, if there is a mel_model")
    validation_windows: int = Field(8, ge=1, description="of each instrument, spread over the files")
    validation_seconds: float = Field(0.5, gt=0, description="of each window")
    sound_seconds: float = Field(
        0.0, ge=0, description="of audio for TensorBoard at each validation; a second takes half a minute"
    )


class WaveNetTask(Task):
    """Random windows of random instruments, the same for every run of one seed."""

    model: WaveNet
    best = "nll"

    def __init__(self, run: WaveNetRun, data: Path) -> None:
        torch.manual_seed(run.loop.seed)
        if run.lead >= run.sequence:
            raise M2MError(f"lead {run.lead} leaves nothing of sequence {run.sequence} to learn from; make it shorter.")
        self.run, self.names = run, list(run.instruments)
        self.train, self.validation = ShardReader(data, "train"), ShardReader(data, "validation")
        self.train.require(run.model.mel, run.instruments)
        self.model = WaveNet(run.model)
        self.mel_model = load_mel2mel(run.mel_model)[0] if run.mel_model else None
        if self.mel_model:
            if different := self.mel_model.config.mel.differences(run.model.mel):
                raise M2MError(f"mel_model {run.mel_model} and model have different mels: {', '.join(different)}.")
            if missing := sorted(run.instruments.keys() - self.mel_model.config.instruments.keys()):
                raise M2MError(f"mel_model {run.mel_model} was not trained on {', '.join(missing)}.")

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """(samples (batch, 2 + sequence * hop_length), features (batch, sequence + 2 margin, features))."""
        draw = np.random.default_rng((self.run.loop.seed, step))
        rows = []
        for _ in range(self.run.loop.batch_size):
            index, name = int(draw.integers(len(self.train))), self.names[int(draw.integers(len(self.names)))]
            start = int(draw.integers(max(1, self.train.frames(index, name) - self.run.sequence + 1)))
            predicted = self.mel_model is not None and draw.random() < self.run.mel_model_share
            notes = draw.random() >= self.run.without_notes
            rows.append(self.window(self.train, index, name, start, self.run.sequence, predicted, notes))
        samples, features = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(samples)), torch.from_numpy(np.stack(features))

    def window(
        self,
        shards: ShardReader,
        index: int,
        name: str,
        start: int,
        frames: int,
        predicted: bool = False,
        notes: bool = True,
    ) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """What the network hears of a stretch: (2 + frames * hop_length,) samples, and (frames + 2 margin, features).

        Silence lies beyond both ends of a piece. predicted: with Mel2Mel's mel in the place of the true one. notes: with
        the score's roll, where the model reads it.
        """
        config, spec = self.run.model, self.run.model.mel
        begin, end = start * spec.hop_length, (start + frames) * spec.hop_length
        wave = _stretch(lambda a, b: shards.audio(index, name, a, b), begin - 2, end, 0.0)
        samples = mu_law_encode(wave, config.classes) if config.output == "mulaw" else wave
        first, last = start - config.margin, start + frames + config.margin
        if predicted:
            mel = self._predict(_notes(shards, index, name), name, first, last - first)
        else:
            mel = _stretch(lambda a, b: shards.mel(index, name, a, b), first, last, spec.silence)
        if self.model.encoder is None:
            return samples, mel
        heard = _notes(shards, index, name) if notes else note_array([])
        roll = self.model.encoder.encode(heard, spec.frame_rate, first, last - first)
        return samples, np.concatenate([mel, roll], axis=1)

    def _predict(self, notes: NoteArray, name: str, start: int, frames: int) -> NDArray[np.float32]:
        assert self.mel_model is not None
        row = list(self.mel_model.config.instruments).index(name)
        point = self.mel_model.timbre.weight[row].numpy()
        moved = notes.copy()
        for edge in ("start", "end"):
            moved[edge] -= start / self.run.model.mel.frame_rate
        return self.mel_model.predict(moved, point, frames)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        samples, features = batch
        counted = self.run.lead * self.run.model.mel.hop_length
        expected = self.model(self._disturbed(samples), features)[:, counted:]
        return nll(expected, samples[:, 2 + counted :], self.run.model.output).mean()

    def _disturbed(self, samples: Tensor) -> Tensor:
        """Samples with noise, from none to `noise`, another in each window; as in FFTNet (Jin et al., ICASSP 2018)."""
        if not self.run.noise:
            return samples
        spread = self.run.noise * torch.rand(len(samples), 1, device=samples.device)
        noise = spread * torch.randn(samples.shape, device=samples.device)
        if self.run.model.output == "mulaw":
            return (samples + noise.round().to(samples.dtype)).clamp(0, self.run.model.classes - 1)
        step = (1 + MU * samples.abs()) * (math.log1p(MU) / MU) * (2 / MU)  # of the µ-law, where a sample lies
        return samples + noise * step

    def validate(self) -> dict[str, float]:
        """Mean negative log-likelihood in nats a sample, of all and of each instrument."""
        each = {f"nll/{name}": float(np.mean(self._measure(name))) for name in self.names}
        return {"nll": float(np.mean(list(each.values()))), **each}

    @torch.inference_mode()
    def _measure(self, name: str) -> list[float]:
        """The NLL of windows from the middle of each file in turn; of a second round, from a third of it."""
        spec, precision = self.run.model.mel, self.run.loop.precision
        lead = -(-self.run.model.receptive_field // spec.hop_length)
        frames = lead + max(1, round(self.run.validation_seconds * spec.frame_rate))
        found, device = [], self.model.end.weight.device
        for number in range(self.run.validation_windows):
            round_, index = divmod(number, len(self.validation))
            start = max(0, (self.validation.frames(index, name) - frames) // (2 + round_))
            samples, features = (
                torch.from_numpy(part)[None].to(device)
                for part in self.window(self.validation, index, name, start, frames)
            )
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                expected = self.model(samples, features)
            each = nll(expected, samples[:, 2:], self.run.model.output)
            found.append(each[:, lead * spec.hop_length :].mean().item())
        return found

    def sounds(self) -> dict[str, tuple[NDArray[Any], int]]:
        """Some seconds from the middle of the first validation file, on the first, middle and last instrument."""
        frames = round(self.run.sound_seconds * self.run.model.mel.frame_rate)
        if not frames:
            return {}
        names = [self.names[i] for i in sorted({0, len(self.names) // 2, len(self.names) - 1})]
        margin = self.run.model.margin
        mels = []
        for name in names:
            start = max(0, (self.validation.frames(0, name) - frames) // 2)
            mels.append(self.window(self.validation, 0, name, start, frames)[1][margin : margin + frames])
        waves = TorchEngine(self.model).generate(mels, self.run.loop.seed)
        if self.run.model.output == "mulaw":
            waves = [mu_law_decode(wave, self.run.model.classes) for wave in waves]
        return {name: (wave, self.run.model.mel.sample_rate) for name, wave in zip(names, waves, strict=True)}

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        lines = [f"# WaveNet, {self.run.model.output}, after {step} steps", "", "Validation, nats a sample:", ""]
        card = "\n".join([*lines, *(f"- {name}: {value:.4g}" for name, value in figures.items()), ""])
        save_model(folder, "wavenet", self.run.model, self.model, card)


@lru_cache(maxsize=100_000)
def _notes(shards: ShardReader, index: int, name: str) -> NoteArray:
    return from_rows(shards.notes(index, name))


def _stretch(
    read: Callable[[int, int], NDArray[np.float32]], start: int, stop: int, beyond: float
) -> NDArray[np.float32]:
    """Rows start..stop of what `read` reads, with `beyond` where there are none, before and after."""
    found = read(max(0, start), max(0, stop))
    before = min(stop, 0) - min(start, 0)
    after = stop - start - before - len(found)
    pad = [(before, after)] + [(0, 0)] * (found.ndim - 1)
    return np.pad(found, pad, constant_values=np.float32(beyond))


def train(run: WaveNetRun, data: Path, out: Path, resume: bool) -> dict[str, float]:
    """Train a WaveNet on a data set (`m2m dataset build`) and return the last validation figures."""
    return fit(WaveNetTask(run, data), run.loop, out, {"kind": "wavenet", **run.model_dump(mode="json")}, resume)
