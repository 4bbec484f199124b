import importlib.util
from pathlib import Path

import numpy as np
import pytest
from m2m_basic_pitch import transcriber
from m2m_basic_pitch.decoding import Decoder

from m2m.core.errors import UnavailableError
from m2m.core.testing import TranscriberConformance

LACKS = [name for name in ("onnxruntime", "basic_pitch") if importlib.util.find_spec(name) is None]
A4 = 69 - 21


@pytest.mark.skipif(bool(LACKS), reason=f"{' and '.join(LACKS)} not installed, see README.md")
class TestContract(TranscriberConformance):
    name = "basic-pitch"


def decoded(onsets, frames, cut=1000):
    decoder = Decoder(0.01, 0.5, 0.3, 11)
    found = [
        note for at in range(0, len(onsets), cut) for note in decoder.feed(onsets[at : at + cut], frames[at : at + cut])
    ]
    return [(round(s, 6), round(e, 6), key) for s, e, key, *_ in (*found, *decoder.finish())]


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_notes_begin_at_peaks_and_end_where_frames_fade(cut):
    onsets, frames = np.zeros((2, 200, 88), np.float32)
    onsets[[10, 60], A4] = 0.9
    frames[10:40, A4] = 0.8
    frames[33:38, A4] = 0.1  # a gap that is shorter than its patience
    frames[60:150, A4] = 0.8
    onsets[100, A4] = 0.6  # struck again
    onsets[20, A4 + 1] = 0.9
    frames[20:30, A4 + 1] = 0.8  # too short
    onsets[199, A4 + 2] = 0.9  # without a length
    assert decoded(onsets, frames, cut) == [(0.1, 0.4, 69), (0.6, 1.0, 69), (1.0, 1.5, 69)]


def test_a_note_that_sounds_at_the_end_is_told():
    onsets, frames = np.zeros((2, 50, 88), np.float32)
    onsets[10, A4] = frames[10:, A4] = 0.9
    assert decoded(onsets, frames) == [(0.1, 0.5, 69)]


def test_a_missing_model_is_one_line(monkeypatch):
    monkeypatch.setattr(transcriber.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install --no-deps basic-pitch"):
        transcriber.find_model()


def test_a_package_without_the_model_is_the_same(monkeypatch, tmp_path: Path):
    (tmp_path / "basic_pitch").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    if not LACKS:
        pytest.skip("basic-pitch is installed")
    with pytest.raises(UnavailableError):
        transcriber.find_model()
