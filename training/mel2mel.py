"""Train Mel2Mel: which training segments it is given, what it minimises, how it is validated.

An error between mels is least at the mean of all that the score leaves open, and the mean is blurred: partials that should beat
against each other stand still. An adversary (losses/adversarial.py) learns to tell predicted mels from true ones, blurred ones
among them. It raises the error beside it, so with an adversary the newest model is exported, not the one with the least error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from torch import Tensor, nn

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig, load_mel2mel
from m2m.core.mel_measures import log_mel_error, paper_tanh_log_abs, pearson, variance_ratio
from m2m.core.model_folders import model_folder
from m2m.core.score import NoteArray, from_rows
from m2m.core.system.run_config import RUN, load_run
from m2m.dataset.shards import ShardReader, read_padded
from m2m.training.loop import LoopConfig, fit, model_card
from m2m.training.losses.adversarial import GAN, MelDiscriminator, active, adversarial_losses
from m2m.training.losses.mel import LOSSES
from m2m.training.pieces import PieceTask, TrainingSegment
from m2m.training.warm_start import refuse_another

BEST = "paper-tanh-log-abs"  # the loss as the paper prints it, 0 dB at full scale; the loss "tanh-log-abs" is another
FIGURES = (BEST, "mae", "correlation", "variance")


def _known_loss(name: str) -> str:
    if name not in LOSSES:
        *names, last = (repr(known) for known in LOSSES)
        raise ValueError(f"input should be {', '.join(names)} or {last}")
    return name


class Mel2MelRun(BaseModel):
    """A training run of Mel2Mel, as a YAML or TOML file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Mel2MelConfig = Mel2MelConfig()
    loop: LoopConfig = LoopConfig()
    start: Path | None = Field(None, description="folder of a Mel2Mel whose weights the run begins with")
    loss: Annotated[str, AfterValidator(_known_loss)] = Field("tanh-log-abs", description="what is minimised")
    adversarial: float = Field(0.0, ge=0, description="weight of an adversary beside the loss; 0: none")
    adversary_layers: int = Field(3, ge=1, le=8, description="of the discriminator; each halves the mel")
    adversary_channels: int = Field(32, ge=1, description="of the first layer; each further one has twice as many")
    adversary_after: int = Field(0, ge=0, description="steps before the adversary is active")
    sequence: int = Field(512, ge=1, description="frames of a training segment: 4.1 s")
    silence: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of the segments that begin in the silence before a piece, which no other has",
    )
    validation_seconds: float = Field(10.0, gt=0, description="of each validation file and instrument")


