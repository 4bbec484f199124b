"""Train a transcriber, Onsets and Frames: what it is given of a data set, what it minimises, how it is validated.

The targets are of Hawthorne et al. (arXiv 1710.11153): of every frame and key, whether a note begins, whether one sounds, and how
hard it was struck. An onset is one frame in some hundreds, so a missed one weighs more than a false one (`onset_weight`), and it
may be told in either of two frames (`onset_frames`). The thresholds of the exported model are those with the best F1 on the
validation files. A drum kit's notes have no key: they are examples of what is no note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.instruments import FIRST_KIT
from m2m.core.mel import MelSpec, log_mel
from m2m.core.model_folders import model_folder
from m2m.core.notes import LOWEST_KEY, N_KEYS, NoteArray, from_rows, note_array
from m2m.core.system.run_config import RUN, load_run
from m2m.core.transcriber import plain_notes
from m2m.dataset.shards import ShardReader, read_padded
from m2m.training.distributed import to_device
from m2m.training.loop import LoopConfig, fit, model_card
from m2m.training.pieces import PieceTask, TrainingSegment
from m2m.training.warm_start import refuse_another
from m2m.transcribers.onsets_frames.decoding import NoteDecoder
from m2m.transcribers.onsets_frames.network import KIND, SILENCE, OnsetsFramesConfig, OnsetsFramesNetwork, load_network

Array = NDArray[np.float32]
TOLERANCE = 0.05  # seconds: an onset within this of the score's is the same, as MIREX counts
ONSET_THRESHOLDS = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)  # of which validation chooses
FRAME_THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6)
RARE = -4.0  # the onsets' bias in the beginning: one frame of some fifty


class TranscriberLoop(LoopConfig):
    """The loop's options, with a transcriber's defaults."""

    steps: int = Field(20_000, ge=1)
    batch_size: int = Field(8, ge=1, description="segments a step")
    learning_rate: float = Field(0.0006, gt=0, description="Adam's, at its highest")
    average: float = Field(
        0.99, ge=0, lt=1, description="decay of the moving average of weights that is validated and exported; 0: none"
    )


class TranscriberRun(BaseModel):
    """A training run of a transcriber, as a YAML or TOML file describes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: OnsetsFramesConfig = OnsetsFramesConfig()
    loop: TranscriberLoop = TranscriberLoop()
    start: Path | None = Field(None, description="an onsets-frames model with whose weights the run begins")
    sequence: int = Field(312, ge=1, description="frames of a training segment: 10 s")
    onset_frames: int = Field(2, ge=1, le=8, description="frames from an onset on that are its target")
    onset_weight: float = Field(2.0, gt=0, description="of a missed onset, where a false one has 1")
    levels: float = Field(12.0, ge=0, le=60, description="decibels: a segment's level is changed by up to +- this")
    validation_seconds: float = Field(10.0, gt=0, description="of each validation file and instrument")


class Targets(NamedTuple):
    """Of every frame and key: onset and frame are 0 or 1, velocity 0..1 (1 is MIDI's 127); each (frames, 88) float32."""

    onset: Array
    frame: Array
    velocity: Array


def targets(notes: NoteArray, start: int, frames: int, spec: MelSpec, onset_frames: int) -> Targets:
    """The targets of frames `start` to `start + frames` of a piece. notes: its score, in seconds.

    >>> made = targets(note_array([(0.064, 0.16, 60, 127)]), 0, 6, MelSpec(hop_length=512, n_fft=2048), 2)
    >>> made.onset[:, 39].tolist(), made.frame[:, 39].tolist()
    ([0.0, 0.0, 1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0, 1.0, 0.0])
    """
    made = Targets(*(np.zeros((frames, N_KEYS), np.float32) for _ in Targets._fields))
    for begin, end, key, velocity in notes.tolist():
        first = round(begin * spec.frame_rate) - start
        last = max(first + 1, round(end * spec.frame_rate) - start)
        if last + onset_frames <= 0 or first >= frames or not 0 <= key - LOWEST_KEY < N_KEYS:
            continue
        struck, column = slice(max(0, first), max(0, first + onset_frames)), key - LOWEST_KEY
        made.frame[max(0, first) : max(0, last), column] = 1
        made.onset[struck, column] = 1
        made.velocity[struck, column] = velocity / 127
    return made


