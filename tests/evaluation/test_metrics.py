"""Measures, with inputs built so that the answer is known."""

import sys

import numpy as np
import pytest

from m2m.core.errors import M2MError
from m2m.evaluation.metrics import constant_q_correlation, log_mel_error, pearson, tanh_log_error

SILENCE = np.float32(np.log(1e-5))


def test_the_error_of_a_log_mel() -> None:
    true = np.zeros((4, 3), np.float32)
    assert log_mel_error(true, true) == 0
    assert log_mel_error(true + np.array([1, -2, 0], np.float32), true) == pytest.approx(1.0)


def test_the_papers_error() -> None:
    true, predicted = np.zeros((5, 2), np.float32), np.zeros((5, 2), np.float32)
    predicted[:, 1] = -4.0
    assert tanh_log_error(true, true) == 0
    assert tanh_log_error(predicted, true) == pytest.approx(np.tanh(1.0) ** 2 / 2)
    assert tanh_log_error(predicted, true) == tanh_log_error(true, predicted)


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


def tones(*events: tuple[float, float]) -> np.ndarray:
    """(Hz, seconds) tones of half a second, in 3 s at 16 kHz."""
    wave, t = np.zeros(48_000), np.arange(8_000) / 16_000
    for hz, start in events:
        at = round(start * 16_000)
        wave[at : at + 8_000] += 0.3 * np.hanning(8_000) * np.sin(2 * np.pi * hz * t)
    return wave.astype(np.float32)


def test_the_papers_measure_of_a_rendering() -> None:
    pytest.importorskip("librosa", reason="librosa is not installed")
    a = tones((440.0, 0.2), (880.0, 1.2), (220.0, 2.2))
    same = constant_q_correlation(a, -0.5 * a, 16_000)
    assert same.shape == (84,)
    assert np.nanmin(same) == pytest.approx(1.0)
    other = constant_q_correlation(a, tones((440.0, 0.2), (880.0, 0.2), (220.0, 2.2)), 16_000)
    a4, a5 = 45, 57  # semitones above C1
    assert other[a4] > 0.95
    assert other[a5] < 0.2


def test_the_papers_measure_needs_librosa(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(M2MError, match=r"needs librosa: pip install 'm2m\[eval\]'"):
        constant_q_correlation(np.zeros(100, np.float32), np.zeros(100, np.float32), 16_000)