class Mel2MelTask(PieceTask):
    """Random segments of random instruments, the same for every run of one seed.

    Raises M2MError if the data set does not go with the run.
    """

    model: nn.Module
    discriminator: MelDiscriminator | None
    best: str | None = BEST

    def __init__(self, run: Mel2MelRun, data: Path) -> None:
        torch.manual_seed(run.loop.seed)
        if run.model.mel.log != "natural":
            raise M2MError(f"the losses are of natural-log mels, model.mel.log is {run.model.mel.log!r}; leave it out.")
        self.run = run
        self.train, self.validation = ShardReader(data, "train"), ShardReader(data, "validation")
        self.files = len(self.train)
        self.train.require(run.model.mel, run.model.instruments)
        self.mel2mel = Mel2Mel(run.model)
        self.names = list(run.model.instruments)
        self.parts: dict[str, Tensor] = {}
        self.model, self.discriminator = self.mel2mel, None  # with no adversary by itself, as its checkpoints name it
        if run.adversarial:
            self.discriminator = MelDiscriminator(
                run.model.mel.n_mels, len(self.names), run.adversary_layers, run.adversary_channels
            )
            self.model = GAN("mel2mel", self.mel2mel, self.discriminator)
            self.best = None

    def cuts(self, step: int) -> list[TrainingSegment]:
        draw, cuts = np.random.default_rng((self.run.loop.seed, step)), []
        for _ in range(self.run.loop.batch_size):
            index, name = int(draw.integers(self.files)), self.names[int(draw.integers(len(self.names)))]
            start = int(draw.integers(max(1, self.train.frames(index, name) - self.run.sequence + 1)))
            if draw.random() < self.run.silence:
                start = -int(draw.integers(1, max(2, self.run.sequence)))
            cuts.append(TrainingSegment(self.train, index, name, start, self.run.sequence))
        return cuts

    def pieces(self, index: int) -> Iterator[TrainingSegment]:
        sequence = self.run.sequence
        before = max(1, sequence - 1) if self.run.silence else 0
        for name in self.names:
            frames = before + max(sequence, self.train.frames(index, name))
            yield TrainingSegment(self.train, index, name, -before, frames)

    def segment(self, at: TrainingSegment) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(roll (frames, features), log-mel (frames, n_mels)), float32."""
        read = partial(self.train.mel, at.index, at.name)
        mel = read_padded(read, at.start, at.start + at.frames, self.run.model.mel.silence)
        return self.mel2mel.encode(self._notes(at.index, at.name), at.start, at.frames), mel

    def assemble(self, step: int, cuts: Sequence[TrainingSegment], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(roll (batch, frames, features), instrument (batch,), log-mel (batch, frames, n_mels)).

        float32, int64, float32. With an adversary also (batch,): whether it is active, see losses/adversarial.py.
        """
        rolls, mels = parts
        batch = rolls, torch.tensor([self.names.index(at.name) for at in cuts]), mels
        return (*batch, active(step, self.run.adversary_after, len(rolls))) if self.discriminator else batch

    @lru_cache(maxsize=100_000)  # noqa: B019 - one task lives as long as its process
    def _notes(self, index: int, name: str) -> NoteArray:
        return from_rows(self.train.notes(index, name))

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        roll, instrument, true, *rest = batch
        predicted = self.model(roll, self.mel2mel.timbre(instrument)[:, None])
        predicted = predicted.float().clamp_max(5.0)  # 5: exp() of an early guess stays finite
        error = LOSSES[self.run.loss](predicted, true)
        if self.discriminator is None:
            return error
        (switch,) = rest
        spec = self.run.model.mel
        made, wanted = discriminator_input(predicted, spec), discriminator_input(true, spec)
        generator_loss, discriminator_loss = adversarial_losses(self.discriminator, made, wanted, instrument)
        self.parts = {
            self.run.loss: error.detach(),
            "adversarial": generator_loss.detach(),
            "discriminator": discriminator_loss.detach(),
        }
        return error + switch[0] * (self.run.adversarial * generator_loss + discriminator_loss)

    def details(self) -> dict[str, float]:
        return {name: value.item() for name, value in self.parts.items()}

    def validate(self) -> dict[str, float]:
        figures = measure(self.mel2mel, self.validation, self.run.validation_seconds)
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
            true, predicted = predict(self.mel2mel, self.validation, 0, self.names[instrument], 1000)
            both = np.concatenate([predicted.T, true.T])[
                ::-1
            ]  # (2 n_mels, frames), low notes at the bottom of each half
            colours = shades((both - both.min()) / max(np.ptp(both), 1e-9))[..., :3]
            images[self.names[instrument]] = (255 * colours).astype(np.uint8)
        return images

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        run, remarks = self.run, []
        if run.start:
            remarks.append(f"Begun from {run.start}.")
        if run.adversarial:
            remarks.append(f"With an adversary of weight {run.adversarial:g}, after {run.adversary_after} steps.")
        card = model_card(f"Mel2Mel, {run.model.conditioner}, after {step} steps", figures, *remarks)
        save_model(folder, "mel2mel", run.model, self.mel2mel, card, trained={"loss": run.loss})


def discriminator_input(mel: Tensor, spec: MelSpec) -> Tensor:
    """A log-mel as a discriminator takes it: silence, and what is below it, is -1, and a full-scale sine 1.

    mel: (batch, frames, n_mels) in the unit of `spec`. Returned: the same shape, without unit.
    """
    return spec.scaled(mel.clamp_min(spec.silence))


