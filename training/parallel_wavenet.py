"""Train the student of Parallel WaveNet: distilled from a WaveNet, or from audio alone.

Distillation: the student makes a wave of noise, the teacher gives a distribution for each sample of that wave, and the
divergence of the student's distributions from the teacher's is minimised (losses/kl.py). It is one of several losses
(losses/student.py): others compare the spectrograms of the student's wave and the true one, and one is an adversary's. Each has
a weight, 0 for none. Without a teacher there is no divergence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import log_mel
from m2m.core.mel_measures import log_mel_error
from m2m.core.system import progress
from m2m.training.loop import fit, model_card
from m2m.training.losses.adversarial import GAN, WaveDiscriminator, active, adversarial_losses
from m2m.training.losses.kl import gaussian_kl, monte_carlo_kl, scale_penalty
from m2m.training.losses.stft import multi_resolution_stft_loss
from m2m.training.losses.student import DISTANCES, Losses
from m2m.training.pieces import TrainingSegment
from m2m.training.segments import SegmentRun, SegmentTask, with_instruments
from m2m.training.warm_start import load_matching_weights, warm_start
from m2m.vocoders.parallel_wavenet.network import KIND, Drawn, Student, StudentConfig, load_student
from m2m.vocoders.shared.conditioning import Conditioned
from m2m.vocoders.wavenet.network import WaveNet, load_wavenet

ALONE = 1.0  # weight of the adversary where there is no teacher and none is given


class StudentRun(SegmentRun):
    """A training run of a student, as a YAML or TOML file describes it."""

    model: StudentConfig = StudentConfig()
    teacher: Path | None = Field(None, description="folder of a WaveNet with a continuous output")
    losses: Losses = Losses()
    regularisation: float = Field(
        4.0, ge=0, description="of the divergence of two Gaussians: weight of the squared difference of log scales"
    )
    draws: int = Field(8, ge=1, description="samples drawn for a divergence that has no closed form")
    adversary_layers: int = Field(10, ge=1)
    adversary_channels: int = Field(64, ge=1)
    adversary_after: int = Field(0, ge=0, description="steps before the adversary is active")
    sequence: int = Field(64, ge=1, description="frames of a training segment: 0.51 s")
    sound_seconds: float = Field(2.0, ge=0, description="of audio for TensorBoard at each validation")

    @property
    def adversarial(self) -> float:
        """The adversary's weight."""
        if self.losses.adversarial is None:
            return 0.0 if self.teacher else ALONE
        return self.losses.adversarial


