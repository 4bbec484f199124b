"""Building data sets: files into splits, notes into audio, and shards that can be trusted. Most is rendered by sines."""

import dataclasses
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import HANGS
from datasets import SOUNDFONT, needs_fluidsynth
from forks import Forks
from safetensors import safe_open
from safetensors.numpy import save_file

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec, log_mel
from m2m.core.score import from_rows
from m2m.dataset import build as dataset
from m2m.dataset.build import build, describe, split_files, summary
from m2m.dataset.shards import DatasetConfig, ShardReader, shard_path

Midi = Callable[..., Path]
Without = Callable[[str], None]
SMALL = DatasetConfig(programs=(0, 56), seconds=2.0, tail=0.5)


# Files into splits.


def test_a_split_is_taken_as_it_is_written(tmp_path: Path, midi: Midi) -> None:
    for name in ("a.mid", "b/c.mid", "left out.mid"):
        midi(name)
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["b/c.mid"], "test": ["a.mid"]}))
    assert split_files(tmp_path / "midi", split) == {"train": ["b/c.mid"], "validation": [], "test": ["a.mid"]}


def test_without_a_split_a_files_name_decides(tmp_path: Path) -> None:
    folder = tmp_path / "midi"
    folder.mkdir()
    for i in range(400):
        (folder / f"{i}.mid").touch()
    (folder / "0.txt").touch()
    (folder / "deep").mkdir()
    (folder / "deep" / "UP.MIDI").touch()
    files = split_files(folder, None)
    assert files == split_files(folder, None)
    assert sum(map(len, files.values())) == 401
    assert "deep/UP.MIDI" in [*files["train"], *files["validation"], *files["test"]]
    assert 10 < len(files["validation"]) < 35  # about 5 %
    assert 10 < len(files["test"]) < 35
    assert "0.mid" in files["train"]  # the same on every machine, and in every version: test files stay unseen
    assert (files["validation"][0], files["test"][0]) == ("104.mid", "109.mid")
    (folder / "0.mid").unlink()
    assert split_files(folder, None)["test"] == files["test"]  # one file does not move another


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"cannot read .*No such file"),
        ("{", "cannot read the split .*must be JSON with lists 'train'"),
        ('["a.mid"]', "cannot read the split"),
        ('{"train": 3}', "cannot read the split"),
        ('{"train": "a.mid"}', "a split is not a list"),
        ("{}", "names no files"),
        ('{"training": ["a.mid"]}', "names no files"),
        ('{"train": ["a.mid", "x.mid", "y.mid"]}', r"names 2 files that are not in .*, the first is x\.mid"),
        ('{"train": ["a.mid"], "test": ["a.mid"]}', r"a\.mid and a\.mid would become one shard"),
        ('{"train": ["b/c.mid", "b-c.mid"]}', r"b-c\.mid and b/c\.mid would become one shard"),
    ],
)
def test_a_split_that_cannot_be_meant(tmp_path: Path, midi: Midi, text: str | None, words: str) -> None:
    for name in ("a.mid", "b/c.mid", "b-c.mid"):
        midi(name)
    if text is not None:
        (tmp_path / "split.json").write_text(text)
    with pytest.raises(M2MError, match=words):
        split_files(tmp_path / "midi", tmp_path / "split.json")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10, 40])
def test_no_split_is_empty_that_files_are_left_for(tmp_path: Path, count: int) -> None:
    for number in range(count):
        (tmp_path / f"{number}.mid").touch()
    chosen = split_files(tmp_path, None)
    assert sum(map(len, chosen.values())) == count
    assert [split for split, names in chosen.items() if names] == ["train", "validation", "test"][:count]
    assert split_files(tmp_path, None) == chosen


def test_an_empty_split_says_what_to_do(tmp_path: Path) -> None:
    soundfont = tmp_path / "a.sf2"
    soundfont.write_bytes(b"none")
    describe(tmp_path / "set", soundfont, SMALL, {"train": ["a.mid"], "validation": [], "test": []})
    with pytest.raises(M2MError, match="no files in its split 'validation'; build one of three MIDI files or more"):
        ShardReader(tmp_path / "set", "validation")
    assert summary(tmp_path / "set")[0] == "train: 0 files of 1, 1 are missing; 0.0 minutes of audio, 0.0 MB"


