"""A user's way from MIDI files to a model and back to music, through the command."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from command_line import M2M
from numpy.typing import NDArray

from m2m.core.score import NoteArray
from m2m.dataset import build as dataset

SOUNDFONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"
TINY = [
    *("--set", "model.hidden=8", "--set", "model.timbre_dim=2", "--set", "sequence=40", "--set", "loop.batch_size=2"),
    *("--set", "validation_seconds=1", "--steps", "3"),
]


class Sines:
    """In the place of FluidSynth."""

    def __init__(self, soundfont: Path, sample_rate: int, gain: float) -> None:
        pass

    def require(self, programs: Sequence[int]) -> None:
        pass

    def instruments(self) -> tuple[int, ...]:
        return (0, 56, 128)

    def render(self, notes: NoteArray, program: int, samples: int) -> NDArray[np.float32]:
        wave = np.zeros(samples, np.float32)
        for start, end, pitch, _ in notes.tolist():
            part = wave[round(start * 16_000) : round(end * 16_000)]
            part += 0.1 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) / 16_000 * np.arange(len(part)))
        return wave


@pytest.fixture(autouse=True)
def no_tensorboard(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in [m for m in sys.modules if m.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the command runs: three MIDI files in midi/, and a split of them."""
    monkeypatch.setattr(dataset, "Renderer", Sines)
    work = tmp_path / "work"
    (work / "midi").mkdir(parents=True)
    for name, lowest in (("a", 48), ("b", 60), ("c", 55)):
        midi = pretty_midi.PrettyMIDI()
        instrument = pretty_midi.Instrument(0)
        instrument.notes = [pretty_midi.Note(90, lowest + 2 * i, 0.2 * i, 0.2 * i + 0.2) for i in range(8)]
        midi.instruments.append(instrument)
        midi.write(str(work / "midi" / f"{name}.mid"))
    (work / "split.json").write_text(json.dumps({"train": ["a.mid", "b.mid"], "validation": ["c.mid"]}))
    (work / "sines.sf2").write_bytes(b"none")
    return work


def build(here: M2M, *more: str, soundfont: str = "sines.sf2") -> "subprocess.CompletedProcess[str]":
    command = [
        "dataset",
        "build",
        "midi",
        "--soundfont",
        soundfont,
        "-o",
        "data",
        "--split",
        "split.json",
        "--programs",
        "0,56",
    ]
    return here(*command, "--set", "seconds=2", "--set", "tail=0.4", *more)