def predict(
    model: Mel2Mel, shards: ShardReader, index: int, instrument: str, frames: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The true and the predicted log-mel of a file's first `frames` frames on an instrument: (frames, n_mels) float32 each.

    index: of the file among the shards. There are fewer frames if the file is shorter.
    """
    true = shards.mel(index, instrument, 0, frames)
    return true, model.predict(from_rows(shards.notes(index, instrument)), model.point(instrument), len(true))


def shared_instruments(model: Mel2Mel, shards: ShardReader) -> list[str]:
    """The model's instruments that the data set has as well."""
    return [name for name in model.config.instruments if name in shards.instruments]


def measure(model: Mel2Mel, shards: ShardReader, seconds: float) -> dict[str, NDArray[np.float64]]:
    """Predicted against true mels, as `compare` has them: figure -> (files, instruments), of `shared_instruments`."""
    names, frames = shared_instruments(model, shards), int(seconds * model.config.mel.frame_rate)
    figures = {name: np.empty((len(shards), len(names))) for name in FIGURES}
    for cell in np.ndindex(len(shards), len(names)):
        true, predicted = predict(model, shards, cell[0], names[cell[1]], frames)
        for name, value in compare(predicted, true).items():
            figures[name][cell] = value
    return figures


def compare(predicted: NDArray[np.float32], true: NDArray[np.float32]) -> dict[str, float]:
    """FIGURES of a prediction.

    "paper-tanh-log-abs": the loss as the paper prints it; "mae": nepers; "correlation": Pearson's over time, mean of the
    bands; "variance": over time, as a share of the true one's, mean of the bands: less than 1 is blur.

    predicted, true: (frames, n_mels) float32, natural-log mels.
    """
    return {
        BEST: paper_tanh_log_abs(predicted, true),
        "mae": log_mel_error(predicted, true),
        "correlation": _mean(pearson(true, predicted)),
        "variance": _mean(variance_ratio(predicted, true)),
    }


def _mean(values: NDArray[np.float64]) -> float:
    """The mean of the values that are numbers; NaN if there are none, as in silence, without numpy's warning."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def train(run: Mel2MelRun, data: Path, out: Path, resume: bool) -> dict[str, float]:
    """Train a Mel2Mel on a data set (`m2m dataset build`) and return the last validation figures.

    Where the run's config does not say otherwise, the model is that of `start`; without one, instruments and mel are the data
    set's. out: the run's folder. Raises M2MError if data, `start` or the folder do not go with the run, or if it diverges.
    """
    if resume and (out / RUN).exists():
        _refuse_another(run, out)
    initial = None if resume or run.start is None else load_mel2mel(model_folder(run.start))[0]
    if initial:
        model = initial.config
        if differing := [
            name for name in run.model.model_fields_set if getattr(run.model, name) != getattr(model, name)
        ]:
            raise M2MError(
                f"start {run.start} is of another model than this run describes: {', '.join(sorted(differing))}; "
                "leave these out, the run takes over what start has."
            )
    else:
        shards = ShardReader(data, "train")
        found = {"instruments": shards.instruments, "mel": shards.config.mel}
        model = run.model.model_copy(update={k: v for k, v in found.items() if k not in run.model.model_fields_set})
    run = run.model_copy(update={"model": model})
    task = Mel2MelTask(run, data)
    if initial:
        task.mel2mel.load_state_dict(initial.state_dict())
    return fit(task, run.loop, out, {"kind": "mel2mel", **run.model_dump(mode="json")}, resume)


def _refuse_another(run: Mel2MelRun, out: Path) -> None:
    """Raise M2MError if a run that is resumed is told another `start` than it had, or gains or loses its adversary."""
    earlier = load_run(Mel2MelRun, out / RUN, {})
    refuse_another(run.start, earlier.start, out)
    if bool(run.adversarial) != bool(earlier.adversarial):
        has, wanted = ("an", "none") if earlier.adversarial else ("no", "one")
        raise M2MError(
            f"the run in {out} has {has} adversary and cannot be resumed with {wanted}; "
            f"begin another from its weights: --start {out / 'best'} -o FOLDER."
        )
