"""The classifier of instruments: what it hears in renderings, and how audio is cut for it."""

from __future__ import annotations

import numpy as np
import pytest

from m2m.core.errors import M2MError
from m2m.core.instrument_classifier import WINDOW, InstrumentClassifier, _windows
from m2m.core.testing.transcriber import scale


def test_the_scale_is_a_pianos_however_it_is_cut() -> None:
    classifier, wave = InstrumentClassifier(), scale(16_000)
    heard = classifier.classify([wave])
    assert heard.program in range(8)  # a piano's family
    assert 0 < heard.probability <= 1
    assert classifier.classify(iter(np.array_split(wave, 31))) == heard


def test_windows_are_whole() -> None:
    wave = np.arange(10, dtype=np.float32)
    assert [w.tolist() for w in _windows([wave[:3], wave[3:]], 4)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [w.tolist() for w in _windows([wave[:3]], 4)] == [[0, 1, 2, 0]]
    assert list(_windows([], 4)) == []


def test_silence_has_no_instrument() -> None:
    with pytest.raises(M2MError, match="silent"):
        InstrumentClassifier().classify([np.zeros(WINDOW * 128 * 2, np.float32)])
