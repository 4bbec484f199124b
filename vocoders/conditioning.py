"""What a network that makes samples hears of the music: the log-mel, and the roll beside it, brought to the rate of samples.

    mel (and roll) at the rate of frames -> transposed convolutions -> u, (samples, n_mels)

The score's roll may stand beside the mel, whose 80 bands blur the low octaves that the notes say exactly.
"""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from m2m.core import registry
from m2m.core.encoder import ScoreEncoder
from m2m.core.mel import Mel, MelSpec
from m2m.core.score import NoteArray, note_array

Array = NDArray[np.float32]
# The upper bounds of the networks' sizes are far beyond use: a stranger's config of a few bytes must not build for hours.
Size = Annotated[int, Field(ge=1, le=65_536)]


class ConditioningConfig(BaseModel):
    """The part of a network's config that says what it hears. The defaults are the reference system's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upsample: tuple[tuple[Size, Size], ...] = Field(
        ((16, 8), (32, 16)), min_length=1, max_length=16, description="window and stride of each transposed convolution"
    )
    condition_on_notes: bool = Field(False, description="read the score's roll beside the mel")
    encoder: str = Field("onsets-frames", description="of that roll")
    encoder_options: dict[str, object] = {}
    mel: MelSpec = MelSpec()

    @model_validator(mode="after")
    def _samples_a_frame(self) -> ConditioningConfig:
        if (made := math.prod(stride for _, stride in self.upsample)) != self.mel.hop_length:
            raise ValueError(f"upsample's strides make {made} samples a frame, mel.hop_length is {self.mel.hop_length}")
        for window, stride in self.upsample:
            if window < stride or (window - stride) % 2:
                raise ValueError(
                    f"upsample: window {window} is not stride {stride} plus an even number, to be cut off evenly"
                )
        if self.mel.floor >= 1:
            raise ValueError(f"mel.floor {self.mel.floor:g} is not below 0 dB, between which the mel is scaled")
        return self

    @property
    def margin(self) -> int:
        """Frames on either side of a stretch of mel that its samples' conditioning reaches into: 1 by default."""
        first = 0  # the earliest step, at each rate from that of samples down to that of frames, that sample 0 hears
        for window, stride in reversed(self.upsample):
            first = -((window - 1 - (window - stride) // 2 - first) // stride)
        return -first


class Conditioned(nn.Module):
    """A network with conditioning: `upsample`'s weights, and how features become what its layers add."""

    def __init__(self, config: ConditioningConfig) -> None:
        super().__init__()
        self.encoder: ScoreEncoder | None = None
        if config.condition_on_notes:
            self.encoder = registry.create("encoder", config.encoder, options=config.encoder_options)
        self.heard, bands = config, config.mel.n_mels
        self.width = bands  # channels of the conditioning
        self.features = bands + (self.encoder.n_features if self.encoder else 0)
        self.upsample = nn.ModuleList(
            nn.ConvTranspose1d(bands if i else self.features, bands, window, stride, (window - stride) // 2)
            for i, (window, stride) in enumerate(config.upsample)
        )

    def conditioning(self, features: Tensor) -> Tensor:
        """(batch, frames, features) log-mel, and after it the roll if there is one -> (batch, frames * hop_length, width)."""
        bands, silence = self.heard.mel.n_mels, self.heard.mel.silence
        scaled = 1 + features[..., :bands] * (2 / abs(silence))  # the floor is -1, a full-scale sine +1
        u = torch.cat([scaled, features[..., bands:]], dim=-1).mT  # (B, features, frames)
        for convolution in self.upsample:
            u = convolution(u)
        return u.mT

    def conditioning_between(self, features: Array, first: int, last: int) -> Tensor:
        """Of frames first..last of (frames, features): (samples, width), zero beyond the end.

        Computed from these frames and their neighbours alone, and equal to that part of the whole.
        """
        hop, margin, end = self.heard.mel.hop_length, self.heard.margin, min(last, len(features))
        weight = next(self.upsample.parameters())
        u = weight.new_zeros((last - first) * hop, self.width)
        if end > first:
            begin = max(0, first - margin)
            part = torch.tensor(features[begin : end + margin]).to(weight)  # a copy: what is lent may be read-only
            found = self.conditioning(part[None])[0, (first - begin) * hop : (end - begin) * hop]
            u[: len(found)] = found
        return u

    def hear(self, mel: Mel, first: int = 0, last: int | None = None) -> Array:
        """What the network reads of a mel's frames first..last: (frames, features). Without notes the roll is empty."""
        values = mel.window(first, mel.frames if last is None else last)
        notes = note_array([]) if mel.notes is None else mel.notes
        return np.concatenate([values, *self.read(notes, first, len(values))], axis=1)

    def read(self, notes: NoteArray, first: int, frames: int) -> list[Array]:
        """What it reads of the notes beside frames of mel, each (frames, n): the roll, if it does."""
        return [self.encoder.encode(notes, self.heard.mel.frame_rate, first, frames)] if self.encoder else []


def centre(u: Tensor, samples: int) -> Tensor:
    """The middle of conditioning that reaches equally far beyond both ends: (batch, T + 2 n, n_mels) -> (batch, T, n_mels)."""
    beyond = (u.shape[1] - samples) // 2
    return u[:, beyond : u.shape[1] - beyond]
