"""The conditioning of a network that makes samples: the log-mel, and the score beside it, brought to the rate of samples.

    log-mel (and roll, and excitation), at the rate of frames -> transposed convolutions -> u (samples, width)

The mel's 80 bands do not resolve the low octaves, and a mel has no phase. What the score knows of both may stand beside it:
the roll, which says which keys sound; and the harmonic excitation (excitation.py), the notes as band-limited oscillators play
them, matched to the mel. The excitation has the frequencies of the partials, their onsets and their phases already; the network
learns the rest of the sound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from m2m.core.encoder import ScoreEncoder
from m2m.core.mel import Mel, MelSpec
from m2m.core.plugins import registry
from m2m.core.score import NoteArray, note_array
from m2m.vocoders.shared.excitation import excitation_margin, mel_matched_excitation

Array = NDArray[np.float32]
# Raised when the same notes and mel give another excitation, or another frame gain: a network fits just one version.
EXCITATION_VERSION = 2
# In units of the frame gain. Louder excitation has leaked into a soft frame from a loud neighbour.
MAX_EXCITATION = 2.0
# The upper bounds of the networks' sizes are far beyond use: a stranger's config of a few bytes must not build for hours.
Size = Annotated[int, Field(ge=1, le=65_536)]


class ConditioningConfig(BaseModel):
    """The part of a network's config that describes its conditioning. The defaults are the reference system's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upsample: tuple[tuple[Size, Size], ...] = Field(
        ((16, 8), (32, 16)), min_length=1, max_length=16, description="kernel and stride of each transposed convolution"
    )
    condition_on_notes: bool = Field(False, description="read the score's roll beside the mel")
    encoder: str = Field("onsets-frames", description="of that roll")
    encoder_options: dict[str, object] = {}
    excitation: int = Field(
        0,
        validation_alias=AliasChoices("excitation", "comb"),  # its name until 0.2
        description=f"read the score's harmonic excitation as well: {EXCITATION_VERSION}, its version; 0: none",
    )
    temperature: float = Field(
        1.0, ge=0, le=2, description="at which the trained network sounds best, where a rendering does not say another"
    )
    mel: MelSpec = MelSpec()

    @model_validator(mode="after")
    def _samples_a_frame(self) -> ConditioningConfig:
        if (made := math.prod(stride for _, stride in self.upsample)) != self.mel.hop_length:
            raise ValueError(f"upsample's strides make {made} samples a frame, mel.hop_length is {self.mel.hop_length}")
        for kernel, stride in self.upsample:
            if kernel < stride or (kernel - stride) % 2:
                raise ValueError(
                    f"upsample: kernel {kernel} is not stride {stride} plus an even number, to be cropped evenly"
                )
        if self.mel.floor >= 1:
            raise ValueError(f"mel.floor {self.mel.floor:g} is not below 0 dB, between which the mel is scaled")
        return self

    @model_validator(mode="after")
    def _excitation_fits_the_mel(self) -> ConditioningConfig:
        if self.excitation not in (0, EXCITATION_VERSION):
            raise ValueError(f"excitation {self.excitation} is another m2m's; this one has {EXCITATION_VERSION}")
        if self.excitation:
            for name, wanted in (("power", 1), ("filter_norm", "peak"), ("magnitude", "sine")):
                if (came := getattr(self.mel, name)) != wanted:
                    raise ValueError(
                        f"excitation wants mel.{name} {wanted!r}, from which the frame gain is computed, not {came!r}"
                    )
            if not 2 * self.mel.hop_length <= self.mel.n_fft <= 256 * self.mel.hop_length:
                raise ValueError(
                    f"excitation wants mel.n_fft between 2 and 256 times mel.hop_length, not {self.mel.n_fft}"
                )
        return self

    @property
    def margin(self) -> int:
        """Frames on either side of a segment of mel on which its samples' conditioning depends: 1 by default."""
        first = (
            0  # the earliest step that sample 0 depends on, at each rate from that of samples down to that of frames
        )
        for kernel, stride in reversed(self.upsample):
            first = -((kernel - 1 - (kernel - stride) // 2 - first) // stride)
        return -first


class Conditioned(nn.Module):
    """A network with conditioning: the weights of `upsample`, and the way from features to what the layers add.

    A frame's features are its log-mel, its roll if that is read, and its samples of the excitation if that is read. The
    excitation goes through the convolutions, which are initialised so that their last band is the excitation itself: an engine
    need not know of it. With `excitation_apart` it goes round them, as one more channel.

    With an excitation the network's samples y are what the excitation lacks, and both are in units of the frame gain, which
    comes from the mel:

        wave = gain * (excitation + y)
    """

    excitation_apart = False

    def __init__(self, config: ConditioningConfig) -> None:
        super().__init__()
        self.encoder: ScoreEncoder | None = None
        if config.condition_on_notes:
            self.encoder = registry.create("encoder", config.encoder, options=config.encoder_options)
        self.config, bands = config, config.mel.n_mels
        excitation = config.mel.hop_length if config.excitation else 0
        # Frames of mel on either side on which a segment's features depend.
        self.feature_margin = excitation_margin(config.mel) if excitation else 0
        self.apart = excitation if self.excitation_apart else 0  # so many last features go round the convolutions
        self.width = bands + (self.apart > 0)  # channels of the conditioning
        self.n_features = bands + (self.encoder.n_features if self.encoder else 0) + excitation
        self.upsample = nn.ModuleList(
            nn.ConvTranspose1d(
                bands if i else self.n_features - self.apart, bands, kernel, stride, (kernel - stride) // 2
            )
            for i, (kernel, stride) in enumerate(config.upsample)
        )
        if excitation and not self.apart:
            _init_pass_through(cast("list[nn.ConvTranspose1d]", list(self.upsample)), excitation)

    def conditioning(self, features: Tensor) -> Tensor:
        """The conditioning of whole sequences.

        features: (batch, frames, n_features) float, as `features_of` has them: log-mel first, excitation last.

        Returns (batch, frames * hop_length, width) of the same type.
        """
        spec, bands = self.config.mel, self.config.mel.n_mels
        features, excitation = features.split([features.shape[-1] - self.apart, self.apart], dim=-1)
        u = torch.cat([spec.scaled(features[..., :bands]), features[..., bands:]], dim=-1).mT  # (B, features, frames)
        for convolution in self.upsample:
            u = convolution(u)
        u = u.mT
        return torch.cat([u, excitation.reshape(*u.shape[:2], 1).to(u.dtype)], dim=-1) if self.apart else u

    def conditioning_between(self, features: Array, first: int, last: int) -> Tensor:
        """The conditioning of some frames, computed from these and their neighbours alone; equal to that part of the whole.

        features: (frames, n_features) float32, of a whole piece.
        first, last: frames first..last are wanted.

        Returns ((last - first) * hop_length, width) in the type of the weights, zero beyond the end.
        """
        hop, margin, end = self.config.mel.hop_length, self.config.margin, min(last, len(features))
        weight = next(self.upsample.parameters())
        u = weight.new_zeros((last - first) * hop, self.width)
        if end > first:
            begin = max(0, first - margin)
            part = torch.tensor(features[begin : end + margin]).to(weight)  # a copy: what is lent may be read-only
            found = self.conditioning(part[None])[0, (first - begin) * hop : (end - begin) * hop]
            u[: len(found)] = found
        return u

    def features_of(self, mel: Mel, first: int = 0, last: int | None = None) -> Array:
        """What the network reads of a mel's frames first..last, by default of all.

        mel: in the recipe of `config.mel`; without notes, roll and excitation are silent.

        Returns (last - first, n_features) float32.
        """
        last = mel.frames if last is None else last
        begin, end = first - self.feature_margin, last + self.feature_margin
        values = mel.window(max(0, begin), min(end, mel.frames))
        before = max(0, -begin)
        beyond = (before, end - begin - before - len(values))
        values = np.pad(values, (beyond, (0, 0)), constant_values=np.float32(mel.spec.silence))
        notes = note_array([]) if mel.notes is None else mel.notes
        return self.features_from(values, notes, first, mel.percussive)

    def features_from(self, values: Array, notes: NoteArray, first: int, percussive: NoteArray | None = None) -> Array:
        """The features of a segment that begins at frame `first` of a piece.

        values: (margin + frames + margin, n_mels) float32 log-mel, with `feature_margin`.
        notes, percussive: of the whole piece, in seconds from its frame 0.

        Returns (frames, n_features) float32.
        """
        spec, frames = self.config.mel, len(values) - 2 * self.feature_margin
        parts = [values[self.feature_margin : self.feature_margin + frames]]
        if self.encoder:
            parts.append(self.encoder.encode(notes, spec.frame_rate, first, frames))
        if self.config.excitation:
            excitation = mel_matched_excitation(notes, values, first, spec, percussive=percussive)
            relative = excitation.reshape(frames, spec.hop_length) / self.frame_gain(torch.from_numpy(parts[0])).numpy()
            parts.append(relative.clip(-MAX_EXCITATION, MAX_EXCITATION))
        return np.concatenate(parts, axis=1)

    def frame_gain(self, features: Tensor) -> Tensor:
        """The amplitude of each frame by its mel, about four times its RMS.

        features: (.., frames, n_features or n_mels) float, log-mel first.

        Returns (.., frames, 1), full scale is 1.
        """
        spec = self.config.mel
        values = features[..., : spec.n_mels]
        linear = values.exp() if spec.log == "natural" else 10**values
        return 2 * linear.square().sum(-1, keepdim=True).sqrt()

    def to_sound(self, y: Tensor, features: Tensor) -> Tensor:
        """The network's samples as audio.

        y:        (.., frames * hop_length) float, what the network made.
        features: (.., frames, n_features) float, of just these frames.

        Returns (.., frames * hop_length) audio, full scale is 1.
        """
        if not self.config.excitation:
            return y
        excitation, gain = self._excitation_and_gain(features)
        return (gain * (excitation + y.unflatten(-1, excitation.shape[-2:]))).flatten(-2)

    def from_sound(self, wave: Tensor, features: Tensor) -> Tensor:
        """The inverse of `to_sound`: what the network is to make.

        wave:     (.., frames * hop_length) float, audio, full scale is 1.
        features: (.., frames, n_features) float, of just these frames.

        Returns (.., frames * hop_length), in units of the frame gain where there is an excitation.
        """
        if not self.config.excitation:
            return wave
        excitation, gain = self._excitation_and_gain(features)
        return (wave.unflatten(-1, excitation.shape[-2:]) / gain - excitation).flatten(-2)

    def _excitation_and_gain(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(.., frames, hop_length) and (.., frames, 1)."""
        return features[..., features.shape[-1] - self.config.mel.hop_length :], self.frame_gain(features)


@torch.no_grad()
def _init_pass_through(convolutions: Sequence[nn.ConvTranspose1d], samples: int) -> None:
    """Initialise transposed convolutions so that their last band is the last `samples` features of a frame, one after another.

    Between two convolutions, the samples that one step still holds are its last channels.
    """
    if convolutions[0].weight.is_meta:  # an outline without memory
        return
    for convolution in convolutions:
        stride, crop = convolution.stride[0], (convolution.kernel_size[0] - convolution.stride[0]) // 2
        left = samples // stride  # samples that a step holds after this convolution
        bands = convolution.out_channels
        if left > bands:
            return  # they do not fit through: the rest keeps PyTorch's initialisation, and is learned
        convolution.weight[:, bands - left :] = 0
        cast("Tensor", convolution.bias)[bands - left :] = 0
        place = torch.arange(samples)
        channel = convolution.in_channels - samples + place
        convolution.weight[channel, bands - left + place % left, crop + place // left] = 1
        samples = left


def centre_crop(u: Tensor, samples: int) -> Tensor:
    """The middle of conditioning that extends equally far beyond both ends.

    u: (batch, n + samples + n, width) of any type.

    Returns (batch, samples, width).
    """
    beyond = (u.shape[1] - samples) // 2
    return u[:, beyond : u.shape[1] - beyond]
