"""The student of Parallel WaveNet (van den Oord et al., arXiv 1711.10433) and ClariNet (Ping et al., arXiv 1807.07281).

A stack of inverse autoregressive flows (Kingma et al., arXiv 1606.04934) turns white noise z into samples. Flow i reads its own
*input's* past, so all samples are computed at once:

    z_i[t] = z_{i-1}[t] * scale_i[t] + mean_i[t],      scale_i[t], mean_i[t] = flow_i(z_{i-1}[< t], u)
    x = z_n,     z_0 white noise, Gaussian (ClariNet) or logistic (Parallel WaveNet)

Each flow is a causal network of WaveNet's layers (vocoders/wavenet/network.py) on one conditioning u that all share. Since every
scale and mean depends on z_0[< t] alone, the flows fold into one: given the noise before it, a sample has the distribution

    x[t] = z_0[t] * exp(log_scale[t]) + mean[t],       log_scale = sum_i log scale_i,     mean folded likewise,

which is what distillation compares with the teacher's. The Jacobian dx/dz_0 is triangular with the scales on its diagonal, so

    log q(x) = log p(z_0) - sum_t log_scale[t].

With an excitation (vocoders/shared/conditioning.py) the conditioning has one more channel, and what is drawn is what it lacks.

There is no sample loop and no class: samples are numbers, as fine as float32, and no µ-law is on the way.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, NamedTuple, cast

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn
from torch.nn import functional as F

from m2m.core.checkpoint import load_model
from m2m.core.choices import Noise
from m2m.core.model_folders import read_config
from m2m.vocoders.shared.conditioning import Conditioned, ConditioningConfig, Size, centre_crop
from m2m.vocoders.shared.layer import Layer, exactly
from m2m.vocoders.shared.layer_stack import skip_sum

MIN_LOG_SCALE, MAX_LOG_SCALE = -7.0, 4.0  # of one flow: what lies beyond is a number that has run away
KIND = "parallel-wavenet"


class StudentConfig(ConditioningConfig):
    """What a student is made of; saved beside its weights."""

    noise: Noise = Field("gaussian", description="that goes in: ClariNet's, or Parallel WaveNet's")
    flows: tuple[Annotated[int, Field(ge=1, le=64)], ...] = Field(
        (10, 10, 10, 10), min_length=1, max_length=16, description="layers of each flow, '10,10,10,30'"
    )
    dilation_cycle: int = Field(10, ge=1, le=16, description="layer l looks back 2 ** (l % dilation_cycle) samples")
    residual: Size = Field(64, description="channels from layer to layer")
    skip: Size = Field(64, description="channels from every layer to the flow's output")
    level: float = Field(
        0.05,
        gt=0,
        le=1,
        description="how loud an untrained student is: of full scale, or with an excitation of the frame's gain",
    )

    @field_validator("flows", mode="before")
    @classmethod
    def _from_text(cls, flows: object) -> object:
        return flows.split(",") if isinstance(flows, str) else flows

    def dilations(self, layers: int) -> list[int]:
        """How far back each layer of a flow looks, in samples."""
        return [2 ** (layer % self.dilation_cycle) for layer in range(layers)]

    @property
    def receptive_field(self) -> int:
        """Samples of noise before a sample's own that have a say in it: 4,100 (256 ms) by default."""
        return sum(sum(self.dilations(layers)) + 2 for layers in self.flows)


class Drawn(NamedTuple):
    """Samples (batch, T), and the distribution that each was drawn from: its mean and log scale, given the noise before it."""

    samples: Tensor
    mean: Tensor
    log_scale: Tensor


class Student(Conditioned):
    """The network.

    >>> student = Student(StudentConfig(flows=(2, 3), residual=4, skip=4))
    >>> drawn = student(torch.randn(1, 256), torch.zeros(1, 2, 80))
    >>> drawn.samples.shape
    torch.Size([1, 256])
    """

    config: StudentConfig
    excitation_apart = True

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.flows = nn.ModuleList(Flow(config, layers) for layers in config.flows)

    @property
    def stack(self) -> list[Flow]:
        """The flows, from the noise on."""
        return cast("list[Flow]", list(self.flows))

    def forward(self, noise: Tensor, features: Tensor) -> Drawn:
        """Noise to samples.

        noise:    (batch, samples) float, white; before it, layers begin at zero.
        features: (batch, frames, n_features) float, as for `conditioning`: samples / hop_length frames, or as many more on either
                  side as the conditioning shall depend on.

        Returns samples, mean and log scale, (batch, samples) each.
        """
        u = centre_crop(self.conditioning(features), noise.shape[1])  # (B, T, width)
        z, mean, log_scale = noise, torch.zeros_like(noise), torch.zeros_like(noise)
        for flow in self.stack:
            flow_mean, flow_log_scale = flow(z, u)
            scale = flow_log_scale.exp()
            z = z * scale + flow_mean
            mean = mean * scale + flow_mean
            log_scale = log_scale + flow_log_scale
        return Drawn(z, mean, log_scale)


class Flow(nn.Module):
    """One inverse autoregressive flow: its input's past and u -> the mean and log scale of each sample."""

    def __init__(self, config: StudentConfig, layers: int) -> None:
        super().__init__()
        self.input_prev = nn.Linear(1, config.residual, bias=False)
        self.input_cur = nn.Linear(1, config.residual)
        self.layers = nn.ModuleList(
            Layer(config.residual, config.skip, config.mel.n_mels + (config.excitation > 0), dilation, i == layers - 1)
            for i, dilation in enumerate(config.dilations(layers))
        )
        self.out = nn.Linear(config.skip, config.skip)
        self.end = nn.Linear(config.skip, 2)
        with (
            torch.no_grad()
        ):  # begins as a plain scaling to the level of music: a mean is learned, noise need not be unlearned
            self.end.weight.mul_(0.1)
            self.end.bias.copy_(torch.tensor([0.0, math.log(config.level) / len(config.flows)]))

    @property
    def stack(self) -> list[Layer]:
        """The layers, from the bottom."""
        return cast("list[Layer]", list(self.layers))

    def forward(self, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """A flow over whole sequences.

        z: (batch, samples) float, the flow's input.
        u: (batch, samples, width) float, the conditioning.

        Returns mean and log scale of each sample, (batch, samples) each.
        """
        before = F.pad(z, (2, 0))[..., None]  # zero before the first; t - 2 and t - 1 are read
        x = exactly(self.input_prev, before[:, :-2]) + exactly(self.input_cur, before[:, 1:-1])  # (B, T, residual)
        # Of what bfloat16 costs a student's loss within its first 50 steps, 9 % at toy size, nearly all is in these two products.
        hidden = F.relu(exactly(self.out, F.relu(skip_sum(self.stack, x, u, exact=True))))
        mean, log_scale = exactly(self.end, hidden).unbind(-1)
        return mean, log_scale.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)


def load_student(folder: Path) -> tuple[Student, str]:
    """The model in a folder, ready for inference, and the hash of its weights. Raises M2MError as core/checkpoint.py does."""
    config = read_config(folder, KIND, StudentConfig)
    return load_model(lambda: Student(config), folder)
