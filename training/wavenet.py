"""Train WaveNet: what it predicts of a segment (training/segments.py), and how it is validated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AliasChoices, Field
from torch import Tensor

from m2m.core.audio import mu_law_decode, mu_law_encode
from m2m.core.checkpoint import save_model
from m2m.core.choices import Preset
from m2m.training.loop import fit, model_card
from m2m.training.losses.nll import nll
from m2m.training.pieces import TrainingSegment
from m2m.training.segments import SegmentRun, SegmentTask, with_instruments
from m2m.training.warm_start import load_matching_weights, warm_start
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION, Conditioned
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, load_wavenet
from m2m.vocoders.wavenet.torch_engine import TorchEngine

MU = 255  # of the µ-law in whose steps noise is given
# What `--preset` sets, over a config file and under single values; dotted names, as for `--set`.
PRESETS: dict[Preset, dict[str, object]] = {
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
    # A harmonic excitation stands beside the mel, and what it lacks is learned: hours on a CPU.
    "harmonic": {"model.excitation": EXCITATION_VERSION, "sequence": 64},
}


class WaveNetRun(SegmentRun):
    """A training run of WaveNet, as a YAML or TOML file describes it."""

    model: WaveNetConfig = WaveNetConfig()
    noise: float = Field(
        0.0,
        ge=0,
        description="steps of the µ-law: up to so much noise is added to the past samples, not to those to be predicted, so "
        "that the network relies on the mel as well; its own past samples, in rendering, have errors",
    )
    griffin_lim_iterations: int = Field(
        0,
        ge=0,
        validation_alias=AliasChoices("griffin_lim_iterations", "reconciled"),  # its name until 0.2
        description="on what is learned with an excitation, whose magnitudes get truer by them",
    )
    sound_seconds: float = Field(
        0.0, ge=0, description="of audio for TensorBoard at each validation; a second takes half a minute"
    )


class WaveNetTask(SegmentTask):
    """Each sample is predicted from the true ones before it."""

    run: WaveNetRun
    model: WaveNet
    best = "nll"

    def __init__(self, run: WaveNetRun, data: Path) -> None:
        super().__init__(run, run.model.mel, data)
        self.model = WaveNet(run.model)

    @property
    def conditioned(self) -> Sequence[Conditioned]:
        return [self.model]

    def assemble(self, step: int, cuts: Sequence[TrainingSegment], parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(samples (batch, 2 + sequence * hop_length), conditioning (batch, sequence + 2 margin, features)).

        Samples are µ-law codes, int64, or values in -1..1, float32; the first two of a segment are the past of its third.
        """
        return parts

    def segment(self, at: TrainingSegment) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """One row of such a batch."""
        hop, margin = self.spec.hop_length, self.model.config.margin
        around = replace(at, start=at.start - 1, frames=at.frames + 1)  # the two samples before are of the frame before
        features = self.features(self.model, around)
        made = features[margin : margin + around.frames]
        samples = self.target(self.model, around, made, self.run.griffin_lim_iterations)[hop - 2 :].numpy()
        if self.run.model.output == "mulaw":
            samples = mu_law_encode(samples, self.run.model.classes)
        return samples, features[1:]

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        samples, features = batch
        counted = self.run.lead * self.spec.hop_length
        outputs = self.model(self._with_noise(samples), features)[:, counted:]
        return nll(outputs, samples[:, 2 + counted :], self.run.model.output).mean()

    def _with_noise(self, samples: Tensor) -> Tensor:
        """Samples with noise, of a scale from none to `noise` in each segment, as in FFTNet (Jin et al., ICASSP 2018)."""
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
        lead, frames = self.validation_frames(self.run.model.receptive_field)
        found, device = [], self.model.end.weight.device
        for segment in self.validation_segments(name, frames):
            samples, features = (torch.from_numpy(part)[None].to(device) for part in segment)
            with torch.autocast(device.type, torch.bfloat16, enabled=self.run.loop.autocasts):
                outputs = self.model(samples, features)
            each = nll(outputs, samples[:, 2:], self.run.model.output)
            found.append(each[:, lead * self.spec.hop_length :].mean().item())
        return found

    def sounds(self) -> dict[str, tuple[NDArray[Any], int]]:
        conditioning = self.sound_features(self.model)
        if not conditioning:
            return {}
        waves = TorchEngine(self.model).generate(list(conditioning.values()), self.run.loop.seed)
        if self.run.model.output == "mulaw":
            waves = [mu_law_decode(wave, self.run.model.classes) for wave in waves]
        found = {}
        for (name, features), wave in zip(conditioning.items(), waves, strict=True):
            sound = self.model.to_sound(torch.from_numpy(wave), torch.from_numpy(features))
            found[name] = sound.numpy(), self.spec.sample_rate
        return found

    def export(self, folder: Path, figures: dict[str, float], step: int) -> None:
        title = f"WaveNet, {self.run.model.output}, after {step} steps"
        card = model_card(title, figures, measured="Validation, nats a sample:")
        save_model(folder, "wavenet", self.run.model, self.model, card)


def train(run: WaveNetRun, data: Path, out: Path, resume: bool) -> dict[str, float]:
    """Train a WaveNet on a data set (`m2m dataset build`) and return the last validation figures.

    out: the run's folder. Raises M2MError if the data, the run's `start` or the folder do not go with the run, or if it diverges.
    """
    run, initial = warm_start(run, load_wavenet, out, resume)
    run = with_instruments(run, data)
    task = WaveNetTask(run, data)
    if initial:
        load_matching_weights(task.model, initial)
    return fit(task, run.loop, out, {"kind": "wavenet", **run.model_dump(mode="json")}, resume)
