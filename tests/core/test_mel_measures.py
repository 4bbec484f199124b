"""Measures between two mels, with inputs built so that the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from m2m.core.mel_measures import log_mel_error, paper_tanh_log_abs, pearson, variance_ratio

SILENCE = np.float32(np.log(1e-5))


def test_the_error_of_a_log_mel() -> None:
    true = np.zeros((4, 3), np.float32)
    assert log_mel_error(true, true) == 0
    assert log_mel_error(true + np.array([1, -2, 0], np.float32), true) == pytest.approx(1.0)


def test_the_variance_of_what_is_blurred() -> None:
    """Half a swing is a quarter of the variance; a band that holds still, but for rounding, has nothing to be blurred."""
    true = np.stack([np.sin(np.arange(100)), 3 * np.cos(np.arange(100)), np.full(100, -11.5)], axis=1)
    true = true.astype(np.float32).astype(np.float16).astype(np.float32)
    true[::2, 2] += 0.0078  # float16's step there
    predicted = true * [0.5, 2.0, 0.0] + [7.0, 0.0, 0.0]
    assert variance_ratio(predicted, true) == pytest.approx([0.25, 4.0, np.nan], nan_ok=True)
    assert variance_ratio(np.zeros_like(true), true)[:2].tolist() == [0.0, 0.0]


def test_the_papers_error() -> None:
    true, predicted = np.zeros((5, 2), np.float32), np.zeros((5, 2), np.float32)
    predicted[:, 1] = -4.0
    assert paper_tanh_log_abs(true, true) == 0
    assert paper_tanh_log_abs(predicted, true) == pytest.approx(np.tanh(1.0) ** 2 / 2)
    assert paper_tanh_log_abs(predicted, true) == paper_tanh_log_abs(true, predicted)


def test_pearson_is_numpys() -> None:
    draw = np.random.default_rng(0)
    a, b = draw.standard_normal((2, 50, 7)).astype(np.float32)
    b += a
    expected = [np.corrcoef(a[:, k].astype(float), b[:, k].astype(float))[0, 1] for k in range(7)]
    assert pearson(a, b) == pytest.approx(expected, abs=1e-12)
    assert pearson(a, 3 - 2 * a) == pytest.approx(-1.0)
    assert pearson(1e-6 * a, b) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("frames", [10, 10_000])
def test_pearson_where_nothing_moves(frames: int) -> None:
    """Also where the constant is float32's and long, whose own mean is not the constant."""
    draw = np.random.default_rng(0)
    true, predicted = (draw.standard_normal((frames, 4)).astype(np.float32) for _ in range(2))
    true[:, 1] = predicted[:, 2] = true[:, 3] = predicted[:, 3] = SILENCE
    found = pearson(true, predicted)
    assert np.isfinite(found[0])
    assert np.isnan(found[[1, 3]]).all()  # there is nothing to follow
    assert found[2] == 0  # there is, and nothing follows
