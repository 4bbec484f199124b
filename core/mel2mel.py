"""Mel2Mel, the acoustic model: piano roll and timbre in, log-mel out (Kim et al., arXiv 1811.00223, section 2).

    roll -> linear -> conditioner(timbre) -> bidirectional LSTM -> conditioner(timbre) -> linear -> log-mel

The LSTM is the only non-linearity and the only thing that looks along time; the conditioner (FiLM in the paper) is the only
thing that knows the timbre, which is a learned vector per instrument. Where we differ from the paper: the roll may carry
decays (`onsets-frames-decay`), and the ten instruments have ten dimensions by default, since two leave FiLM's scales and
shifts only a plane to move in.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from m2m.core.checkpoint import load_model
from m2m.core.conditioner import TimbreConditioner
from m2m.core.encoder import ScoreEncoder
from m2m.core.errors import M2MError
from m2m.core.instruments import REFERENCE
from m2m.core.lstm.engine import CpuLstm, can_run
from m2m.core.lstm.precision import run_lstm
from m2m.core.mel import MelSpec
from m2m.core.model_folders import read_config
from m2m.core.plugins import registry
from m2m.core.score import NoteArray

# Inference runs over windows, so that memory does not grow with the length of a score: WINDOW frames are kept of each,
# CONTEXT on both sides are computed and thrown away. Training sees 512 frames from a zero state: the model knows no more.
WINDOW, CONTEXT = 1024, 256  # frames: 8.2 s and 2 s at 125 frames/s
WINDOWS_AT_ONCE = 8  # LSTM steps are bound by reading the weights, which eight windows share
# Frames around a preview, enough for a picture: predictions are 0.003 nepers from those with CONTEXT for a piano, 0.2 in the
# first second of a trumpet, which depends on how long the silence before it was.
PREVIEW_CONTEXT = 128


class Mel2MelConfig(BaseModel):
    """What a Mel2Mel is made of; saved beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str = "onsets-frames-decay"
    encoder_options: dict[str, object] = {}
    conditioner: str = "film"
    conditioner_options: dict[str, object] = {}
    conditioned: Literal["both", "before", "after", "none"] = Field(
        "both",
        description="where timbre comes in: before the LSTM, after it; the paper's is both, the others are ablations",
    )
    instruments: dict[str, int] = Field({name: program for program, name in REFERENCE.items()}, min_length=1)
    timbre_dim: int = Field(10, ge=1, le=4096, description="dimensions of the timbre space")
    hidden: int = Field(
        256, ge=1, le=65_536, description="features before the LSTM, and units in each of its directions"
    )
    layers: int = Field(1, ge=1, le=64, description="stacked LSTM layers")
    mel: MelSpec = MelSpec()


