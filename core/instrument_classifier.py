"""Which General MIDI instrument plays in a recording: a small classifier of log-mels (80 bands, m2m's own recipe).

Strided convolutions over time, mean and deviation over a window's frames, two layers. Batch normalisation is folded into the
convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from m2m.core.checkpoint import load_model
from m2m.core.errors import M2MError
from m2m.core.instruments import FIRST_KIT
from m2m.core.mel import MelSpec, log_mel
from m2m.core.model_folders import find_model, read_config

KIND = "instrument-classifier"  # of the model, in its config.json
WINDOW = 384  # frames that are classified at once: 3 s, as in training
QUIET = 1e-3  # RMS below which a window tells nothing: -60 dB
STRIDES = (2, 2, 2, 1, 1)  # of the convolutions


class InstrumentClassifierConfig(BaseModel):
    """Sizes of the classifier, and its mel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mel: MelSpec = MelSpec()
    channels: int = Field(192, ge=1, le=4096)
    hidden: int = Field(256, ge=1, le=4096)
    instruments: int = Field(
        FIRST_KIT + 1, ge=FIRST_KIT, le=1024, description="programs 0 to 127, and the standard kit"
    )


class InstrumentClassifierNetwork(nn.Module):
    """Log-mel -> logits of instruments."""

    def __init__(self, config: InstrumentClassifierConfig) -> None:
        super().__init__()
        c = config.channels
        widths = (config.mel.n_mels, *(c,) * (len(STRIDES) - 1))
        convolutions = [nn.Conv1d(width, c, 5, step, padding=2) for width, step in zip(widths, STRIDES, strict=True)]
        self.body = nn.Sequential(*(layer for conv in convolutions for layer in (conv, nn.ReLU())))
        self.hidden, self.end = nn.Linear(2 * c, config.hidden), nn.Linear(config.hidden, config.instruments)

    def forward(self, mel: Tensor) -> Tensor:
        """Logits: (batch, instruments).

        mel: (batch, frames, n_mels) natural-log mel.
        """
        x = self.body((mel + 6.0).transpose(1, 2) / 3.0)  # (batch, channels, frames / 8)
        x = torch.cat([x.mean(-1), x.std(-1)], -1)
        return self.end(torch.relu(self.hidden(x)))


@dataclass(frozen=True)
class Heard:
    """program: the General MIDI program that fits best, 0..127. probability: of that, among all instruments, 0..1."""

    program: int
    probability: float


class InstrumentClassifier:
    """The classifier that ships, or one by its folder. Raises M2MError where the folder is none."""

    def __init__(self, model: str = KIND, device: str = "cpu") -> None:
        folder = find_model(KIND, model, {})
        self.config = read_config(folder, KIND, InstrumentClassifierConfig)
        self.device = device
        network, self.hash = load_model(lambda: InstrumentClassifierNetwork(self.config), folder)
        self.network = network.to(device)

    @torch.inference_mode()
    def classify(self, blocks: Iterable[NDArray[np.float32]]) -> Heard:
        """The instrument that plays, by all windows that are not silent. Raises M2MError where all are.

        blocks: each (samples,) float32, mono, at the mel's sample rate.
        """
        spec, total, count = self.config.mel, torch.zeros(self.config.instruments), 0
        for window in _windows(blocks, WINDOW * spec.hop_length):
            if np.sqrt(np.mean(window**2)) < QUIET:
                continue
            mel = torch.from_numpy(log_mel(window, spec))[None].to(self.device)
            total += self.network(mel)[0].float().cpu().log_softmax(-1)
            count += 1
        if not count:
            raise M2MError("the recording is silent: there is no instrument to be heard; choose one with --timbre.")
        mean = (total / count).softmax(-1)
        program = int(mean[:FIRST_KIT].argmax())
        return Heard(program, round(float(mean[program]), 3))


def _windows(blocks: Iterable[NDArray[np.float32]], samples: int) -> Iterator[NDArray[np.float32]]:
    """Windows of `samples`; of audio that is shorter, one that repeats it."""
    audio, cut = np.zeros(0, np.float32), False
    for block in blocks:
        audio = np.concatenate([audio, block])
        while len(audio) >= samples:
            yield audio[:samples]
            audio, cut = audio[samples:], True
    if len(audio) and not cut:
        yield np.resize(audio, samples)
