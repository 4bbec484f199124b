"""Onsets and Frames (Hawthorne et al., arXiv 1710.11153), small: one convolutional trunk for three heads.

Where it deviates from the paper: the trunk is shared, its features and the LSTMs are fewer, and velocities are read off the trunk
without an LSTM of their own. Offsets have no head: a note ends where its frames do. Batch normalisation is folded into the
convolutions.
"""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from m2m.core.checkpoint import load_model
from m2m.core.lstm.precision import run_lstm
from m2m.core.mel import MelSpec
from m2m.core.model_folders import read_config
from m2m.core.notes import N_KEYS

KIND = "onsets-frames"  # of the model, in its config.json
MEL = MelSpec(hop_length=512, n_fft=2048, n_mels=229, fmin=30.0)  # 32 ms a frame at 16 kHz
SILENCE = 31  # frames before a recording (1 s): out of it a note at the very beginning is heard to begin
CENTRE, SPREAD = -6.0, 3.0  # nepers: about the mean and the deviation of music's log-mels


class OnsetsFramesConfig(BaseModel):
    """Sizes of the network, its mel, and the thresholds that its validation files have given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mel: MelSpec = MEL
    channels: int = Field(32, ge=1, le=512, description="of the first convolutions; the last has twice as many")
    features: int = Field(512, ge=1, le=8192, description="a frame's, from the trunk to the heads")
    hidden: int = Field(192, ge=1, le=4096, description="units of each LSTM, in each direction")
    onset_threshold: float = Field(0.5, gt=0, lt=1, description="probability from which a peak is an onset")
    frame_threshold: float = Field(0.5, gt=0, lt=1, description="probability below which a note ends")


class OnsetsFramesNetwork(nn.Module):
    """Log-mels -> of every frame and key, whether a note begins, whether one sounds, and how hard it was struck."""

    def __init__(self, config: OnsetsFramesConfig) -> None:
        super().__init__()
        self.config = config
        c, bands = config.channels, config.mel.n_mels
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, c, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(c, c, 3, padding=1), nn.ReLU(), nn.MaxPool2d((1, 2))),
            *(nn.Conv2d(c, 2 * c, 3, padding=1), nn.ReLU(), nn.MaxPool2d((1, 2))),
        )
        self.project = nn.Linear(2 * c * (bands // 4), config.features)
        self.onset_lstm = nn.LSTM(config.features, config.hidden, batch_first=True, bidirectional=True)
        self.onset = nn.Linear(2 * config.hidden, N_KEYS)
        self.frame_lstm = nn.LSTM(config.features + N_KEYS, config.hidden, batch_first=True, bidirectional=True)
        self.frame = nn.Linear(2 * config.hidden, N_KEYS)
        self.velocity = nn.Linear(config.features, N_KEYS)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of onsets, logits of frames, velocities (1 is MIDI's 127): each (batch, frames, 88).

        mel: (batch, frames, n_mels) natural-log mel.
        """
        x = self.trunk((mel[:, None] - CENTRE) / SPREAD)  # (batch, 2 c, frames, n_mels // 4)
        x = torch.relu(self.project(x.transpose(1, 2).flatten(2)))
        onset = self.onset(run_lstm(self.onset_lstm, x))
        frame = self.frame(run_lstm(self.frame_lstm, torch.cat([x, onset.detach().sigmoid()], -1)))
        return onset, frame, self.velocity(x)


def load_network(folder: Path) -> tuple[OnsetsFramesNetwork, str]:
    """The network in a folder, and the hash of its weights. Raises M2MError where the folder holds none."""
    config = read_config(folder, KIND, OnsetsFramesConfig)
    return load_model(lambda: OnsetsFramesNetwork(config), folder)