class StudentTask(SegmentTask):
    """Waves that the student makes of noise, and the true ones of the same music.

    Raises M2MError if data or teacher do not go with the run, or if every loss has weight 0.
    """

    run: StudentRun
    model: GAN
    best: str = "stft"

    def __init__(self, run: StudentRun, data: Path) -> None:
        super().__init__(run, run.model.mel, data)
        self.teacher = _load_teacher(run.teacher, run.model) if run.teacher else None
        self.student = student = Student(run.model)
        adversary = WaveDiscriminator(run.adversary_layers, run.adversary_channels) if run.adversarial else None
        self.model = GAN("student", student, adversary)
        self.parts: dict[str, Tensor] = {}
        if not (run.losses.kl and self.teacher) and not any(getattr(run.losses, name) for name in DISTANCES):
            raise M2MError(
                "every loss has weight 0: nothing is to be learned; give --teacher, or losses.stft a weight."
            )
        if self.teacher is None:
            progress.say("no teacher: the student learns from audio alone.")
        elif _shapes(student) == _shapes(self.teacher):
            student.upsample.load_state_dict(self.teacher.upsample.state_dict())  # the same task, and learned already

    @property
    def conditioned(self) -> Sequence[Conditioned]:
        return [self.student, self.teacher] if self.teacher else [self.student]

    def assemble(self, step: int, cuts: Sequence[TrainingSegment], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(noise, true wave, the student's conditioning, the teacher's, whether the adversary is active).

        noise, wave: (batch, sequence * hop_length) float32. conditioning: (batch, sequence + 2 margin, features) float32, the
        teacher's (batch, 0) if there is none. active: (batch,), see losses/adversarial.py.
        """
        waves, features, teachers = parts
        draw = np.random.default_rng((self.run.loop.seed, step, 1))
        switch = active(step, self.run.adversary_after, len(waves))
        return self.noise(draw, *waves.shape), waves, features, teachers, switch

    def noise(self, draw: np.random.Generator, *shape: int) -> Tensor:
        """White noise of the model's distribution, scale 1: `shape`, float32."""
        drawn = draw.standard_normal(shape) if self.run.model.noise == "gaussian" else draw.logistic(size=shape)
        return torch.from_numpy(drawn.astype(np.float32))

    def segment(self, at: TrainingSegment) -> tuple[NDArray[np.float32], ...]:
        """Of one row: (frames * hop_length,) samples, the student's conditioning, and the teacher's."""
        student = self.features(self.student, at)
        teacher = self.features(self.teacher, at) if self.teacher else np.zeros(0, np.float32)
        return self.wave(at), student, teacher

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        noise, true, features, teacher_features, switch = batch
        run, counted = self.run, self.run.lead * self.spec.hop_length
        drawn: Drawn = self.model(noise, features)
        total, self.parts = noise.new_zeros(()), {}
        wave, true = self._sound(drawn, features)[:, counted:], true[:, counted:]

        def add(name: str, weight: float | Tensor, value: Tensor) -> None:
            nonlocal total
            total = total + weight * value
            self.parts[name] = value.detach()

        if self.teacher and run.losses.kl:
            kl, penalty = self.divergence(drawn, teacher_features)
            add("kl", run.losses.kl, kl[:, counted:].mean())
            if penalty is not None:
                add("scale", run.losses.kl * run.regularisation, penalty[:, counted:].mean())
        for name, distance in DISTANCES.items():
            if weight := getattr(run.losses, name):
                add(name, weight, distance(wave, true))
        if self.model.discriminator:
            generator_loss, discriminator_loss = adversarial_losses(self.model.discriminator, wave, true)
            add("adversarial", switch[0] * run.adversarial, generator_loss)
            add("discriminator", switch[0], discriminator_loss)
        return total

    def divergence(self, drawn: Drawn, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """The divergence of each of the student's samples from the teacher, and where both are Gaussian ClariNet's penalty.

        drawn: (batch, samples). features: (batch, frames + 2 margin, features), the teacher's conditioning.
        Returned: (batch, samples) nats, and the same shape or None.
        """
        assert self.teacher is not None
        teacher = self.teacher.to(features.device)
        expected = teacher(F.pad(drawn.samples, (2, 0)), features)
        noise, output = self.run.model.noise, teacher.config.output
        if noise == output == "gaussian":
            return gaussian_kl(drawn.mean, drawn.log_scale, expected), scale_penalty(drawn.log_scale, expected)
        return monte_carlo_kl(drawn.mean, drawn.log_scale, expected, noise, output, self.run.draws), None

    def details(self) -> dict[str, float]:
        return {name: value.item() for name, value in self.parts.items()}

    def validate(self) -> dict[str, float]:
        """Means over all segments, and the first of them of each instrument.

        stft: the multi-resolution STFT loss. mel: mean absolute error of the log-mel, nepers. kl: divergence from the teacher,
        nats a sample.
        """
        each = {name: self._measure(name) for name in self.names}
        figures = {key: float(np.mean([found[key] for found in each.values()])) for key in next(iter(each.values()))}
        return figures | {f"{self.best}/{name}": found[self.best] for name, found in each.items()}

    @torch.inference_mode()
    def _measure(self, name: str) -> dict[str, float]:
        fields = max(self.run.model.receptive_field, self.teacher.config.receptive_field if self.teacher else 0)
        lead, frames = self.validation_frames(fields)
        first, found = lead * self.spec.hop_length, []
        for number, segment in enumerate(self.validation_segments(name, frames)):
            draw = np.random.default_rng((self.run.loop.seed, number, 2))
            true, features, teacher = (torch.from_numpy(part)[None].to(self._device) for part in segment)
            torch.manual_seed(number)  # of the draws of a divergence
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self.run.loop.autocasts):
                drawn = self.student(self.noise(draw, *true.shape).to(self._device), features)
                kl = self.divergence(drawn, teacher)[0][:, first:].mean().item() if self.teacher else None
            wave, true = self._sound(drawn, features)[:, first:], true[:, first:]
            mels = [log_mel(x[0].float().cpu(), self.spec) for x in (wave, true)]
            figures = {"stft": multi_resolution_stft_loss(wave, true).item(), "mel": log_mel_error(*mels)}
            found.append(figures if kl is None else figures | {"kl": kl})
        return {key: float(np.mean([figures[key] for figures in found])) for key in found[0]}

    def _sound(self, drawn: Drawn, features: Tensor) -> Tensor:
        margin = self.student.config.margin
        return self.student.to_sound(drawn.samples, features[:, margin : features.shape[1] - margin])

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.inference_mode()
    def sounds(self) -> dict[str, tuple[NDArray[Any], int]]:
        waves = {}
        for name, features in self.sound_features(self.student).items():
            noise = self.noise(np.random.default_rng(self.run.loop.seed), 1, len(features) * self.spec.hop_length)
            drawn = self.student(noise.to(self._device), torch.from_numpy(features)[None].to(self._device))
            sound = self.student.to_sound(drawn.samples[0].cpu().float(), torch.from_numpy(features))
            waves[name] = sound.numpy(), self.spec.sample_rate
        return waves

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        taught = f"distilled from {self.run.teacher}" if self.teacher else "from audio alone"
        title = f"Parallel WaveNet, {self.run.model.noise}, {taught}, after {step} steps"
        save_model(folder, KIND, self.run.model, self.student, model_card(title, figures))


def _shapes(network: Conditioned) -> list[torch.Size]:
    return [parameter.shape for parameter in network.upsample.parameters()]


def _load_teacher(folder: Path, student: StudentConfig) -> WaveNet:
    """The WaveNet in a folder. Raises M2MError if it cannot teach this student."""
    teacher, _ = load_wavenet(folder)
    if teacher.config.output == "mulaw":
        raise M2MError(
            f"the teacher {folder} has µ-law classes, a continuous output was wanted: "
            "train one with 'm2m train wavenet DATA --distribution gaussian'."
        )
    if teacher.config.excitation != student.excitation:
        has, lacks = ("teacher", "student") if teacher.config.excitation else ("student", "teacher")
        raise M2MError(
            f"the {has} has an excitation and the {lacks} has none, so that their samples are not the same: "
            f"give --set model.excitation={teacher.config.excitation}, as the teacher has it."
        )
    if different := teacher.config.mel.differences(student.mel):
        raise M2MError(f"teacher {folder} and model have different mels: {', '.join(different)}.")
    return teacher


def train(run: StudentRun, data: Path, out: Path, resume: bool) -> dict[str, float]:
    """Train a student on a data set (`m2m dataset build`) and return the last validation figures.

    out: the run's folder. Raises M2MError if data, teacher, `start` or the folder do not go with the run, or if it diverges.
    """
    run, initial = warm_start(run, load_student, out, resume)
    run = with_instruments(run, data)
    task = StudentTask(run, data)
    if initial:
        load_matching_weights(task.student, initial)
    return fit(task, run.loop, out, {"kind": KIND, **run.model_dump(mode="json")}, resume)
