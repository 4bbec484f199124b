"""Onsets and Frames: its decoder on probabilities made by hand, its windows, and its model's folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import log_mel
from m2m.core.transcriber import plain_notes
from m2m.transcribers.onsets_frames.decoding import SUPPORT, NoteDecoder
from m2m.transcribers.onsets_frames.network import KIND, OnsetsFramesConfig, OnsetsFramesNetwork
from m2m.transcribers.onsets_frames.transcriber import CONTEXT, WINDOW, OnsetsFrames

Array = NDArray[np.float32]
A4 = 69 - 21


def probabilities(frames: int, *notes: tuple[int, int, int]) -> list[Array]:
    """Onsets, frames and velocities of (key from 0, first frame, last) notes."""
    onset, frame, velocity = (np.zeros((frames, 88), np.float32) for _ in range(3))
    for key, first, last in notes:
        onset[first, key], frame[first:last, key], velocity[first, key] = 0.9, 0.8, 0.5
    return [onset, frame, velocity]


def decoded(arrays: list[Array], seconds: float = 10.0, cut: int | None = None) -> list[tuple[float, float, int, int]]:
    decoder = NoteDecoder(0.1, 0.5, 0.5)
    size = cut or len(arrays[0])
    found = [decoder.feed(*(x[at : at + size] for x in arrays)) for at in range(0, len(arrays[0]), size)]
    rows = plain_notes(np.concatenate([*found, decoder.finish(seconds)])).tolist()
    return [(round(start, 6), round(end, 6), key, velocity) for start, end, key, velocity in rows]


@pytest.mark.parametrize("cut", [None, 1, 2, 7])
def test_notes_are_where_onsets_and_frames_say(cut: int | None) -> None:
    arrays = probabilities(100, (A4, 0, 10), (A4, 20, 40), (A4, 40, 50), (0, 45, 99), (87, 60, 61))
    assert decoded(arrays, cut=cut) == [
        (0.0, 1.0, 69, 64),
        (2.0, 4.0, 69, 64),
        (4.0, 5.0, 69, 64),
        (4.5, 9.9, 21, 64),
        (6.0, 6.1, 108, 64),
    ]


def test_an_onset_without_a_sound_is_none() -> None:
    onset, frame, velocity = probabilities(30, (A4, 5, 6))
    frame[:] = 0
    assert decoded([onset, frame, velocity]) == []
    frame[5 + SUPPORT - 1 : 20, A4] = 0.8  # seen late, but in time
    assert [note[:2] for note in decoded([onset, frame, velocity])] == [(0.5, 2.0)]


def test_what_sounds_at_the_end_ends_with_the_audio() -> None:
    assert decoded(probabilities(20, (A4, 3, 20), (A4 + 1, 19, 20)), seconds=1.95) == [
        (0.3, 1.95, 69, 64),
        (1.9, 1.95, 70, 64),
    ]


def test_windows_tile_the_audio_and_their_mels_are_the_wholes() -> None:
    transcriber = OnsetsFrames()
    spec = transcriber.config.mel
    wave = np.random.default_rng(0).uniform(-0.3, 0.3, (2 * WINDOW + 90) * spec.hop_length + 77).astype(np.float32)
    whole = log_mel(wave, spec)
    at = 0
    for mel, first, last in transcriber._windows(iter(np.array_split(wave, 23))):
        np.testing.assert_allclose(mel[first:last], whole[at : at + last - first], atol=1e-4)
        assert first == min(at, CONTEXT)
        at += last - first
    assert at == len(whole)


def test_a_model_of_another_size_is_loaded_by_its_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = OnsetsFramesConfig(channels=2, features=8, hidden=4)
    save_model(tmp_path / "tiny", KIND, config, OnsetsFramesNetwork(config), "A card.")
    tiny = OnsetsFrames(OnsetsFrames.Options(model=str(tmp_path / "tiny")))
    assert tiny.config == config
    assert tiny.provenance["weights"]
    with pytest.raises(M2MError, match="is not a onsets-frames model"):
        OnsetsFrames(OnsetsFrames.Options(model="mel2mel-film"))


def test_options_go_over_the_models_thresholds() -> None:
    deaf = OnsetsFrames(OnsetsFrames.Options(onset_threshold=0.999))
    rng = np.random.default_rng(0)
    wave = rng.uniform(-0.1, 0.1, 16_000).astype(np.float32)
    assert len(deaf.transcribe(wave, 16_000)) == 0
