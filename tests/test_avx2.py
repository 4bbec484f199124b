"""What most laptops have, a processor with AVX2 and no bfloat16: every vocoder renders and every model trains on it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import M2M
from datasets import write_midi
from forks import Forks
from training_runs import INSTRUMENTS

from m2m.core.system import processor

AVX2 = {processor.VARIABLE: "avx2", **processor.LIBRARIES}
TRAINED = {
    "mel2mel": ("model.hidden=8", "model.timbre_dim=2", "validation_seconds=1", "sequence=50",
                f"model.instruments={json.dumps(INSTRUMENTS)}"),
    "wavenet": ("model.layers=4", "model.dilation_cycle=4", "model.residual=32", "model.skip=32", "sequence=8",
                "validation_segments=1", "validation_seconds=0.05", f"instruments={json.dumps(INSTRUMENTS)}"),
    "parallel-wavenet": ("model.flows=4", "model.dilation_cycle=4", "model.residual=8", "model.skip=8", "sequence=16",
                         "validation_segments=1", "validation_seconds=0.1", "sound_seconds=0.05",
                         f"instruments={json.dumps(INSTRUMENTS)}"),
}  # fmt: skip


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    """Forks of a process whose libraries have seen such a processor from their start."""
    forks = Forks(sys.executable, os.environ | AVX2)
    yield forks
    forks.close()


@pytest.mark.parametrize("vocoder", ["griffin-lim", "wavenet", "parallel-wavenet"])
def test_every_vocoder_renders(m2m: M2M, tmp_path: Path, vocoder: str) -> None:
    write_midi(tmp_path / "work" / "a.mid", (60, 64))
    done = m2m("render", "a.mid", "--vocoder", vocoder, **AVX2)
    assert done.returncode == 0, done.stderr
    wave, _ = soundfile.read(tmp_path / "work" / "a.wav")
    assert np.sqrt(np.square(wave).mean()) > 1e-3


@pytest.mark.parametrize("model", TRAINED)
def test_every_model_trains(m2m: M2M, tmp_path: Path, data: Path, model: str) -> None:
    values = [word for value in (*TRAINED[model], "loop.batch_size=2") for word in ("--set", value)]
    done = m2m("train", model, str(data), "-o", "run", "--steps", "1", *values, **AVX2)
    assert done.returncode == 0, done.stderr
    assert "in float32" in done.stderr
    assert (tmp_path / "work" / "run" / "best" / "model.safetensors").is_file()
