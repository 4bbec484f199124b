"""Training runs at sizes where one takes a fraction of a second, and what their tests share."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.system.run_config import load_run
from m2m.training.mel2mel import Mel2MelRun
from m2m.training.parallel_wavenet import StudentRun
from m2m.training.transcriber import TranscriberRun
from m2m.training.wavenet import WaveNetRun

INSTRUMENTS = {"grand-piano": 0, "trumpet": 56}  # of the fixture `data`
MEL2MEL: dict[str, object] = {
    "model.hidden": 8,
    "model.timbre_dim": 2,
    "model.encoder": "onsets-frames",
    "model.instruments": INSTRUMENTS,
    "sequence": 50,
    "validation_seconds": 1.0,
    "loop.steps": 6,
    "loop.batch_size": 2,
    "loop.warmup": 2,
    "loop.checkpoint_every": 3,
    "loop.validate_every": 3,
    "loop.precision": "float32",
}
WAVENET: dict[str, object] = {
    "instruments": INSTRUMENTS,
    "model.layers": 6,
    "model.dilation_cycle": 6,
    "model.residual": 16,
    "model.skip": 16,
    "model.classes": 64,
    "sequence": 8,
    "validation_segments": 1,
    "validation_seconds": 0.05,
    "loop.batch_size": 2,
    "loop.warmup": 1,
    "loop.threads": 1,
}
TRANSCRIBER: dict[str, object] = {
    "model.channels": 2,
    "model.features": 16,
    "model.hidden": 8,
    "sequence": 30,
    "validation_seconds": 3.0,
    "loop.batch_size": 2,
    "loop.warmup": 1,
    "loop.threads": 1,
    "loop.precision": "float32",
}
STUDENT: dict[str, object] = {
    "instruments": INSTRUMENTS,
    "model.flows": "4,4",
    "model.dilation_cycle": 4,
    "model.residual": 8,
    "model.skip": 8,
    "sequence": 16,
    "validation_segments": 1,
    "validation_seconds": 0.1,
    "sound_seconds": 0.05,
    "adversary_layers": 2,
    "adversary_channels": 4,
    "loop.batch_size": 2,
    "loop.warmup": 1,
    "loop.threads": 1,
}


def tiny_mel2mel(**changes: object) -> Mel2MelRun:
    """A run of Mel2Mel. changes: names of its config, with "__" for a dot, to values."""
    return load_run(Mel2MelRun, None, MEL2MEL | dotted(changes))


def tiny_wavenet(**changes: object) -> WaveNetRun:
    """A run of WaveNet, likewise."""
    return load_run(WaveNetRun, None, WAVENET | dotted(changes))


def tiny_student(**changes: object) -> StudentRun:
    """A run of WaveNet's student, likewise."""
    return load_run(StudentRun, None, STUDENT | dotted(changes))


def tiny_transcriber(**changes: object) -> TranscriberRun:
    """A run of Onsets and Frames, likewise."""
    return load_run(TranscriberRun, None, TRANSCRIBER | dotted(changes))


def dotted(changes: dict[str, object]) -> dict[str, object]:
    """{"loop__steps": 3} as {"loop.steps": 3}."""
    return {name.replace("__", "."): value for name, value in changes.items()}


def untrained_mel2mel(folder: Path, instruments: dict[str, int]) -> Path:
    """A Mel2Mel with random weights, in a folder."""
    torch.manual_seed(0)
    config = Mel2MelConfig(hidden=8, instruments=instruments)
    save_model(folder, "mel2mel", config, Mel2Mel(config), "")
    return folder


def same_tensors(one: Path, two: Path) -> None:
    """Two files of tensors are the same to the bit."""
    first, second = load_file(one), load_file(two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def tone(hertz: float, level: float = 0.3) -> Tensor:
    """A sine at 16 kHz: (1, 8192)."""
    return level * torch.sin(2 * math.pi * hertz * torch.arange(8192) / 16_000)[None]
