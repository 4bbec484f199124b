"""Training segments for networks that make samples: some frames of a recording, and the conditioning for them.

A segment begins with the network's layers at zero, as a rendering does, though in the middle of a piece; the network learns to do
without the context that it lacks. With `lead` the loss leaves out the first frames, at the cost of their computation. Validation
always lets the layers fill first, so its figures are those of a long rendering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from torch import Tensor

from m2m.core.errors import M2MError
from m2m.core.instruments import REFERENCE
from m2m.core.mel import MelSpec
from m2m.core.mel2mel import load_mel2mel
from m2m.core.score import NoteArray, from_rows, note_array
from m2m.dataset.shards import ShardReader, read_padded
from m2m.training.loop import LoopConfig
from m2m.training.pieces import PieceTask, TrainingSegment
from m2m.vocoders.shared.conditioning import Conditioned, ConditioningConfig
from m2m.vocoders.shared.excitation import excitation_margin, mel_matched_excitation
from m2m.vocoders.shared.stft import transfer_phase, transfer_phase_margin

Array = NDArray[np.float32]


class SegmentLoop(LoopConfig):
    """The loop's options; the defaults are for a short budget, hours on a CPU: small batches, many steps, one cycle."""

    steps: int = Field(40_000, ge=1)
    batch_size: int = Field(2, ge=1, description="segments a step")
    warmup: int = Field(50, ge=0, description="steps of linear rise to the learning rate")
    average: float = Field(
        0.999, ge=0, lt=1, description="decay of the moving average of weights that is validated and exported; 0: none"
    )