class TranscriberTask(PieceTask):
    """Random segments of random instruments, the same for every run of one seed.

    Raises M2MError if the data set has another sample rate than the model, or lacks a split.
    """

    model: OnsetsFramesNetwork

    def __init__(self, run: TranscriberRun, data: Path) -> None:
        torch.manual_seed(run.loop.seed)
        self.run, self.spec = run, run.model.mel
        self.train, self.validation = ShardReader(data, "train"), ShardReader(data, "validation")
        if (rate := self.train.config.mel.sample_rate) != self.spec.sample_rate:
            raise M2MError(
                f"the data set is at {rate:,} Hz, the model at {self.spec.sample_rate:,} Hz; give both the same."
            )
        if self.spec.log != "natural":
            raise M2MError(f"levels are of natural-log mels, model.mel.log is {self.spec.log!r}; leave it out.")
        self.files, self.names = len(self.train), list(self.train.instruments)
        self.model = OnsetsFramesNetwork(run.model)
        with torch.no_grad():
            self.model.onset.bias.fill_(RARE)
        self.parts: dict[str, Tensor] = {}

    @property
    def frame_rate(self) -> float:
        return self.spec.frame_rate

    @property
    def longest(self) -> int:
        return self.train.longest * self.train.config.mel.hop_length // self.spec.hop_length

    def cuts(self, step: int) -> list[TrainingSegment]:
        return [at for at, _ in self._drawn(step)]

    def pieces(self, index: int) -> Iterator[TrainingSegment]:
        for name in self.names:
            frames = SILENCE + max(self.run.sequence, self._frames(self.train, index, name))
            yield TrainingSegment(self.train, index, name, -SILENCE, frames)

    def segment(self, at: TrainingSegment) -> tuple[Array, ...]:
        """Log-mel (frames, n_mels), then `Targets`."""
        hop, reach = self.spec.hop_length, self.spec.n_fft // 2 // self.spec.hop_length + 1
        begin, end = (at.start - reach) * hop, (at.start + at.frames + reach) * hop
        audio = read_padded(lambda a, b: at.shards.audio(at.index, at.name, a, b), begin, end, 0.0)
        mel = log_mel(audio, self.spec)[reach : reach + at.frames]
        notes = self._notes(at.shards, at.index, at.name)
        return mel, *targets(notes, at.start, at.frames, self.spec, self.run.onset_frames)

    def assemble(self, step: int, cuts: Sequence[TrainingSegment], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(log-mel (batch, frames, n_mels), then `Targets`, (batch, frames, 88) each), float32."""
        mel, *wanted = parts
        gains = to_device(torch.tensor([gain for _, gain in self._drawn(step)]), mel.device)
        return (mel + gains[:, None, None]).clamp_min(self.spec.silence), *wanted

    def _drawn(self, step: int) -> list[tuple[TrainingSegment, float]]:
        """The segments of a step's batch, and what is added to the log-mel of each."""
        draw, drawn = np.random.default_rng((self.run.loop.seed, step)), []
        for _ in range(self.run.loop.batch_size):
            index, name = int(draw.integers(self.files)), self.names[int(draw.integers(len(self.names)))]
            room = self._frames(self.train, index, name) - self.run.sequence
            start = int(draw.integers(-SILENCE, max(1, room + 1)))
            gain = draw.uniform(-self.run.levels, self.run.levels) * np.log(10) / 20
            drawn.append((TrainingSegment(self.train, index, name, start, self.run.sequence), float(gain)))
        return drawn

    def _frames(self, shards: ShardReader, index: int, name: str) -> int:
        """Length of a file on an instrument, in the model's frames."""
        return shards.frames(index, name) * shards.config.mel.hop_length // self.spec.hop_length

    @staticmethod
    def _notes(shards: ShardReader, index: int, name: str) -> NoteArray:
        kit = shards.instruments[name] >= FIRST_KIT
        return note_array([]) if kit else from_rows(shards.notes(index, name))

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Binary cross-entropy of onsets and of frames, and the squared error of velocities at the onsets."""
        mel, onset, frame, velocity = batch
        found = [part.float() for part in self.model(mel)]
        weight = mel.new_full((), self.run.onset_weight)
        self.parts = {
            "onset": binary_cross_entropy_with_logits(found[0], onset, pos_weight=weight),
            "frame": binary_cross_entropy_with_logits(found[1], frame),
            "velocity": (onset * (found[2] - velocity) ** 2).sum() / onset.sum().clamp_min(1),
        }
        return self.parts["onset"] + self.parts["frame"] + self.parts["velocity"]

    def details(self) -> dict[str, float]:
        return {name: value.item() for name, value in self.parts.items()}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """The loss, the F1 of onsets and of frames, and the thresholds that have it."""
        losses, heard = [], []
        for piece, notes in self._pieces():
            batch = tuple(torch.from_numpy(part)[None].to(self.model.onset.bias.device) for part in piece)
            losses.append(self.loss(batch).item())
            onset, frame, velocity = (part[0, SILENCE:].float().cpu() for part in self.model(batch[0]))
            true = piece[2][SILENCE:]
            heard.append(Heard(onset.sigmoid().numpy(), frame.sigmoid().numpy(), velocity.numpy(), true, notes))
        frame_threshold, frame_f1 = _best(FRAME_THRESHOLDS, lambda threshold: _frame_f1(heard, threshold))
        onset_threshold, onset_f1 = _best(
            ONSET_THRESHOLDS, lambda threshold: self._onset_f1(heard, threshold, frame_threshold)
        )
        thresholds = {"onset_threshold": onset_threshold, "frame_threshold": frame_threshold}
        return {"loss": float(np.mean(losses)), "onset_f1": onset_f1, "frame_f1": frame_f1, **thresholds}

    def _pieces(self) -> Iterator[tuple[tuple[Array, ...], NoteArray]]:
        """The beginning of every validation file on every instrument, silence before it: `segment`'s, and its notes."""
        most = max(1, int(self.run.validation_seconds * self.spec.frame_rate))
        for index in range(len(self.validation)):
            for name in self.names:
                frames = min(most, max(1, self._frames(self.validation, index, name)))
                notes = self._notes(self.validation, index, name)
                struck = notes[notes["start"] < frames / self.spec.frame_rate]
                yield self.segment(TrainingSegment(self.validation, index, name, -SILENCE, SILENCE + frames)), struck

    def _onset_f1(self, heard: Sequence[Heard], onset_threshold: float, frame_threshold: float) -> float:
        hop, counts = 1 / self.spec.frame_rate, np.zeros(3)
        for one in heard:
            decoder = NoteDecoder(hop, onset_threshold, frame_threshold)
            parts = [decoder.feed(one.onset, one.frame, one.velocity), decoder.finish(len(one.onset) * hop)]
            found = plain_notes(np.concatenate(parts))
            counts += matched_onsets(one.notes, found), len(one.notes), len(found)
        return _f1(*counts)

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        thresholds = {name: figures[name] for name in ("onset_threshold", "frame_threshold")}
        run, remarks = self.run, ["`m2m transcribe recording.wav --model FOLDER` uses it."]
        if run.start:
            remarks.append(f"Begun from {run.start}.")
        card = model_card(f"Onsets and Frames, after {step} steps", figures, *remarks)
        save_model(folder, KIND, run.model.model_copy(update=thresholds), self.model, card)


class Heard(NamedTuple):
    """What the network says of a validation piece, (frames, 88) float32 each, with the true frames and notes."""

    onset: Array
    frame: Array
    velocity: Array
    true_frame: Array
    notes: NoteArray


def matched_onsets(true: NoteArray, found: NoteArray) -> int:
    """How many notes found can be matched with true ones of their key, one to one, within 50 ms.

    >>> matched_onsets(note_array([(0.0, 1, 60, 90), (0.06, 1, 60, 90)]), note_array([(0.04, 1, 60, 90), (0.1, 1, 60, 90)]))
    2
    """
    count = 0
    for key in np.intersect1d(true["pitch"], found["pitch"]):
        wanted, given = (np.sort(notes["start"][notes["pitch"] == key]).tolist() for notes in (true, found))
        i = j = 0
        while i < len(wanted) and j < len(given):  # the earliest pair that matches is in some largest matching
            if abs(wanted[i] - given[j]) <= TOLERANCE:
                count, i, j = count + 1, i + 1, j + 1
            elif wanted[i] < given[j]:
                i += 1
            else:
                j += 1
    return count


def _frame_f1(heard: Sequence[Heard], threshold: float) -> float:
    counts = np.zeros(3)
    for one in heard:
        true, found = one.true_frame > 0, one.frame >= threshold
        counts += (true & found).sum(), true.sum(), found.sum()
    return _f1(*counts)


def _f1(right: float, true: float, found: float) -> float:
    return float(2 * right / (true + found)) if true + found else 0.0


def _best(thresholds: Sequence[float], measure: Callable[[float], float]) -> tuple[float, float]:
    """The threshold with the largest figure, and that."""
    figures = [measure(threshold) for threshold in thresholds]
    place = int(np.argmax(figures))
    return thresholds[place], figures[place]


def train(run: TranscriberRun, data: Path, out: Path, resume: bool) -> dict[str, float]:
    """Train a transcriber on a data set (`m2m dataset build`) and return the last validation figures.

    out: the run's folder. Raises M2MError if data, `start` or the folder do not go with the run, or if it diverges.
    """
    if resume and (out / RUN).exists():
        refuse_another(run.start, load_run(TranscriberRun, out / RUN, {}).start, out)
    initial = None if resume or run.start is None else load_network(model_folder(run.start))[0]
    if initial:
        if differing := [
            name for name in run.model.model_fields_set if getattr(run.model, name) != getattr(initial.config, name)
        ]:
            raise M2MError(
                f"start {run.start} is of another model: {', '.join(sorted(differing))} differ; leave these out."
            )
        run = run.model_copy(update={"model": initial.config})
    task = TranscriberTask(run, data)
    if initial:
        task.model.load_state_dict(initial.state_dict())
    return fit(task, run.loop, out, {"kind": KIND, **run.model_dump(mode="json")}, resume)