def test_a_folder_without_midi_files(tmp_path: Path, midi: Midi) -> None:
    with pytest.raises(M2MError, match="is not a directory"):
        split_files(tmp_path / "midi", None)
    (tmp_path / "midi").mkdir()
    with pytest.raises(M2MError, match=r"holds no MIDI files \(\.mid, \.midi, \.kar\)"):
        split_files(tmp_path / "midi", None)
    midi("a.mid")
    midi("a.midi")
    with pytest.raises(M2MError, match="would become one shard"):
        split_files(tmp_path / "midi", None)


def test_what_is_not_installed_is_one_line(
    tmp_path: Path, midi: Midi, without: Without, monkeypatch: pytest.MonkeyPatch
) -> None:
    midi("a.mid")

    def attempt() -> str:
        with pytest.raises(M2MError) as caught:
            build(tmp_path / "midi", SOUNDFONT, tmp_path / "out", SMALL, None, 1)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    site = tmp_path / "site"  # pyfluidsynth without the library that it wraps
    site.mkdir()
    (site / "fluidsynth.py").write_text("""raise ImportError("Couldn't find the FluidSynth library.")""")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [str(site), *sys.path])
        patch.delitem(sys.modules, "fluidsynth", raising=False)
        assert attempt() == (
            "rendering a SoundFont needs FluidSynth (Couldn't find the FluidSynth library): "
            "install Debian's libfluidsynth3 (macOS: brew install fluid-synth)."
        )
    without("fluidsynth")
    assert "FluidSynth (import of fluidsynth halted" in attempt()
    assert "pip install 'm2m[train]'" in attempt()


# Building.


@dataclasses.dataclass
class Site:
    """MIDI files, and where their data set goes."""

    midi: Path
    soundfont: Path
    out: Path

    def build(self, config: DatasetConfig = SMALL, jobs: int = 1) -> list[str]:
        return list(build(self.midi, self.soundfont, self.out, config, self.midi / "split.json", jobs))

    def shard(self, split: str, name: str) -> Path:
        return shard_path(self.out, split, name)


@pytest.fixture
def site(tmp_path: Path, midi: Midi) -> Site:
    midi("a.mid", range(48, 72, 2))
    midi("b/c.mid", range(72, 48, -2))
    midi("d.mid", (69, 72), step=0.4)
    split = {"train": ["a.mid", "b/c.mid"], "validation": ["d.mid"], "test": []}
    (tmp_path / "midi" / "split.json").write_text(json.dumps(split))
    (tmp_path / "sines.sf2").write_bytes(b"none")
    return Site(tmp_path / "midi", tmp_path / "sines.sf2", tmp_path / "out")


@pytest.fixture
def built(site: Site, sines: None) -> Site:
    assert site.build() == []
    return site


def test_a_shard_says_what_it_is(built: Site) -> None:
    assert sorted(p.relative_to(built.out).as_posix() for p in built.out.rglob("*.*")) == [
        "dataset.json",
        "train/a.safetensors",
        "train/b-c.safetensors",
        "validation/d.safetensors",
    ]
    with safe_open(built.shard("train", "b/c.mid"), framework="numpy") as shard:
        about = shard.metadata()
        kinds = {name: shard.get_tensor(name).dtype for name in shard.keys()}  # noqa: SIM118 - safe_open is no mapping
    assert DatasetConfig.model_validate_json(about.pop("config")) == SMALL
    assert about == {"source": "b/c.mid", "split": "train", "soundfont": "sines.sf2"}
    assert kinds == {
        f"{name}/{what}": np.dtype(kind)
        for name in ("grand-piano", "trumpet")
        for what, kind in (("notes", np.float64), ("audio", np.int16), ("mel", np.float16))
    }
    described = json.loads((built.out / "dataset.json").read_text())
    assert described["instruments"] == {"grand-piano": 0, "trumpet": 56}
    assert described["soundfont"]["name"] == "sines.sf2"


