"""benches/timbre_space.py, with features, mels and a model whose answers are known."""

import json
from pathlib import Path

import numpy as np
import pytest
import timbre_space as bench
from click.testing import CliRunner

from m2m.core.checkpoint import save_model
from m2m.core.mel import MelSpec
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig


def test_features_are_of_the_frames_that_sound() -> None:
    spec = MelSpec()
    mel = np.full((6, 80), spec.silence, np.float32)
    mel[:2, 0] = [-6.0, -4.0]
    mel[3, 5] = -7.0  # below -60 dB
    features = bench.features(mel, spec)
    assert features[0] == pytest.approx(-5.0)
    assert features[80] == pytest.approx(1.0)
    assert features[1:80] == pytest.approx(spec.silence)
    assert bench.features(mel[2:], spec)[80:].max() > 0  # of a mel in which nothing sounds, all frames


def test_whitening_looks_through_what_pieces_have_in_common() -> None:
    """Instruments lie 1 apart in the first feature, pieces farther apart in a direction that both features tell of."""
    draw = np.random.default_rng(0)
    pieces = 1.5 * draw.standard_normal((60, 1, 1)) + 0.1 * draw.standard_normal((60, 3, 2))
    known, test = np.split(pieces + np.arange(3)[:, None] * [1.0, 0.0], [40])
    rightly = [np.trace(bench.confusion(known, test, way(known))) for way in (bench.own_spread, bench.whitening)]
    assert rightly[0] < 45
    assert rightly[1] > 55  # of 60


def test_rows_are_the_truth_and_columns_what_was_named() -> None:
    known = np.array([[[0.0], [1.0], [10.0]]])
    heard = np.array([[[0.9], [1.1], [9.0]], [[0.1], [0.2], [8.0]]])
    assert bench.confusion(known, heard, np.eye(1)).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 2]]


@pytest.mark.parametrize(
    ("ends", "middle", "tolerance", "inside"),
    [
        ((500.0, 900.0), 700.0, 0.0, True),
        ((900.0, 500.0), 700.0, 0.0, True),
        ((500.0, 900.0), 930.0, 0.0, False),
        ((500.0, 900.0), 930.0, 0.05, True),
        ((500.0, 900.0), 470.0, 0.05, False),
    ],
)
def test_between(ends: tuple[float, float], middle: float, tolerance: float, inside: bool) -> None:
    assert bench.between(ends, middle, tolerance) == inside


def test_a_whole_run(data: Path, tmp_path: Path) -> None:
    """On the files that the instruments are known from, true mels are named without fail."""
    config = Mel2MelConfig(hidden=4, timbre_dim=2, instruments={"grand-piano": 0, "trumpet": 56})
    save_model(tmp_path / "model", "mel2mel", config, Mel2Mel(config), "")
    arguments = [str(data), str(tmp_path / "model"), "--split", "validation", "--seconds", "1", "--files", "1"]
    done = CliRunner().invoke(bench.main, [*arguments, "--json", str(tmp_path / "figures.json")])
    assert done.exit_code == 0, done.output
    assert "true 100.0 % of 2" in done.stdout
    assert "within 5 %: " in done.stdout
    (figures,) = json.loads((tmp_path / "figures.json").read_text()).values()
    assert figures["instruments"] == ["grand-piano", "trumpet"]
    assert figures["confusion"]["whitened"]["true"] == [[1, 0], [0, 1]]
    (pair,) = figures["pairs"]
    assert pair["pair"] == ["grand-piano", "trumpet"]
    assert all(100 < hertz < 8000 for hertz in (*pair["ends"], pair["middle"]))