def test_from_midi_files_to_a_model_and_back_to_music(work: Path, here: M2M) -> None:
    done = build(here)
    assert (done.returncode, done.stdout) == (0, "data\n")
    assert [line.partition(";")[0] for line in done.stderr.splitlines()] == [
        "train: 2 files", "validation: 1 files", "test: 0 files"
    ]  # fmt: skip
    assert "train: 2 files; 0.1 minutes of audio" in done.stderr
    assert sorted(p.name for p in (work / "data").rglob("*.safetensors")) == [f"{x}.safetensors" for x in "abc"]

    done = here("train", "mel2mel", "data", "-o", "run", *TINY)
    assert done.returncode == 0
    about = json.loads(done.stdout)
    assert about["run"] == "run"
    assert set(about["validation"]) == {"paper-tanh-log-abs", "mae", "correlation", "variance"}
    said = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert (said[0], said[2], said[4]) == ("no curves", "step 1", "step 3")
    assert "weights, steps 1 to 3 of 2 sequences on cpu in " in said[1]
    assert said[3].startswith("a step takes ")
    assert sorted(p.name for p in (work / "run").iterdir()) == ["best", "run.json", "training.safetensors"]

    done = here("train", "mel2mel", "data", "-o", "run", "--resume", "--steps", "5", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    config = json.loads((work / "run" / "run.json").read_text())
    assert (config["model"]["hidden"], config["loop"]["steps"]) == (8, 5)

    more = ["--set", "adversarial=0.1", "--set", "sequence=40", "--set", "validation_seconds=1", "--steps", "1", "-q"]
    done = here("train", "mel2mel", "data", "--start", "run/best", "-o", "fine", *more)
    assert done.returncode == 0
    config = json.loads((work / "fine" / "run.json").read_text())
    assert (config["model"]["hidden"], config["start"], config["adversarial"]) == (8, "run/best", 0.1)

    done = here("render", "midi/c.mid", "--model", "fine/best", "--timbre", "trumpet", "-o", "c.wav")
    assert (done.returncode, done.stdout) == (0, "")
    wave, rate = soundfile.read(work / "c.wav")
    assert rate == 16_000
    assert len(wave) > 1.6 * rate
    assert np.isfinite(wave).all()


def test_the_same_with_fluidsynth(work: Path, here: M2M, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fluidsynth", "soxr"):
        try:
            __import__(name)
        except ImportError as error:
            pytest.skip(f"FluidSynth is not installed: {error}")
    monkeypatch.undo()
    monkeypatch.chdir(work)
    done = build(here, soundfont=str(SOUNDFONT))
    assert (done.returncode, done.stdout) == (0, "data\n"), done.stderr
    done = here("train", "mel2mel", "data", "-o", "run", "--conditioner", "concat", "--loss", "log-abs", *TINY)
    assert done.returncode == 0
    assert here("render", "midi/c.mid", "--model", "run/best", "-o", "c.flac").returncode == 0


@pytest.mark.parametrize(("more", "idiomatic"), [((), 0.5), (("--set", "idiomatic=0.25"), 0.25)])
def test_all_programs_and_kits(work: Path, here: M2M, more: tuple[str, ...], idiomatic: float) -> None:
    """To a model whose kit plays drums."""
    assert build(here, "--programs", "all", *more).returncode == 0
    about = json.loads((work / "data" / "dataset.json").read_text())
    assert about["instruments"] == {"grand-piano": 0, "trumpet": 56, "standard-kit": 128}
    assert about["config"]["idiomatic"] == idiomatic
    folder = f"gm-{idiomatic}"  # a name of its own: what a process has loaded from a folder it does not load again
    done = here("train", "mel2mel", "data", "-o", folder, *TINY)
    assert done.returncode == 0
    assert (
        json.loads((work / folder / "best" / "config.json").read_text())["config"]["instruments"]
        == about["instruments"]
    )
    midi = pretty_midi.PrettyMIDI()
    midi.instruments.append(pretty_midi.Instrument(0, is_drum=True))
    midi.instruments[0].notes = [
        pretty_midi.Note(90, key, 0.2 * i, 0.2 * i + 0.1) for i, key in enumerate((36, 42, 38, 42))
    ]
    midi.write(str(work / "drums.mid"))
    done = here("render", "drums.mid", "--model", f"{folder}/best", "-o", "drums.wav")
    assert done.returncode == 0, done.stderr
    assert soundfile.read(work / "drums.wav")[0].size > 8_000


def test_ranges_of_programs(work: Path, here: M2M) -> None:
    assert build(here, "--programs", "0,126-129").returncode == 0
    about = json.loads((work / "data" / "dataset.json").read_text())
    assert list(about["instruments"].values()) == [0, 126, 127, 128, 129]
    assert "idiomatic" not in about["config"]


def test_a_config_file_and_what_is_said_on_top(work: Path, here: M2M) -> None:
    build(here)
    (work / "run.toml").write_text(
        "sequence = 30\n[model]\nhidden = 4\ninstruments = {trumpet = 56}\n[loop]\nsteps = 2\nbatch_size = 1\n"
    )
    done = here("train", "mel2mel", "data", "--config", "run.toml", "--encoder", "onsets-frames", "--steps", "1", "-q")
    assert done.returncode == 0
    assert json.loads(done.stdout)["run"] == "runs/mel2mel-film"
    config = json.loads((work / "runs/mel2mel-film/run.json").read_text())
    assert (config["sequence"], config["loop"]["steps"], config["model"]["encoder"]) == (30, 1, "onsets-frames")
    assert (work / "runs/mel2mel-film/best/config.json").is_file()  # after one step, too


def test_a_bad_file_among_good_ones(work: Path, here: M2M) -> None:
    (work / "midi" / "a.mid").write_bytes(b"MThd nonsense")
    done = build(here)
    assert (done.returncode, done.stdout) == (1, "data\n")
    assert done.stderr.startswith("m2m: error: midi/a.mid: it is a damaged MIDI file")
    assert done.stderr.splitlines()[1].startswith("train: 1 files of 2, 1 are missing; 0.1 minutes of audio")
    assert sorted(p.name for p in (work / "data").rglob("*.safetensors")) == ["b.safetensors", "c.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere", "--soundfont", "sines.sf2", "-o", "new"], 1, "nowhere is not a directory"),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "--split", "no.json"], 1, "cannot read no.json"),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "--programs", "0,256"], 1, "config: programs.1: "),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "--programs", "250-300"], 1, "config: programs.6: "),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "--programs", "piano"], 1, "config: programs.0: "),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "--set", "second=3"], 1, "there are programs, seconds"),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "--set", "seconds"], 2, "NAME=VALUE"),
        (["midi", "--soundfont", "sines.sf2"], 2, "--output"),
        (["midi", "--soundfont", "sines.sf2", "-o", "new", "-j", "0"], 2, "--jobs"),
        (
            ["midi", "--soundfont", "sines.sf2", "-o", "data"],
            1,
            "data set made with other programs, seconds, tail, files;",
        ),
    ],
)
def test_data_sets_that_cannot_be_built(work: Path, here: M2M, arguments: list[str], code: int, words: str) -> None:
    build(here)
    refused(here, work, ["dataset", "build", *arguments], code, words)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nowhere"], 1, "nowhere is not a data set (there is no dataset.json); make one with 'm2m dataset build'"),
        (["data", "--set", "loop.step=3"], 1, "config: loop.step: "),
        (["data", "--set", "loop.steps=lots"], 1, "config: loop.steps: "),
        (["data", "--config", "no.yaml"], 1, "cannot read no.yaml: No such file or directory"),
        (["data", *TINY, "--conditioner", "flim"], 1, "did you mean film?"),
        (["data", "--set", "model.instruments.electric-piano=4"], 1, "the data set has no electric-piano (4)"),
        (["data", "-o", "new", *TINY, "--resume"], 1, "new holds no run to resume: there is no training.safetensors"),
        (["data", "-o", "run", *TINY], 1, "run already holds a run; continue it with --resume"),
        (["data", "-o", "run", "--resume", "--set", "model.hidden=9"], 1, "is of another model"),
        (["data", "-o", "new", *TINY, "--device", "abacus"], 1, "loop.device 'abacus' cannot be used"),
        (["data", "--loss", "l1"], 2, "--loss"),
        (["data", "--steps", "0"], 2, "--steps"),
        ([], 2, "Missing argument"),
    ],
)
def test_runs_that_cannot_begin(work: Path, here: M2M, arguments: list[str], code: int, words: str) -> None:
    build(here)
    if "run" in arguments:
        here("train", "mel2mel", "data", "-o", "run", *TINY)
    refused(here, work, ["train", "mel2mel", *arguments], code, words)


def refused(here: M2M, work: Path, command: list[str], code: int, words: str) -> None:
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()}
    done = here(*command)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "bug in m2m" not in done.stderr
    if code == 1:
        assert done.stderr.count("\n") == 1
    assert {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file()} == before


def test_a_damaged_checkpoint_is_one_line(work: Path, here: M2M) -> None:
    build(here)
    here("train", "mel2mel", "data", "-o", "run", *TINY)
    state = work / "run" / "training.safetensors"
    state.write_bytes(state.read_bytes()[:-50])
    refused(here, work, ["train", "mel2mel", "data", "-o", "run", "--resume"], 1, "cannot resume from run/training")
