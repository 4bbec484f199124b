"""Train Mel2Mel: which windows it sees, what it minimises, how it is validated."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.score import NoteArray, from_rows
from m2m.evaluation.metrics import log_mel_error, pearson, tanh_log_error
from m2m.training.dataset import ShardReader
from m2m.training.loop import LoopConfig, Task, fit
from m2m.training.losses import LOSSES


class Mel2MelRun(BaseModel):
    """A training run of Mel2Mel, as a YAML or TOML file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Mel2MelConfig = Mel2MelConfig()
    loop: LoopConfig = LoopConfig()
    loss: Literal["abs", "log-abs", "tanh-log-abs"] = "tanh-log-abs"
    sequence: int = Field(512, ge=1, description="frames of a training window: 4.1 s")
    validation_seconds: float = Field(10.0, gt=0, description="of each validation file and instrument")


class Mel2MelTask(Task):
    """Random windows of random instruments, the same for every run of one seed."""

    model: Mel2Mel
    best = "tanh-log-abs"

    def __init__(self, run: Mel2MelRun, data: Path) -> None:
        torch.manual_seed(run.loop.seed)
        if run.model.mel.log != "natural":
            raise M2MError(f"the losses are of natural-log mels, model.mel.log is {run.model.mel.log!r}; leave it out.")
        self.run = run
        self.train, self.validation = ShardReader(data, "train"), ShardReader(data, "validation")
        self.train.require(run.model.mel, run.model.instruments)
        self.model = Mel2Mel(run.model)
        self.names = list(run.model.instruments)

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """(roll (batch, frames, features), instrument (batch,), log-mel (batch, frames, n_mels))."""
        draw = np.random.default_rng((self.run.loop.seed, step))
        spec, sequence = self.run.model.mel, self.run.sequence
        rolls, mels, instruments = [], [], []
        for _ in range(self.run.loop.batch_size):
            index, instrument = int(draw.integers(len(self.train))), int(draw.integers(len(self.names)))
            name = self.names[instrument]
            start = int(draw.integers(max(1, self.train.frames(index, name) - sequence + 1)))
            mel = np.full((sequence, spec.n_mels), spec.silence, np.float32)
            true = self.train.mel(index, name, start, start + sequence)
            mel[: len(true)] = true
            rolls.append(self.model.encode(self._notes(index, name), start, sequence))
            mels.append(mel)
            instruments.append(instrument)
        return torch.from_numpy(np.stack(rolls)), torch.tensor(instruments), torch.from_numpy(np.stack(mels))

    @lru_cache(maxsize=100_000)  # noqa: B019 - one task lives as long as its process
    def _notes(self, index: int, name: str) -> NoteArray:
        return from_rows(self.train.notes(index, name))

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        roll, instrument, true = batch
        predicted = self.model(roll, self.model.timbre(instrument)[:, None])
        return LOSSES[self.run.loss](predicted.float().clamp_max(5.0), true)  # 5: exp() of an early guess stays finite

    def validate(self) -> dict[str, float]:
        figures = measure(self.model, self.validation, self.run.validation_seconds)
        return {name: _mean(values) for name, values in figures.items()}

    def pictures(self) -> dict[str, NDArray[Any]]:
        """The first validation file's first seconds on the first, middle and last instrument: true above predicted."""
        try:
            import matplotlib
        except ImportError:
            return {}  # curves are worth having without pictures

        images: dict[str, NDArray[Any]] = {}
        shades = matplotlib.colormaps["magma"]
        for instrument in {0, len(self.names) // 2, len(self.names) - 1}:
            true, predicted = predict(self.model, self.validation, 0, self.names[instrument], 1000)
            both = np.concatenate([predicted.T, true.T])[
                ::-1
            ]  # (2 n_mels, frames), low notes at the bottom of each half
            images[self.names[instrument]] = (
                255 * shades((both - both.min()) / max(np.ptp(both), 1e-9))[..., :3]
            ).astype(np.uint8)
        return images

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        lines = [f"# Mel2Mel, {self.run.model.conditioner}, after {step} steps", "", "Validation:", ""]
        card = "\n".join([*lines, *(f"- {name}: {value:.4g}" for name, value in figures.items()), ""])
        save_model(folder, "mel2mel", self.run.model, self.model, card, trained={"loss": self.run.loss})


def predict(
    model: Mel2Mel, shards: ShardReader, index: int, instrument: str, frames: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The true and the predicted log-mel of a file's first `frames` frames on an instrument."""
    true = shards.mel(index, instrument, 0, frames)
    row = list(model.config.instruments).index(instrument)
    point = model.timbre.weight[row].detach().float().cpu().numpy()
    return true, model.predict(from_rows(shards.notes(index, instrument)), point, len(true))


def measure(model: Mel2Mel, shards: ShardReader, seconds: float) -> dict[str, NDArray[np.float64]]:
    """Predicted against true mels: figure -> (files, instruments).

    "tanh-log-abs": the paper's loss; "mae": nepers; "correlation": Pearson's over time, mean of the mel bands.
    """
    names, frames = list(model.config.instruments), int(seconds * model.config.mel.frame_rate)
    figures = {name: np.empty((len(shards), len(names))) for name in ("tanh-log-abs", "mae", "correlation")}
    for cell in np.ndindex(len(shards), len(names)):
        true, predicted = predict(model, shards, cell[0], names[cell[1]], frames)
        figures["tanh-log-abs"][cell] = tanh_log_error(predicted, true)
        figures["mae"][cell] = log_mel_error(predicted, true)
        figures["correlation"][cell] = _mean(pearson(true, predicted))
    return figures


def _mean(values: NDArray[np.float64]) -> float:
    """The mean of those that are numbers; NaN where none is, as in silence, without numpy's warning."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def train(run: Mel2MelRun, data: Path, out: Path, resume: bool) -> dict[str, float]:
    """Train a Mel2Mel on a data set (`m2m dataset build`) and return the last validation figures.

    Instruments and mel are the data set's where the run's config does not say otherwise.
    """
    shards = ShardReader(data, "train")
    found = {"instruments": shards.instruments, "mel": shards.config.mel}
    model = run.model.model_copy(update={k: v for k, v in found.items() if k not in run.model.model_fields_set})
    run = run.model_copy(update={"model": model})
    return fit(Mel2MelTask(run, data), run.loop, out, {"kind": "mel2mel", **run.model_dump(mode="json")}, resume)