class Mel2Mel(nn.Module):
    """The network, and its two components found by name.

    >>> model = Mel2Mel(Mel2MelConfig(hidden=8))
    >>> model(torch.zeros(2, 100, 528), model.timbre.weight[:2, None]).shape
    torch.Size([2, 100, 80])
    """

    def __init__(self, config: Mel2MelConfig) -> None:
        super().__init__()
        self.config = config
        names = {"encoder": config.encoder, "conditioner": config.conditioner}
        self._components = {kind: registry.find(kind, name) for kind, name in names.items()}  # named in errors
        self._cpu_lstm: CpuLstm | None = None  # of the weights as they were when `freeze` was called
        self.encoder: ScoreEncoder = registry.create("encoder", config.encoder, options=config.encoder_options)
        self.timbre = nn.Embedding(len(config.instruments), config.timbre_dim)
        with registry.attribute_errors(self._components["encoder"], "cannot be set up"):
            features = int(self.encoder.n_features)
        self.inward = nn.Linear(features, config.hidden)
        self.before = self._conditioner(config.hidden) if config.conditioned in ("both", "before") else None
        self.lstm = nn.LSTM(config.hidden, config.hidden, config.layers, batch_first=True, bidirectional=True)
        self.after = self._conditioner(2 * config.hidden) if config.conditioned in ("both", "after") else None
        self.outward = nn.Linear(2 * config.hidden, config.mel.n_mels)
        nn.init.constant_(self.outward.bias, config.mel.silence * 0.6)  # near the mean of a log-mel of music

    def _conditioner(self, features: int) -> TimbreConditioner:
        name, options = self.config.conditioner, self.config.conditioner_options
        conditioner: TimbreConditioner = registry.create(
            "conditioner", name, features, self.config.timbre_dim, options=options
        )
        return conditioner

    def freeze(self) -> None:
        """Ready for inference on a CPU: from now on the LSTM is core/lstm's kernel, where it can be, until `train` is called."""
        self.eval()
        self._cpu_lstm = CpuLstm(self.lstm) if can_run(self.lstm) else None

    def train(self, mode: bool = True) -> Self:
        if mode:
            self._cpu_lstm = None
        return super().train(mode)

    def forward(self, roll: Tensor, timbre: Tensor, context: int = 0) -> Tensor:
        """The log-mels of a batch: (batch, frames - 2 context, n_mels).

        roll: (batch, frames, encoder's n_features) float32, 0..1.
        timbre: (batch, frames or 1, timbre_dim) float32.
        context: frames at both ends that are there for the others' sake.

        Raises M2MError that names the conditioner's package if it fails.
        """
        features = self._condition(self.before, self.inward(roll), timbre)  # (B, T, hidden)
        features = self._recur(features, context)  # (B, T - 2 context, 2 hidden)
        held = timbre if timbre.shape[1] == 1 else timbre[:, context : timbre.shape[1] - context]
        log_mel: Tensor = self.outward(self._condition(self.after, features, held))
        return log_mel

    def _recur(self, features: Tensor, context: int) -> Tensor:
        """The LSTM: (batch, frames, hidden) -> (batch, frames - 2 context, 2 hidden), of one dtype."""
        if self._cpu_lstm and features.device.type == "cpu" and not torch.is_grad_enabled():
            return self._cpu_lstm(features, context)
        made = run_lstm(self.lstm, features)
        return made[:, context : made.shape[1] - context]

    def _condition(self, conditioner: TimbreConditioner | None, features: Tensor, timbre: Tensor) -> Tensor:
        """Call a conditioner, which may be a plugin's. Raises M2MError that names its package if it fails."""
        if conditioner is None:
            return features
        if torch.compiler.is_compiling():
            return conditioner(features, timbre)
        component = self._components["conditioner"]
        with registry.attribute_errors(component):
            conditioned: Tensor = conditioner(features, timbre)
        if not isinstance(conditioned, Tensor) or conditioned.shape != features.shape:
            shape = tuple(conditioned.shape) if isinstance(conditioned, Tensor) else type(conditioned).__name__
            raise M2MError(f"{component} broke its contract: it made {shape} of {tuple(features.shape)} features.")
        if conditioned.dtype != features.dtype:
            raise M2MError(f"{component} broke its contract: it made {conditioned.dtype} of {features.dtype} features.")
        if not self.training and not _finite(conditioned) and _finite(features):
            raise M2MError(f"{component} broke its contract: it made NaN or infinite numbers of finite features.")
        return conditioned

    def point(self, instrument: str) -> NDArray[np.float32]:
        """An instrument's place in the timbre space: (timbre_dim,) float32. Raises M2MError for one that the model has not."""
        names = list(self.config.instruments)
        if instrument not in names:
            raise M2MError(f"the model was not trained on {instrument!r}; it has {', '.join(names)}.")
        row: NDArray[np.float32] = self.timbre.weight[names.index(instrument)].detach().float().cpu().numpy()
        return row

    def encode(self, notes: NoteArray, start: int, frames: int) -> NDArray[np.float32]:
        """The roll of frames start..start + frames: (frames, n_features) float32, 0..1.

        Raises M2MError that names the encoder's package if it fails.
        """
        component = self._components["encoder"]
        with registry.attribute_errors(component):
            roll = self.encoder.encode(notes, self.config.mel.frame_rate, start, frames)
        wanted = (frames, self.encoder.n_features)
        if not isinstance(roll, np.ndarray) or roll.shape != wanted:
            raise M2MError(f"{component} broke its contract: its roll has shape {np.shape(roll)}, {wanted} was wanted.")
        if roll.dtype != np.float32 or not np.isfinite(roll).all():
            what = "NaN or infinite numbers" if roll.dtype == np.float32 else roll.dtype
            raise M2MError(f"{component} broke its contract: its roll is of {what}, finite float32 was wanted.")
        return roll

    def predict(self, notes: NoteArray, timbre: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
        """The log-mel of a part of any length: (frames, n_mels) float32, not below silence.

        timbre: (timbre_dim,) where it holds still, (frames, timbre_dim) where it moves.
        """
        parts = [self.predict_span(notes, timbre, *span) for span in spans(frames)]
        return np.concatenate(parts) if parts else np.empty((0, self.config.mel.n_mels), np.float32)

    @torch.inference_mode()
    def predict_span(
        self, notes: NoteArray, timbre: NDArray[np.float32], first: int, last: int, window: int = 0, context: int = 0
    ) -> NDArray[np.float32]:
        """Frames first..last of a part's log-mel: (last - first, n_mels), by one batch of windows.

        timbre: (timbre_dim,) or (frames, timbre_dim) float32, of the whole part as in `predict`.
        window, context: frames; 0 is WINDOW and CONTEXT.
        """
        spec, device, context = self.config.mel, self.outward.weight.device, context or CONTEXT
        kept = min(window or WINDOW, last - first)  # what is shorter than a window is not padded to one
        starts, length = range(first, last, kept), kept + 2 * context
        rolls = [self.encode(notes, start - context, length) for start in starts]
        points = (
            timbre[None, None] if timbre.ndim == 1 else np.stack([_held(timbre, s - context, length) for s in starts])
        )
        roll = torch.from_numpy(np.stack(rolls)).to(device)
        mel = self(roll, torch.from_numpy(np.ascontiguousarray(points)).to(device).expand(len(starts), -1, -1), context)
        mel = mel.float().clamp_min(spec.silence).cpu().numpy()
        return mel.reshape(-1, spec.n_mels)[: last - first]


def spans(frames: int) -> list[tuple[int, int]]:
    """What is predicted at a time, (first, last) frames: one window, so that the first sound is early, then eight at once."""
    edges = [0, *range(WINDOW, frames, WINDOW * WINDOWS_AT_ONCE), frames]
    return list(pairwise(edges)) if frames else []


def load_mel2mel(folder: Path, device: str = "cpu") -> tuple[Mel2Mel, str]:
    """The model in a folder, ready for inference, and the hash of its weights. Raises M2MError as core/checkpoint.py does."""
    config = read_config(folder, "mel2mel", Mel2MelConfig)
    model, digest = load_model(lambda: Mel2Mel(config), folder)
    if torch.device(device).type == "cpu":
        model.freeze()
    return model.to(device), digest


def _finite(values: Tensor) -> bool:
    """Whether all are; the sum, which is quick, tells it where it is finite itself."""
    return bool(values.sum().isfinite() or values.isfinite().all())


def _held(path: NDArray[np.float32], start: int, length: int) -> NDArray[np.float32]:
    """Frames start..start + length of a path that stays where it began before, and where it ended after."""
    return path[np.clip(np.arange(start, start + length), 0, len(path) - 1)]
