"""`m2m transcribe` and `m2m translate`, as they are typed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import M2M

from m2m.core.score import read_score
from m2m.core.testing.transcriber import SCALE, scale


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A folder with the scale as stereo FLAC and MP3, a text that is called WAV, and a file that is no audio's."""
    folder = tmp_path / "work" / "in"
    folder.mkdir(parents=True)
    soundfile.write(folder / "a.flac", np.stack([scale(44_100)] * 2, axis=1), 44_100)
    soundfile.write(folder / "b.mp3", scale(22_050), 22_050)
    (folder / "c.wav").write_text("no audio")
    (folder / "notes.txt").write_text("no audio")
    return folder


def test_a_folder_is_transcribed_past_a_bad_file(here: M2M, recordings: Path) -> None:
    done = here("transcribe", "in", "-o", "out/{stem}.mid", "--program", "56", "--json")
    assert done.returncode == 1
    rows = json.loads(done.stdout)
    assert [Path(row["recording"]).name for row in rows] == ["a.flac", "b.mp3", "c.wav"]
    assert "cannot read" in rows[2]["error"]
    assert done.stderr.count("m2m: error: ") == 1
    out = recordings.parent / "out"
    assert sorted(path.name for path in out.iterdir()) == ["a.mid", "b.mid"]
    for row in rows[:2]:
        assert [note["key"] for note in row["notes"]] == list(SCALE)
        assert 0.3 < row["confidence"] <= 1
        (track,) = read_score(
            row["output"] if Path(row["output"]).is_absolute() else recordings.parent / row["output"]
        ).tracks
        assert track.program == 56
        assert track.notes["pitch"].tolist() == list(SCALE)
    again = here("transcribe", "in/a.flac", "-o", "out/a.mid")
    assert again.returncode == 1
    assert "exists; overwrite it with -y" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in/a.flac", "-o", "a.wav"], "give it the extension .mid"),
        (["in/a.flac", "in/b.mp3", "-o", "a.mid"], "several recordings would be written to"),
        (["in/a.flac", "--transcriber", "nobody"], "no transcriber 'nobody' is installed"),
        (["in/a.flac", "--transcriber-opt", "onset_threshold=2"], "onset_threshold"),
        (["in/a.flac", "--device", "warp"], "there is no device 'warp'"),
        (["empty"], "holds no audio files"),
        (["missing.wav"], "cannot read missing.wav"),
    ],
)
def test_what_cannot_be_is_one_line(here: M2M, recordings: Path, arguments: list[str], words: str) -> None:
    (recordings.parent / "empty").mkdir()
    done = here("transcribe", *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_translate_writes_audio_and_says_how_sure_it_was(here: M2M, recordings: Path) -> None:
    done = here("translate", "in/a.flac", "--timbre", "trumpet", "--vocoder-opt", "iterations=1", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["output"] == "a-trumpet.wav"
    assert row["notes"] == len(SCALE)
    assert "8 notes in 6.3 s, confidence" in done.stderr
    assert soundfile.info(recordings.parent / "a-trumpet.wav").samplerate == 16_000
    again = here("translate", "in/a.flac", "--timbre", "trumpet")
    assert "exists; overwrite it with -y" in again.stderr
    wrong = here("translate", "in/a.flac", "--timbre", "trompet", "-o", "b.wav")
    assert wrong.returncode == 1
    assert "trumpet" in wrong.stderr
