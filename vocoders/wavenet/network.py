"""WaveNet (van den Oord et al., arXiv 1609.03499) as Deep Voice (arXiv 1702.07825) and nv-wavenet have it, top to bottom.

    previous two samples -> embedding x -> 20 layers, dilations 1, 2, .. 512 twice -> skip sum -> relu -> linear -> relu -> linear
                                            ^                                                   -> distribution of the sample
    mel -> two transposed convolutions -> u, at the rate of samples

    layer l:  (a, b) = W_prev x[t - d] + W_cur x[t] + bias + C u[t];   z = tanh(a) * sigmoid(b)
              skip += W_skip z + bias;                                 x = x + W_res z + bias

This is the network as it is trained: all samples at once, each predicted from the true ones before it. The engines draw one
sample after the other and must give the same numbers; in float64 this file is their oracle. Names and shapes of the weights
are the format of a model folder, and what the engines read.

Where we differ from nv-wavenet: the last layer, whose residual nobody reads, has none; outputs other than µ-law classes; and
what the score says may stand beside the mel (vocoders/shared/conditioning.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from m2m.core.checkpoint import load_model
from m2m.core.choices import Distribution
from m2m.core.model_folders import read_config
from m2m.vocoders.shared.conditioning import Conditioned, ConditioningConfig, Size, centre_crop
from m2m.vocoders.shared.layer import Layer, exactly
from m2m.vocoders.shared.layer_stack import skip_sum

SMOOTH_WAVES = 16  # in which the tables over classes begin


class WaveNetConfig(ConditioningConfig):
    """What a WaveNet is made of; saved beside its weights. The defaults are the reference system's."""

    layers: int = Field(20, ge=1, le=256)
    dilation_cycle: int = Field(10, ge=1, le=16, description="layer l looks back 2 ** (l % dilation_cycle) samples")
    residual: Size = Field(64, description="channels from layer to layer")
    skip: Size = Field(256, description="channels from every layer to the output")
    classes: int = Field(256, ge=2, le=32768, description="µ-law classes, and units of the output's hidden layer")
    output: Distribution = Field(
        "mulaw", description="of a sample: one of the classes, a Gaussian, or a mixture of logistics"
    )
    mixtures: int = Field(10, ge=1, le=4096, description="logistics of a mixture")

    @property
    def dilations(self) -> list[int]:
        """How far back each layer looks, in samples."""
        return [2 ** (layer % self.dilation_cycle) for layer in range(self.layers)]

    @property
    def receptive_field(self) -> int:
        """Samples before the predicted one that have a say in it: 2,048 (128 ms) by default."""
        return sum(self.dilations) + 2

    @property
    def outputs(self) -> int:
        """Numbers that describe a sample's distribution."""
        return {"mulaw": self.classes, "gaussian": 2, "mol": 3 * self.mixtures}[self.output]


