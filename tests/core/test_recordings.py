"""Audio files in blocks: what they hold, at any rate, and what is no audio."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.recordings import BLOCK_SECONDS, Recording, resampled


def tone(rate: int, seconds: float, hz: float = 440.0) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_file_is_read_in_blocks(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone{suffix}"
    wave = tone(44_100, 3 * BLOCK_SECONDS + 0.5)
    soundfile.write(path, wave, 44_100)
    recording = Recording(path)
    blocks = list(recording.blocks())
    assert len(blocks) >= 4
    whole = np.concatenate(blocks)
    assert recording.seconds == pytest.approx(len(whole) / 44_100, abs=0.1)
    assert np.abs(whole[4410:-8820] - wave[4410 : len(whole) - 8820]).max() < 0.01


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = tone(8_000, 1.0), tone(8_000, 1.0, 300.0)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 8_000, subtype="FLOAT")
    np.testing.assert_allclose(
        np.concatenate(list(Recording(tmp_path / "two.wav").blocks())), (left + right) / 2, atol=1e-6
    )


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 96_000])
def test_another_rate_is_neither_longer_nor_later(rate: int) -> None:
    wave = tone(rate, 2.0)
    found = np.concatenate(list(resampled([wave[: rate // 3], wave[rate // 3 :]], rate, 16_000)))
    assert abs(len(found) - 32_000) <= 1
    np.testing.assert_allclose(found[1600:-1600], tone(16_000, 2.0)[1600 : len(found) - 1600], atol=1e-3)


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=8))
def test_cuts_make_no_difference(sizes: list[int]) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, sum(sizes)).astype(np.float32)
    parts = np.split(wave, np.cumsum(sizes)[:-1])
    empty = [np.empty(0, np.float32)]
    whole, cut = (np.concatenate([*empty, *resampled(blocks, 44_100, 16_000)]) for blocks in ([wave], parts))
    assert np.array_equal(whole, cut)


def test_nothing_stays_nothing() -> None:
    assert list(resampled([], 44_100, 16_000)) == []


def test_what_is_no_audio_is_told(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio at all")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "none.wav", np.zeros(0, np.float32), 16_000)
    soundfile.write(tmp_path / "slow.wav", np.zeros(9, np.float32), 100)
    for name, words in (
        ("text.wav", "cannot read"),
        ("empty.wav", "cannot read"),
        ("none.wav", "holds no audio"),
        ("slow.wav", "is at 100 Hz"),
        ("missing.wav", "cannot read"),
        (".", "not a regular file"),
    ):
        with pytest.raises(M2MError, match=words):
            Recording(tmp_path / name)


def test_samples_that_are_no_numbers_are_told(tmp_path: Path) -> None:
    wave = tone(16_000, 1.0)
    wave[500] = np.nan
    soundfile.write(tmp_path / "nan.wav", wave, 16_000, subtype="FLOAT")
    with pytest.raises(M2MError, match="NaN or infinite"):
        list(Recording(tmp_path / "nan.wav").blocks())
