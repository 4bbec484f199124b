"""Mel2Mel and its checkpoints, at sizes where everything can be looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from m2m.conditioners.film import FiLM
from m2m.core import checkpoint, mel2mel
from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import CONTEXT, PREVIEW_CONTEXT, WINDOW, Mel2Mel, Mel2MelConfig, load_mel2mel
from m2m.core.model_folders import CONFIG
from m2m.core.score import note_array

SMALL = Mel2MelConfig(hidden=8, timbre_dim=3)


@pytest.fixture
def model() -> Mel2Mel:
    torch.manual_seed(0)
    return Mel2Mel(SMALL).eval()


def notes_over(seconds: float) -> np.ndarray:
    draw = np.random.default_rng(0)
    starts = np.arange(0, seconds, 0.2)
    return note_array((s, s + 0.5, int(draw.integers(40, 90)), 90) for s in starts)


def test_it_is_the_papers_network(model: Mel2Mel) -> None:
    """The forward pass by its definition, with PyTorch's own LSTM as the oracle of the recurrent part."""
    roll, timbre = torch.rand(2, 7, 528), torch.randn(2, 1, 3)
    before, after = cast(FiLM, model.before), cast(FiLM, model.after)
    features = before.gamma(timbre) * (roll @ model.inward.weight.T + model.inward.bias) + before.beta(timbre)
    features, _ = model.lstm(features)
    expected = (after.gamma(timbre) * features + after.beta(timbre)) @ model.outward.weight.T + model.outward.bias
    assert torch.allclose(model(roll, timbre), expected, atol=1e-6)


def test_the_reference_size() -> None:
    parameters = sum(p.numel() for p in Mel2Mel(Mel2MelConfig(encoder="onsets-frames", timbre_dim=2)).parameters())
    assert 1_100_000 < parameters < 1_300_000


@pytest.mark.parametrize("conditioner", ["film", "concat"])
def test_timbre_changes_the_mel_and_moves_frame_by_frame(conditioner: str) -> None:
    torch.manual_seed(0)
    model = Mel2Mel(Mel2MelConfig(hidden=8, timbre_dim=3, conditioner=conditioner)).eval()
    notes, points = notes_over(2), np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)
    first, second = (model.predict(notes, point, 250) for point in points)
    assert np.abs(first - second).max() > 0.01
    still = model.predict(notes, np.repeat(points[:1], 250, axis=0), 250)
    assert np.allclose(still, first, atol=1e-5)
    path = np.repeat(points, 125, axis=0)
    moved = model.predict(notes, path, 250)
    assert np.abs(moved[:50] - first[:50]).max() < np.abs(moved[-50:] - first[-50:]).max()


def test_a_long_part_in_windows_equals_one_pass(model: Mel2Mel, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = 2 * WINDOW + 100
    notes, timbre = notes_over(frames / 125), np.zeros(3, np.float32)
    windowed = model.predict(notes, timbre, frames)
    monkeypatch.setattr(mel2mel, "WINDOW", 4 * WINDOW)
    whole = model.predict(notes, timbre, frames)
    assert windowed.shape == whole.shape == (frames, 80)
    assert np.abs(windowed - whole).max() < 1e-3  # what lies further off than the context has been forgotten


def test_a_preview_is_a_stretch_of_the_whole(model: Mel2Mel) -> None:
    notes, path = notes_over(6), np.random.default_rng(0).standard_normal((700, 3)).astype(np.float32)
    whole = model.predict(notes, path, 700)
    assert np.abs(model.predict_span(notes, path, 200, 500, window=80) - whole[200:500]).max() < 1e-4
    preview = model.predict_span(notes, path, 200, 500, window=80, context=PREVIEW_CONTEXT)
    assert preview.shape == (300, 80)
    assert np.abs(preview - whole[200:500]).max() < 0.01


@pytest.mark.parametrize("frames", [0, 1, CONTEXT, WINDOW, WINDOW + 1])
def test_any_length(model: Mel2Mel, frames: int) -> None:
    mel = model.predict(notes_over(1), np.zeros(3, np.float32), frames)
    assert mel.shape == (frames, 80)
    assert (mel >= SMALL.mel.silence).all()


def test_a_saved_model_predicts_the_same(model: Mel2Mel, tmp_path: Path) -> None:
    save_model(tmp_path / "m", "mel2mel", SMALL, model, "# A card\n")
    loaded, digest = load_mel2mel(tmp_path / "m")
    assert loaded.config == SMALL
    assert digest == checkpoint.weights_hash(tmp_path / "m")
    notes, point = notes_over(1), np.ones(3, np.float32)
    assert np.abs(loaded.predict(notes, point, 125) - model.predict(notes, point, 125)).max() < 0.01  # float16 weights
    assert json.loads((tmp_path / "m" / CONFIG).read_text())["mel_hash"] == SMALL.mel.hash


@pytest.mark.parametrize(("where", "kept"), [("both", 2), ("before", 1), ("after", 1), ("none", 0)])
def test_timbre_comes_in_where_the_config_says(where: str, kept: int) -> None:
    model = Mel2Mel(Mel2MelConfig(hidden=8, conditioned=where)).eval()  # type: ignore[arg-type]
    assert sum(name in ("before", "after") for name, _ in model.named_children()) == kept
    roll = torch.rand(1, 20, 528)
    first, second = (model(roll, model.timbre.weight[i][None, None]) for i in (0, 1))
    assert torch.equal(first, second) == (where == "none")
