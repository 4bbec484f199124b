"""A recording's notes by a transcriber by name: held to the contract, and a score that renders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from m2m.core.errors import M2MError
from m2m.core.notes import note_array
from m2m.core.score import read_score
from m2m.core.testing.transcriber import SCALE, scale, scale_notes
from m2m.core.transcription import Scribe, Transcription, write_midi

STRANGER = """
import numpy as np
from m2m.core.transcriber import Transcriber, transcribed_notes

class Encoder(Transcriber):
    API_VERSION = 1
    sample_rate = 16000

    def stream(self, blocks, sample_rate):
        for block in blocks:
            yield {notes}
"""


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ("[(0.0, 1.0, 60, 90, 1.0)]", "notes as of transcribed_notes were wanted"),
        ("transcribed_notes([(0.0, 1.0, 12, 90, 1.0)])", "beyond keys 21 to 108"),
        ("transcribed_notes([(0.0, 1.0, 60, 0, 1.0)])", "velocities 1 to 127"),
        ("transcribed_notes([(1.0, 1.0, 60, 90, 1.0)])", "has no length"),
        ("transcribed_notes([(-1.0, 1.0, 60, 90, 1.0)])", "before the beginning"),
        ("transcribed_notes([(0.0, np.nan, 60, 90, 1.0)])", "has no length"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_stranger_that_breaks_the_contract_is_named(install: Callable[..., Path], notes: str, words: str) -> None:
    install("stranger", STRANGER.format(notes=notes), group="m2m.transcribers")
    with pytest.raises(M2MError, match=rf"stranger 1\.0 .*{words}"):
        list(Scribe("stranger").stream([np.zeros(100, np.float32)], 16_000))


def test_a_recording_becomes_a_score_that_renders(tmp_path: Path) -> None:
    import m2m

    stereo = np.stack([scale(44_100)] * 2, axis=1)
    soundfile.write(tmp_path / "scale.flac", stereo, 44_100)
    found = Scribe().transcribe(tmp_path / "scale.flac")
    assert found.notes["pitch"].tolist() == scale_notes()["pitch"].tolist()
    assert found.seconds == pytest.approx(len(stereo) / 44_100)
    assert found.sureness is not None
    assert 0.3 <= found.sureness <= 1
    write_midi(tmp_path / "scale.mid", found.score())
    read = read_score(tmp_path / "scale.mid")
    assert not read.omissions
    assert np.abs(read.tracks[0].notes["start"] - found.notes["start"]).max() < 1e-3
    rendering = m2m.render(read, timbre="trumpet", vocoder_options={"iterations": 1})
    assert not rendering.omissions
    with pytest.raises(M2MError, match="exists"):
        write_midi(tmp_path / "scale.mid", found.score())


@pytest.mark.parametrize(
    ("wave", "rate", "notes"),
    [
        (np.zeros(80), 16_000, 0),  # 5 ms
        (np.full(16_000, 0.9), 16_000, 0),  # the zero line is elsewhere
        (np.clip(20 * scale(16_000), -1, 1), 16_000, None),  # clipped
        (scale(16_000)[::2], 8_000, None),
        (scale(16_000) + 0.2, 16_000, 8),
    ],
)
def test_odd_audio_has_a_sensible_result(tmp_path: Path, wave: np.ndarray, rate: int, notes: int | None) -> None:
    soundfile.write(tmp_path / "odd.wav", wave, rate)
    found = Scribe().transcribe(tmp_path / "odd.wav").notes
    if notes is None:  # most of the scale's keys, and perhaps more
        assert len(set(SCALE) & set(found["pitch"].tolist())) >= 6
    else:
        assert len(found) == notes
    write_midi(tmp_path / "odd.mid", Transcription(found, np.ones(len(found), np.float32), 1.0).score())
    assert len(read_score(tmp_path / "odd.mid").tracks) == bool(len(found))


def test_a_key_struck_again_ends_the_note_before() -> None:
    notes = note_array([(0.0, 2.0, 60, 90), (1.0, 3.0, 60, 90)])
    (track,) = Transcription(notes, np.ones(2, np.float32), 3.0).score(program=56).tracks
    assert track.notes["end"].tolist() == [1.0, 3.0]
    assert track.program == 56


def test_how_sure_it_was() -> None:
    notes = note_array([(0.0, 1.0, 60, 90), (1.0, 2.0, 62, 90)])
    found = Transcription(notes, np.array([0.9, 0.3], np.float32), 2.0)
    assert (found.sureness, found.unsure) == (0.6, 1)
    untold = Transcription(notes, np.full(2, np.nan, np.float32), 2.0)
    assert (untold.sureness, untold.unsure) == (None, 0)