def test_notes_audio_and_mel_agree(built: Site) -> None:
    for split in ("train", "validation"):
        shards = ShardReader(built.out, split)
        for index in range(len(shards)):
            for name in shards.instruments:
                audio, mel = shards.audio(index, name), shards.mel(index, name)
                assert len(audio) == len(mel) * 128 == shards.frames(index, name) * 128
                assert len(audio) <= 2.0 * 16_000
                true = log_mel(audio, MelSpec())
                loud = true > np.log(1e-3)  # below that, 16 bits are too coarse
                assert np.abs(mel - true)[loud].max() < 0.05
                notes = from_rows(shards.notes(index, name))
                assert notes["end"].max() <= 1.5
                level = np.abs(np.concatenate([np.zeros(128, np.float32), audio]))
                for start in notes["start"]:  # in the frame of an onset the wave begins to rise
                    at = round(start * 16_000) + 128
                    assert level[at : at + 128].max() > 0.03
                first = round(notes["start"][0] * 16_000)
                assert np.abs(audio[:first]).max(initial=0) < 1e-4


def test_training_files_are_varied_and_others_are_not(built: Site) -> None:
    train, validation = ShardReader(built.out, "train"), ShardReader(built.out, "validation")
    piano, trumpet = (train.notes(0, name) for name in ("grand-piano", "trumpet"))
    assert piano.shape != trumpet.shape or not np.allclose(piano, trumpet)
    notes = from_rows(validation.notes(0, "grand-piano"))
    assert notes["pitch"].tolist() == [69, 72]
    assert notes["start"].tolist() == pytest.approx([0.0, 0.4], abs=1e-3)
    assert np.array_equal(validation.notes(0, "trumpet"), validation.notes(0, "grand-piano"))


def contents(folder: Path) -> dict[str, object]:
    """Every file's bytes, but for a shard its tensors' and its metadata, which safetensors writes in any order."""
    found: dict[str, object] = {}
    for path in (p for p in folder.rglob("*") if p.is_file()):
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
        if path.suffix == ".safetensors":
            with safe_open(path, framework="numpy") as shard:
                tensors = {name: shard.get_tensor(name) for name in shard.keys()}  # noqa: SIM118
                found[path.relative_to(folder).as_posix()] = (
                    shard.metadata(),
                    {name: (t.shape, t.dtype, t.tobytes()) for name, t in tensors.items()},
                )
    return found


def test_a_build_is_continued_where_it_stopped(built: Site) -> None:
    before = contents(built.out)
    lost, kept = built.shard("train", "a.mid"), built.shard("train", "b/c.mid")
    times = [p.stat().st_mtime_ns for p in (kept, built.out / "dataset.json")]
    lost.unlink()
    assert built.build() == []
    assert contents(built.out) == before
    assert [p.stat().st_mtime_ns for p in (kept, built.out / "dataset.json")] == times


def test_a_build_that_dies_leaves_no_half_shard(site: Site, sines: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(tensors: Any, path: Path, metadata: Any) -> None:
        if "b-c" in path.name:
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt
        save_file(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "save_file", die)
        with pytest.raises(KeyboardInterrupt):
            site.build()
    assert sorted(contents(site.out)) == ["dataset.json", "train/a.safetensors", "validation/d.safetensors"]
    assert ShardReader(site.out, "train").files == ["a.mid"]
    assert site.build() == []
    assert ShardReader(site.out, "train").files == ["a.mid", "b/c.mid"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_build_that_is_killed_leaves_no_half_shard(site: Site, forks: Forks) -> None:
    """As above, where nothing can be tidied up: what is left behind is not taken for a shard."""
    code = f"""
import os, signal
from pathlib import Path
from typing import Any
from m2m.dataset import build as dataset
from m2m.dataset.build import build
from m2m.dataset.shards import DatasetConfig
import numpy as np
class Silence:
    def __init__(self, *_): pass
    def require(self, _): pass
    def render(self, notes, program, samples): return np.zeros(samples, np.float32)
dataset.Renderer = Silence
def die(tensors, path, metadata):
    path.write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
dataset.save_file = die
config = DatasetConfig.model_validate_json({SMALL.model_dump_json()!r})
build(Path({str(site.midi)!r}), Path({str(site.soundfont)!r}), Path({str(site.out)!r}), config, None, 1)
"""
    killed = forks.run("-c", code, cwd=site.out.parent, timeout=HANGS)
    assert killed.returncode == -signal.SIGKILL
    assert any(path.suffix == ".safetensors" for path in site.out.rglob("*"))
    with pytest.raises(M2MError, match="no finished shard"):
        ShardReader(site.out, "train")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gain": 0.5, "seed": 3}, "with other gain, seed;"),
        ({"mel": MelSpec(fmax=7_000.0)}, "with other mel;"),
        ({"programs": (0,)}, "with other programs;"),
    ],
)
def test_a_data_set_of_another_kind_is_not_continued(built: Site, change: dict[str, object], words: str) -> None:
    before = contents(built.out)
    with pytest.raises(M2MError, match=words):
        built.build(SMALL.model_copy(update=change))
    assert contents(built.out) == before


