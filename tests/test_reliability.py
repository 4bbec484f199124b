"""Outputs that cannot be written, signals at bad moments, and crowds. benches/reliability.py does the same for an hour."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pretty_midi
import pytest
import soundfile
from command_line import HANGS, M2M
from forks import Forks

RENDER = [sys.executable, "-m", "m2m", "render"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, 60 + n, 0.2 * n, 0.2 * n + 0.2) for n in range(5)]
    midi.instruments.append(piano)
    midi.write(str(tmp_path / "work" / "a.mid"))
    return tmp_path / "work"


def whole(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_a_full_disk_leaves_nothing(work: Path, suffix: str, here: M2M, monkeypatch: pytest.MonkeyPatch) -> None:
    """RLIMIT_FSIZE ends a write in its middle, as a full disk does."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        done = here(
            "render",
            "a.mid",
            "-o",
            f"a{suffix}",
            "--vocoder-opt",
            "blind_iterations=1",
            "--vocoder-opt",
            "iterations=1",
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot write the audio: the disk is full, or fails." in done.stderr
    assert [path.name for path in work.iterdir()] == ["a.mid"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x" * 300 + ".wav"], "File name too long"),
        (["-o", "folder.wav", "-y"], "folder.wav is a folder; name a file"),
        (["-o", "fifo.wav", "-y"], "is not a regular file and is not overwritten"),
        (["-o", "a.mid/b.wav"], "Not a directory"),
        (["-o", "loop.wav"], "symbolic links"),
        (["-o", "taken.wav"], "taken.wav exists; overwrite it with -y"),
    ],
)
def test_what_cannot_be_written_is_one_line_before_anything_is_rendered(
    work: Path, here: M2M, arguments: list[str], words: str
) -> None:
    (work / "folder.wav").mkdir()
    os.mkfifo(work / "fifo.wav")
    (work / "loop.wav").symlink_to("loop.wav")
    (work / "taken.wav").write_text("mine")
    before = sorted(work.iterdir())
    done = here("render", "a.mid", *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert words in done.stderr
    assert sorted(work.iterdir()) == before
    assert (work / "taken.wav").read_text() == "mine"


def test_the_input_is_never_overwritten(work: Path, here: M2M) -> None:
    (work / "score.wav").write_bytes((work / "a.mid").read_bytes())  # a MIDI file by another name
    (work / "link.wav").symlink_to("score.wav")
    for out in ("score.wav", "link.wav", "../work/score.wav"):
        done = here("render", "score.wav", "-o", out, "-y")
        assert done.returncode == 1
        assert "is what was to be read" in done.stderr
    assert (work / "score.wav").read_bytes() == (work / "a.mid").read_bytes()
    assert here("render", "a.mid", "-o", "b.wav").returncode == 0
    before = whole(work / "b.wav")
    done = here("rerender", "b.wav", "-o", "b.wav", "-y")
    assert "is what was to be read" in done.stderr
    assert whole(work / "b.wav") == before


def test_a_read_only_folder(work: Path, here: M2M, monkeypatch: pytest.MonkeyPatch) -> None:
    done = here("render", "a.mid", "-o", "/proc/out/a.wav")  # root may write anywhere else
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot make the folder /proc/out" in done.stderr


def test_what_libraries_leave_of_a_kill_is_no_output(work: Path, m2m: M2M, forks: Forks) -> None:
    """Killed outright while it writes: no file of the output's name, and the next run makes it."""
    code = (
        "import soundfile, os, signal\n"
        "from m2m.core import audio\n"
        "def killed(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
        "soundfile.SoundFile.write = killed\n"
        "import sys; sys.argv[1:] = ['render', 'a.mid', '-o', 'a.wav']\n"
        "from m2m.cli import main; main()\n"
    )
    killed = forks.run("-c", code, cwd=work, timeout=HANGS)
    assert killed.returncode == -signal.SIGKILL
    assert not (work / "a.wav").exists()
    assert m2m("render", "a.mid", "-o", "a.wav").returncode == 0
    assert soundfile.info(work / "a.wav").frames > 0


def test_several_at_once_in_one_folder(work: Path) -> None:
    renders = [subprocess.Popen([*RENDER, "a.mid", "-o", "same.wav", "-y", "-q"], cwd=work) for _ in range(2)]
    assert [process.wait(HANGS) for process in renders] == [0, 0]
    assert sorted(path.name for path in work.iterdir()) == ["a.mid", "same.wav"]
    assert soundfile.info(work / "same.wav").frames > 0
