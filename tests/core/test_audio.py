from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.audio import (
    audio_bytes,
    holds,
    mu_law_decode,
    mu_law_encode,
    read_audio,
    read_tags,
    tame,
    wav_header,
    write_audio,
)
from m2m.core.choices import SampleFormat
from m2m.core.errors import M2MError

TAGS = {"m2m": "0.1.0", "seed": 3, "score": {"name": "Für Elise"}}
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.float32)

STEREO = np.stack([TONE, -0.25 * TONE], axis=1)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_two_channels_survive_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone{suffix}"
    write_audio(path, STEREO, 16_000, tags=TAGS)
    assert read_tags(path) == TAGS
    wave, _ = soundfile.read(path, dtype="float32")
    assert wave.shape[1] == 2
    assert np.corrcoef(wave[4_000:12_000].T)[0, 1] < -0.99  # they are kept apart
    if suffix in (".wav", ".flac"):
        assert np.abs(wave - STEREO).max() < 1e-4
        assert np.abs(read_audio(path)[0] - STEREO.mean(axis=1)).max() < 1e-4
        assert holds(path, [TONE, STEREO])
        assert not holds(path, [STEREO.mean(axis=1), STEREO[:, ::-1]])
        assert not holds(path, [STEREO[:, :1].copy()])


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_audio_and_tags_survive_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone{suffix}"
    write_audio(path, TONE, 16_000, tags=TAGS)
    wave, rate = read_audio(path)
    assert rate == 16_000
    assert read_tags(path) == TAGS
    if suffix in (".wav", ".flac"):
        assert np.abs(wave - TONE).max() < 1e-4
    else:
        assert np.sqrt((wave[:16_000] ** 2).mean()) == pytest.approx(np.sqrt((TONE**2).mean()), rel=0.02)
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]  # no temporary file is left


@pytest.mark.parametrize(
    ("suffix", "sample_format", "subtype"),
    [(".wav", "float", "FLOAT"), (".wav", "pcm32", "PCM_32"), (".flac", "pcm24", "PCM_24"), (".wav", None, "PCM_16")],
)
def test_sample_formats(tmp_path: Path, suffix: str, sample_format: SampleFormat | None, subtype: str) -> None:
    path = tmp_path / f"tone{suffix}"
    write_audio(path, TONE, 16_000, tags=TAGS, sample_format=sample_format)
    assert soundfile.info(path).subtype == subtype


def test_wav_in_memory_is_the_same_file(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", TONE, 16_000, tags=TAGS)
    assert (tmp_path / "a.wav").read_bytes() == audio_bytes(".wav", TONE, 16_000, tags=TAGS)


@pytest.mark.parametrize(
    ("name", "sample_format", "words"),
    [
        ("a.xyz", None, "cannot write .xyz"),
        ("a", None, "without an extension"),
        ("a.flac", "float", "use pcm16 or pcm24"),
        ("a.mp3", "pcm16", "leave the format out"),
    ],
)
def test_formats_that_do_not_exist(tmp_path: Path, name: str, sample_format: SampleFormat | None, words: str) -> None:
    with pytest.raises(M2MError, match=words):
        write_audio(tmp_path / name, TONE, 16_000, tags=TAGS, sample_format=sample_format)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("mine")
    with pytest.raises(M2MError, match="exists; overwrite it with -y"):
        write_audio(path, TONE, 16_000, tags=TAGS)
    assert path.read_text() == "mine"
    write_audio(path, TONE, 16_000, tags=TAGS, overwrite=True)
    assert soundfile.info(path).frames == 16_000


def test_integer_files_never_clip_silently(tmp_path: Path) -> None:
    with pytest.raises(M2MError, match="would be clipped"):
        write_audio(tmp_path / "a.wav", 3 * TONE, 16_000, tags=TAGS)
    assert not list(tmp_path.iterdir())
    write_audio(tmp_path / "a.wav", 3 * TONE, 16_000, tags=TAGS, sample_format="float")
    assert np.abs(read_audio(tmp_path / "a.wav")[0]).max() == pytest.approx(1.5, abs=1e-3)


def test_peaks_are_tamed_as_asked_and_said() -> None:
    loud = 4 * TONE
    rescaled, said = tame(loud, "rescale")
    assert np.abs(rescaled).max() == 1.0
    assert np.corrcoef(rescaled, loud)[0, 1] == pytest.approx(1.0)
    assert "6.0 dB over" in said
    clamped, said = tame(loud, "clamp")
    assert np.abs(clamped).max() == 1.0
    assert "samples were clamped" in said
    assert tame(loud, "none")[0] is loud
    assert tame(TONE, "rescale")[0] is TONE


def test_both_channels_come_down_by_one_gain() -> None:
    rescaled, said = tame(4 * STEREO, "rescale")
    assert np.allclose(rescaled, 2 * STEREO, atol=1e-6)
    assert "6.0 dB over" in said
    clamped, said = tame(4 * STEREO, "clamp")
    assert np.abs(clamped).max() == 1.0
    assert np.array_equal(clamped[:, 1], 4 * STEREO[:, 1])


def test_foreign_files_have_no_provenance(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", TONE, 16_000)
    with pytest.raises(M2MError, match="no m2m tags"):
        read_tags(tmp_path / "a.wav")
    (tmp_path / "b.wav").write_text("no audio")
    with pytest.raises(M2MError, match="cannot read"):
        read_tags(tmp_path / "b.wav")


@given(st.floats(-1, 1))
def test_mu_law_is_its_inverse_up_to_a_step(x: float) -> None:
    code = mu_law_encode(np.array([x]))
    assert 0 <= code[0] <= 255
    back = float(mu_law_decode(code)[0])
    assert abs(back - x) <= 0.5 / 255 * 2 * np.log(256) * (abs(x) + 1 / 255) * 1.1  # half a step of the companded scale
    assert mu_law_encode(np.array([back]))[0] == code[0]


def test_mu_law_agrees_with_librosa(librosa: Any) -> None:
    x = np.linspace(-1, 1, 1001)
    companded = librosa.mu_compress(x, mu=255, quantize=False)
    assert np.abs(mu_law_decode(mu_law_encode(x)) - x).max() < 0.03
    assert np.array_equal(mu_law_encode(x), np.floor((companded + 1) / 2 * 255 + 0.5).astype(int))


def test_a_wav_that_is_sent_as_it_is_made_is_a_wav() -> None:
    header = wav_header(len(TONE), 16_000)
    wave, rate = soundfile.read(io.BytesIO(header + TONE.tobytes()), dtype="float32")
    assert rate == 16_000
    assert np.array_equal(wave, TONE)
    assert soundfile.info(io.BytesIO(header + TONE.tobytes())).subtype == "FLOAT"
    stereo = wav_header(len(STEREO), 16_000, 2) + STEREO.tobytes()
    wave, rate = soundfile.read(io.BytesIO(stereo), dtype="float32")
    assert rate == 16_000
    assert np.array_equal(wave, STEREO)