def test_other_files_or_another_soundfont_are_not_mixed_in(built: Site, midi: Midi) -> None:
    built.soundfont.write_bytes(b"another")
    with pytest.raises(M2MError, match="with other soundfont;"):
        built.build()
    built.soundfont.write_bytes(b"none")
    (built.midi / "split.json").write_text('{"train": ["a.mid"]}')
    with pytest.raises(M2MError, match="with other files;"):
        built.build()


def test_a_shard_of_another_data_set_is_noticed(built: Site) -> None:
    """Where dataset.json was deleted to get past the check above."""
    (built.out / "dataset.json").unlink()
    failed = built.build(SMALL.model_copy(update={"gain": 0.5}))
    assert len(failed) == 3
    assert all("is of another data set than" in message for message in failed)


def test_a_damaged_shard_is_noticed(built: Site) -> None:
    shard = built.shard("train", "a.mid")
    shard.write_bytes(shard.read_bytes()[:-100])
    (message,) = built.build()
    assert "cannot read the shard" in message
    with pytest.raises(M2MError, match=r"cannot read the shard .*a\.safetensors.*delete it"):
        ShardReader(built.out, "train")


def test_a_full_disk_is_one_line(built: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(dataset, "save_file", full)
    built.shard("train", "a.mid").unlink()
    (message,) = built.build()
    assert "cannot write" in message
    assert "No space left" in message


def test_a_bad_file_among_good_ones(site: Site, sines: None, midi: Midi) -> None:
    (site.midi / "bad.mid").write_bytes(b"MThd nonsense")
    midi("drums.mid", (38, 40), drums=True)
    files = {"train": ["bad.mid", "drums.mid", "a.mid"], "validation": ["d.mid"]}
    (site.midi / "split.json").write_text(json.dumps(files))
    bad, drums = site.build()
    assert "bad.mid: it is a damaged MIDI file" in bad
    assert "drums.mid has no notes to play" in drums
    assert ShardReader(site.out, "train").files == ["a.mid"]


@needs_fluidsynth
def test_two_processes_make_the_same_bytes(site: Site) -> None:
    """And so does FluidSynth in another order: a shard depends on nothing but its file and the config."""
    site.soundfont = SOUNDFONT
    assert site.build() == []
    one, first = contents(site.out), site.shard("train", "a.mid")
    first.unlink()
    assert site.build() == []
    assert contents(site.out) == one
    site.out = site.out.with_name("two")
    assert site.build(jobs=2) == []
    assert contents(site.out) == one


@needs_fluidsynth
def test_fluidsynth_agrees_with_the_notes(site: Site) -> None:
    site.soundfont = SOUNDFONT
    assert site.build(SMALL.model_copy(update={"programs": (80,)})) == []
    shards = ShardReader(site.out, "validation")
    audio, (first, second) = shards.audio(0, "synth-lead"), from_rows(shards.notes(0, "synth-lead"))
    for note, hz in ((first, 440.0), (second, 523.25)):
        middle = round((note["start"] + note["end"]) / 2 * 16_000)
        part = audio[middle - 2_000 : middle + 2_000] * np.hanning(4_000)
        assert abs(np.abs(np.fft.rfft(part)).argmax() * 4.0 - hz) <= 6
    rise = np.flatnonzero(np.abs(audio) > 0.003)[0] / 16_000
    assert abs(rise - first["start"]) < 0.008