class WaveNet(Conditioned):
    """The network.

    >>> model = WaveNet(WaveNetConfig(layers=2, residual=4, skip=8))
    >>> samples, mel = torch.full((1, 2 + 256), 128), torch.zeros(1, 2, 80)
    >>> model(samples, mel).shape
    torch.Size([1, 256, 256])
    """

    config: WaveNetConfig

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__(config)
        if config.output == "mulaw":
            self.embed_prev = nn.Embedding(config.classes, config.residual)
            self.embed_cur = nn.Embedding(config.classes, config.residual)
        else:
            self.input_prev = nn.Linear(1, config.residual, bias=False)
            self.input_cur = nn.Linear(1, config.residual)
        last = config.layers - 1
        self.layers = nn.ModuleList(
            Layer(config.residual, config.skip, config.mel.n_mels, dilation, i == last)
            for i, dilation in enumerate(config.dilations)
        )
        self.out = nn.Linear(config.skip, config.classes)
        self.end = nn.Linear(config.classes, config.outputs)
        if config.output == "mulaw":
            for table, scale in ((self.embed_prev, 1.0), (self.embed_cur, 1.0), (self.end, 3 * config.classes)):
                _init_smooth(table.weight, scale)

    def forward(self, samples: Tensor, features: Tensor) -> Tensor:
        """The distribution of each sample, given all before it.

        samples:  (batch, 2 + T) int64 µ-law codes, or float in -1..1: the two before the first, then the T that are predicted, of
                  which the last is not read. Before these, layers begin at zero.
        features: (batch, frames, n_features) float, as for `conditioning`: T / hop_length frames, or as many more on either side
                  as the conditioning shall depend on.

        Returns (batch, T, outputs): logits, or the parameters that sampling.py lists.
        """
        x = self.embed(samples[:, :-2], samples[:, 1:-1])  # (B, T, residual)
        u = centre_crop(self.conditioning(features), x.shape[1])  # (B, T, n_mels)
        hidden = F.relu(self.out(F.relu(skip_sum(self.stack, x, u))))
        return self.end(hidden) if self.config.output == "mulaw" else exactly(self.end, hidden)

    @property
    def stack(self) -> list[Layer]:
        """The layers, from the bottom."""
        return cast("list[Layer]", list(self.layers))

    def embed(self, previous: Tensor, current: Tensor) -> Tensor:
        """The input of layer 0 at sample t.

        previous: (...,) sample t - 2, µ-law codes or float in -1..1.
        current: (...,) sample t - 1, same shape.

        Returns (..., residual) float.
        """
        if self.config.output == "mulaw":
            return self.embed_prev(previous) + self.embed_cur(current)
        return exactly(self.input_prev, previous[..., None]) + exactly(self.input_cur, current[..., None])

    def silence(self, *shape: int) -> Tensor:
        """Silence, for the time before the first sample: any shape, int64 µ-law codes or float zeros."""
        if self.config.output == "mulaw":
            return torch.full(shape, self.config.classes // 2, device=self.end.weight.device)
        return self.end.weight.new_zeros(shape)


@torch.no_grad()
def _init_smooth(table: Tensor, scale: float) -> None:
    """Initialise a (classes, n) table with random smooth functions of the class, in place.

    Neighbouring classes are neighbouring amplitudes. With independent rows, the network would have to learn that from data.
    """
    if table.is_meta:  # an outline without memory: nothing to fill, and PyTorch would take a second to import how
        return
    at = torch.linspace(-1, 1, len(table))[:, None]  # (classes, 1)
    turns = math.pi / 2 * torch.arange(1, SMOOTH_WAVES + 1)  # half a wave over all classes, one, one and a half, ..
    waves = torch.cat([torch.cos(at * turns), torch.sin(at * turns)], dim=1) / turns.repeat(2).sqrt()
    table.copy_(torch.cat([at, waves], dim=1) @ torch.randn(2 * SMOOTH_WAVES + 1, table.shape[1]))
    table.mul_(1 / (table.std() * math.sqrt(scale)))


@torch.no_grad()
def apply_temperature(model: WaveNet, temperature: float) -> None:
    """Make the engines' temperature act on the density of the amplitude, not on the µ-law classes; changes the model in place.

    Engines divide the classes' logits by T, so a class of probability P gets P^(1/T). But P = p w, with p the density of the
    amplitude and w the width of the class, and w grows about 200-fold from the quietest class to the loudest. Sharpening P would
    therefore favour loud classes: for a density that is symmetric about 0 the mode would lie off 0, and the network, which reads
    its own samples, would keep that offset. What is wanted is w p^(1/T) = (P w^(T - 1))^(1/T). So (T - 1) log w is added to the
    logits, in the bias of the last layer. Other outputs are densities already.

    temperature: zero or more; 1 changes nothing.
    """
    if model.config.output == "mulaw":
        companded = torch.linspace(-1, 1, model.config.classes, device=model.end.bias.device)
        log_width = companded.abs() * math.log(model.config.classes)  # up to a constant
        model.end.bias.add_((temperature - 1) * log_width)


def load_wavenet(folder: Path) -> tuple[WaveNet, str]:
    """The model in a folder, ready for inference, and the hash of its weights. Raises M2MError as core/checkpoint.py does."""
    config = read_config(folder, "wavenet", WaveNetConfig)
    return load_model(lambda: WaveNet(config), folder)
