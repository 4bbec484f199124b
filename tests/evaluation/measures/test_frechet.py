"""The Fréchet distance, against its formula and against what it is for."""

import numpy as np
import pytest

from m2m.evaluation.measures.frechet import features, frechet_distance

linalg = pytest.importorskip("scipy.linalg")


def test_the_distance_is_its_formula() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((60, 5)) @ draw.standard_normal((5, 5)), draw.standard_normal((50, 5)) * 2 + 1
    x, y = a / a.std(axis=0), b / a.std(axis=0)
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    wanted = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    assert frechet_distance(a, b) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_mean_moved_by_one_spread_in_each_of_five_directions_is_five() -> None:
    a = np.random.default_rng(1).standard_normal((200, 5))
    assert frechet_distance(a, a + a.std(axis=0)) == pytest.approx(5)


def test_few_windows_have_no_distance() -> None:
    assert np.isnan(frechet_distance(np.zeros((1, 3)), np.zeros((9, 3))))
    assert np.isfinite(frechet_distance(np.zeros((9, 3)), np.ones((9, 3))))  # no spread at all


def test_the_feature_hears_timbre_and_not_level() -> None:
    draw = np.random.default_rng(2)
    dark = np.convolve(draw.standard_normal(48_000), np.ones(8) / 8, "same").astype(np.float32) * 0.1
    bright = (draw.standard_normal(48_000) * 0.1).astype(np.float32)
    assert features(dark, 16_000).shape == (6, 26)
    assert np.abs(features(dark, 16_000) - features(0.5 * dark, 16_000)).max() < 0.05
    same = np.convolve(draw.standard_normal(48_000), np.ones(8) / 8, "same").astype(np.float32) * 0.1
    near, far = (frechet_distance(features(dark, 16_000), features(w, 16_000)) for w in (same, bright))
    assert near < far / 5