class SegmentRun(BaseModel):
    """The part of a run's config that says what a network is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: ConditioningConfig

    loop: SegmentLoop = SegmentLoop()
    start: Path | None = Field(
        None, description="a model of this kind, by folder or name, with whose weights the run begins, those that fit"
    )
    instruments: dict[str, int] = Field(
        {name: program for program, name in REFERENCE.items()},
        min_length=1,
        description="name -> General MIDI program; where none are given, those of the data set",
    )
    sequence: int = Field(32, ge=1, description="frames of a training segment: 0.26 s")
    lead: int = Field(0, ge=0, description="frames at a segment's beginning that the loss leaves out")
    without_notes: float = Field(
        0.1, ge=0, le=1, description="share of the segments without notes, if the model reads them: a mel may have none"
    )
    mel_model: Path | None = Field(None, description="folder of a Mel2Mel whose predictions stand in for true mels")
    mel_model_share: float = Field(
        0.5, ge=0, le=1, description="share of the segments with a predicted mel, if there is a mel_model"
    )
    validation_segments: int = Field(
        8,
        ge=1,
        validation_alias=AliasChoices("validation_segments", "validation_windows"),  # its name until 0.2
        description="of each instrument, spread over the files",
    )
    validation_seconds: float = Field(0.5, gt=0, description="of each segment")
    sound_seconds: float = Field(0.0, ge=0, description="of audio for TensorBoard at each validation")


SegmentRunType = TypeVar("SegmentRunType", bound=SegmentRun)


def with_instruments(run: SegmentRunType, data: Path) -> SegmentRunType:
    """A run with the instruments of the data set `data`, unless it names its own. Raises M2MError if there is no data set."""
    if "instruments" in run.model_fields_set:
        return run
    return run.model_copy(update={"instruments": ShardReader(data, "train").instruments})


class SegmentTask(PieceTask):
    """Random segments of random instruments, the same for every run of one seed.

    spec: of the mels. Raises M2MError if the data set or the run's mel_model does not go with the run.
    """

    run: SegmentRun

    def __init__(self, run: SegmentRun, spec: MelSpec, data: Path) -> None:
        torch.manual_seed(run.loop.seed)
        if run.lead >= run.sequence:
            raise M2MError(f"lead {run.lead} leaves nothing of sequence {run.sequence} to learn from; make it shorter.")
        self.run, self.spec, self.names = run, spec, list(run.instruments)
        self.train, self.validation = ShardReader(data, "train"), ShardReader(data, "validation")
        self.files = len(self.train)
        self.train.require(spec, run.instruments)
        self.mel_model = load_mel2mel(run.mel_model)[0] if run.mel_model else None
        if self.mel_model:
            if different := self.mel_model.config.mel.differences(spec):
                raise M2MError(f"mel_model {run.mel_model} and model have different mels: {', '.join(different)}.")
            if missing := sorted(run.instruments.keys() - self.mel_model.config.instruments.keys()):
                raise M2MError(f"mel_model {run.mel_model} was not trained on {', '.join(missing)}.")

    @property
    def conditioned(self) -> Sequence[Conditioned]:
        """The networks that read a segment's features."""
        raise NotImplementedError

    @property
    def _reads_notes(self) -> bool:
        return any(network.encoder or network.config.excitation for network in self.conditioned)

    def cuts(self, step: int) -> list[TrainingSegment]:
        run, draw, cuts = self.run, np.random.default_rng((self.run.loop.seed, step)), []
        for _ in range(run.loop.batch_size):
            index, name = int(draw.integers(self.files)), self.names[int(draw.integers(len(self.names)))]
            start = int(draw.integers(max(1, self.train.frames(index, name) - run.sequence + 1)))
            predicted = self.mel_model is not None and draw.random() < run.mel_model_share
            notes = draw.random() >= run.without_notes or not self._reads_notes
            cuts.append(TrainingSegment(self.train, index, name, start, run.sequence, predicted, notes))
        return cuts

    def pieces(self, index: int) -> Iterator[TrainingSegment]:
        share, without = self.run.mel_model_share if self.mel_model else 0.0, self.run.without_notes
        mels = [predicted for predicted, one in ((False, 1 - share), (True, share)) if one]
        scores = (
            [notes for notes, one in ((True, 1 - without), (False, without)) if one] if self._reads_notes else [True]
        )
        for name in self.names:
            frames = max(self.run.sequence, self.train.frames(index, name))
            for predicted, notes in product(mels, scores):
                yield TrainingSegment(self.train, index, name, 0, frames, predicted, notes)

    def segment(self, at: TrainingSegment) -> tuple[Any, ...]:
        """A segment as the task's networks take it."""
        raise NotImplementedError

    def wave(self, at: TrainingSegment, before: int = 0) -> Array:
        """A segment's samples, and `before` more in front of them: (before + frames * hop_length,) float32, -1..1."""
        begin, end = at.start * self.spec.hop_length, (at.start + at.frames) * self.spec.hop_length
        return read_padded(lambda a, b: at.shards.audio(at.index, at.name, a, b), begin - before, end, 0.0)

    def target(
        self, network: Conditioned, at: TrainingSegment, features: Array, griffin_lim_iterations: int = 0
    ) -> Tensor:
        """The samples that a network is to make.

        Without an excitation they are the recording. With one they are what it lacks of the true magnitudes, with the phases of
        the excitation, since a mel has none.

        features: (frames, features) float32, the conditioning of just this segment. griffin_lim_iterations: `transfer_phase`'s.
        Returned: (frames * hop_length,) float32, -1..1.
        """
        if not network.config.excitation:
            return torch.from_numpy(self.wave(at))
        beyond = transfer_phase_margin(self.spec, griffin_lim_iterations)
        wide = replace(at, start=at.start - beyond, frames=at.frames + 2 * beyond, predicted=False)
        mel = self._mel(wide, excitation_margin(self.spec))
        excitation = mel_matched_excitation(self._notes(at), mel, wide.start, self.spec)
        wave = transfer_phase(self.wave(wide), excitation, self.spec, griffin_lim_iterations)
        samples = network.from_sound(torch.from_numpy(wave), torch.from_numpy(features))
        return samples.clamp(-1, 1)  # where a predicted mel, or a segment that sees an onset early, is far off

    def features(self, network: Conditioned, at: TrainingSegment) -> Array:
        """A network's conditioning for a segment: (frames + 2 margin, features) float32."""
        margin = network.config.margin
        mel = self._mel(at, margin + network.feature_margin)
        return network.features_from(mel, self._notes(at), at.start - margin)

    def _notes(self, at: TrainingSegment) -> NoteArray:
        return _notes(at.shards, at.index, at.name) if at.notes else note_array([])

    def _mel(self, at: TrainingSegment, around: int) -> Array:
        first, count = at.start - around, at.frames + 2 * around
        if at.predicted:
            return self._predict(_notes(at.shards, at.index, at.name), at.name, first, count)
        return read_padded(lambda a, b: at.shards.mel(at.index, at.name, a, b), first, first + count, self.spec.silence)

    def _predict(self, notes: NoteArray, name: str, start: int, frames: int) -> Array:
        assert self.mel_model is not None
        moved = notes.copy()
        for edge in ("start", "end"):
            moved[edge] -= start / self.spec.frame_rate
        return self.mel_model.predict(moved, self.mel_model.point(name), frames)

    def validation_segments(self, name: str, frames: int) -> Iterator[tuple[Any, ...]]:
        """Segments of an instrument, `segment`'s: from the middle of each validation file in turn, then from a third of each."""
        for number in range(self.run.validation_segments):
            round_, index = divmod(number, len(self.validation))
            start = max(0, (self.validation.frames(index, name) - frames) // (2 + round_))
            yield self.segment(TrainingSegment(self.validation, index, name, start, frames))

    def validation_frames(self, receptive_field: int) -> tuple[int, int]:
        """(frames that fill a network's layers, frames of a validation segment with these). receptive_field: samples."""
        lead = -(-receptive_field // self.spec.hop_length)
        return lead, lead + max(1, round(self.run.validation_seconds * self.spec.frame_rate))

    def sound_features(self, network: Conditioned) -> dict[str, Array]:
        """A network's conditioning for `sound_seconds` from the middle of the first validation file.

        Returned: name -> (frames, features) float32, for the first, middle and last instrument; empty if no sound is wanted.
        """
        frames, margin = round(self.run.sound_seconds * self.spec.frame_rate), network.config.margin
        found = {}
        for i in sorted({0, len(self.names) // 2, len(self.names) - 1}) if frames else ():
            name = self.names[i]
            start = max(0, (self.validation.frames(0, name) - frames) // 2)
            features = self.features(network, TrainingSegment(self.validation, 0, name, start, frames))
            found[name] = features[margin:][:frames]
        return found


@lru_cache(maxsize=100_000)
def _notes(shards: ShardReader, index: int, name: str) -> NoteArray:
    return from_rows(shards.notes(index, name))
