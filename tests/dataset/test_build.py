"""Data sets: files into splits, notes into audio, and shards that can be trusted. Most is rendered by sines; what FluidSynth
itself does is tested with the small SoundFont that pretty_midi brings."""

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from safetensors import safe_open

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec, log_mel
from m2m.core.score import HIGHEST_KEY, LOWEST_KEY, NoteArray, from_rows, note_array
from m2m.dataset import build as dataset
from m2m.dataset import soundfont
from m2m.dataset.augment import vary
from m2m.dataset.build import build, describe, split_files
from m2m.dataset.shards import DatasetConfig, ShardReader, shard_path
from m2m.dataset.soundfont import Renderer

Midi = Callable[..., Path]
Without = Callable[[str], None]
SMALL = DatasetConfig(programs=(0, 56), seconds=2.0, tail=0.5)
SOUNDFONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"


def _fluidsynth() -> str:
    """Why FluidSynth cannot be tested here; empty if it can."""
    try:
        import fluidsynth  # noqa: F401
        import soxr  # noqa: F401
    except ImportError as error:
        return f"FluidSynth is not installed: {error}"
    return "" if SOUNDFONT.is_file() else f"this pretty_midi brings no {SOUNDFONT.name}"


needs_fluidsynth = pytest.mark.skipif(bool(_fluidsynth()), reason=_fluidsynth() or "-")


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


# The config.


@pytest.mark.parametrize("wrong", [{"programs": [128]}, {"programs": []}, {"seconds": 1.0}, {"tail": -1}, {"gian": 1}])
def test_a_config_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DatasetConfig.model_validate(wrong)


# Variations.

NOTES = st.lists(
    st.tuples(
        st.floats(0, 100, allow_subnormal=False),
        st.floats(0.01, 10),
        st.integers(LOWEST_KEY, HIGHEST_KEY),
        st.integers(1, 127),
    ),
    max_size=30,
).map(lambda rows: note_array((start, start + length, key, velocity) for start, length, key, velocity in rows))
CONFIGS = st.builds(
    DatasetConfig,
    seconds=st.floats(2, 60),
    tail=st.floats(0, 1.9),
    transpose=st.integers(0, 24),
    stretch=st.floats(0, 0.9),
    velocity=st.floats(0, 0.9),
    excerpt=st.sampled_from(["random", "first"]),
)


@settings(deadline=None)
@given(NOTES, CONFIGS, st.integers(0, 1000))
def test_a_variation_is_playable_music(notes: NoteArray, config: DatasetConfig, seed: int) -> None:
    before = notes.copy()
    varied = vary(notes, config, random.Random(seed))
    assert (notes == before).all()
    assert (varied == vary(notes, config, random.Random(seed))).all()
    assert bool(len(varied)) == bool(len(notes))
    assert ((varied["pitch"] >= LOWEST_KEY) & (varied["pitch"] <= HIGHEST_KEY)).all()
    assert ((varied["velocity"] >= 1) & (varied["velocity"] <= 127)).all()
    assert (varied["end"] > varied["start"]).all()
    assert (varied["start"] >= 0).all()
    assert (np.diff(varied["start"]) >= 0).all()
    if len(notes) and config.excerpt == "random":
        assert varied["start"][0] <= 0.1 + 1e-9  # it begins at a note, not in a rest


def test_a_variation_moves_everything_alike() -> None:
    notes = note_array((0.5 * i, 0.5 * i + 0.4, 50 + i, 60 + i) for i in range(20))
    config = DatasetConfig(excerpt="first")
    varied = vary(notes, config, random.Random(1))
    stretch = varied["start"][1:] / notes["start"][1:]
    assert np.ptp(stretch) < 1e-9
    assert 0 < abs(stretch[0] - 1) <= config.stretch
    assert np.allclose((varied["end"] - varied["start"]) / (notes["end"] - notes["start"]), stretch[0])
    assert np.ptp(varied["pitch"] - notes["pitch"]) == 0
    still = DatasetConfig(excerpt="first", transpose=0, stretch=0, velocity=0)
    assert (vary(notes, still, random.Random(1)) == notes).all()


def test_an_excerpt_comes_from_all_over_the_piece() -> None:
    notes = note_array((float(i), i + 0.5, 60, 80) for i in range(200))
    config = DatasetConfig(seconds=10, transpose=0, stretch=0)
    lengths = [len(vary(notes, config, random.Random(seed))) for seed in range(50)]
    assert max(lengths) > 150
    assert min(lengths) < 50


# FluidSynth.


@pytest.fixture(scope="module")
def synth() -> Renderer:
    return Renderer(SOUNDFONT, 16_000, 1.0)


@needs_fluidsynth
def test_a_note_sounds_at_its_pitch_at_its_time_and_fades(synth: Renderer) -> None:
    wave = synth.render(note_array([(0.5, 2.0, 69, 110)]), 80, 48_000)
    assert wave.shape == (48_000,)
    assert wave.dtype == np.float32
    assert abs(np.flatnonzero(np.abs(wave) > 0.003)[0] / 16_000 - 0.5) < 0.008  # one frame
    spectrum = np.abs(np.fft.rfft(wave[12_000:28_000] * np.hanning(16_000)))  # bins of 1 Hz
    assert abs(int(spectrum.argmax()) - 440) <= 2
    held, release, after = (np.abs(wave[a:b]).max() for a, b in ((16_000, 31_000), (32_160, 32_480), (44_000, 48_000)))
    assert held > 0.03
    assert 0.001 < release < held  # let go, it still sounds
    assert after < 0.0005


@needs_fluidsynth
def test_what_lies_above_the_band_does_not_fold_into_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(oversampling: int) -> float:
        """Energy between a trumpet's partials against all of it, in dB: G7, of which two partials are below 8 kHz."""
        monkeypatch.setattr(soundfont, "OVERSAMPLING", oversampling)
        wave = Renderer(SOUNDFONT, 16_000, 1.0).render(note_array([(0.0, 2.0, 103, 110)]), 56, 32_000)
        spectrum = np.abs(np.fft.rfft(wave[8_000:24_000] * np.hanning(16_000))) ** 2
        partial = np.abs((np.arange(8_001) + 1_568) % 3_136 - 1_568) < 40  # 3,136 Hz and its multiples
        return float(10 * np.log10(spectrum[~partial].sum() / spectrum.sum()))

    assert noise(2) < -20
    assert noise(1) > -10


@needs_fluidsynth
@pytest.mark.parametrize("samples", [12_800, 12_801, 100])
def test_a_render_knows_nothing_of_the_one_before(synth: Renderer, samples: int) -> None:
    """Byte for byte, also when the one before was still sounding, or ended within one of FluidSynth's blocks of 64."""
    notes = note_array([(0.1, 0.4, 69, 100), (0.2, 5.0, 60, 90), (0.7, 5.0, 40, 90)])
    fresh = Renderer(SOUNDFONT, 16_000, 1.0).render(notes, 0, samples)
    synth.render(notes, 48, samples)
    assert (synth.render(notes, 0, samples) == fresh).all()


@needs_fluidsynth
def test_silence(synth: Renderer) -> None:
    assert np.abs(synth.render(note_array([]), 0, 1_000)).max() < 1e-4  # FluidSynth's dither
    assert synth.render(note_array([]), 0, 0).shape == (0,)


@needs_fluidsynth
def test_a_key_struck_again_is_struck(synth: Renderer) -> None:
    """At one instant the release comes before the strike, or the new note would be let go at once."""
    wave = synth.render(note_array([(0.0, 0.5, 69, 110), (0.5, 1.0, 69, 110)]), 80, 16_000)
    assert np.abs(wave[12_000:15_000]).max() > 0.03


@needs_fluidsynth
def test_soundfonts_that_cannot_be_played(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(M2MError, match=r"cannot read the SoundFont .*absent\.sf2: No such file.*fluidr3mono"):
        Renderer(tmp_path / "absent.sf2", 16_000, 1.0)
    with pytest.raises(M2MError, match="cannot read the SoundFont .*directory"):
        Renderer(tmp_path, 16_000, 1.0)
    (tmp_path / "song.mid").write_bytes(b"MThd")
    with pytest.raises(M2MError, match=r"song\.mid is not a SoundFont"):
        Renderer(tmp_path / "song.mid", 16_000, 1.0)
    assert capfd.readouterr() == ("", "")  # FluidSynth did not speak
    (tmp_path / "damaged.sf2").write_bytes(SOUNDFONT.read_bytes()[:1_000])
    with pytest.raises(M2MError, match="the file is damaged"):
        Renderer(tmp_path / "damaged.sf2", 16_000, 1.0).render(note_array([]), 0, 100)


@needs_fluidsynth
def test_a_program_that_the_soundfont_lacks(synth: Renderer, monkeypatch: pytest.MonkeyPatch) -> None:
    synth.require(range(128))

    class Poor(synth._synth):  # type: ignore[misc, name-defined]
        def sfpreset_name(self, font: int, bank: int, program: int) -> str | None:
            return None if program in (9, 56) else super().sfpreset_name(font, bank, program)

    monkeypatch.setattr(synth, "_synth", Poor)
    with pytest.raises(M2MError, match=r"has no program 9 \(glockenspiel\), 56 \(trumpet\) in bank 0"):
        synth.require([0, 9, 56])
    with pytest.raises(M2MError, match=r"has no program 56 \(trumpet\) in bank 0"):
        synth.render(note_array([]), 56, 100)


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
                loud = true > np.log(1e-3)  # below that, 16 bits are heard
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
    save = dataset.save_file

    def die(tensors: object, path: Path, metadata: object) -> None:
        if "b-c" in path.name:
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt
        save(tensors, path, metadata)

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "save_file", die)
        with pytest.raises(KeyboardInterrupt):
            site.build()
    assert sorted(contents(site.out)) == ["dataset.json", "train/a.safetensors"]
    assert ShardReader(site.out, "train").files == ["a.mid"]
    assert site.build() == []
    assert ShardReader(site.out, "train").files == ["a.mid", "b/c.mid"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_a_build_that_is_killed_leaves_no_half_shard(site: Site) -> None:
    """As above, where nothing can be tidied up: what is left behind is not taken for a shard."""
    code = f"""
import os, signal
from pathlib import Path
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
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == -signal.SIGKILL
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


# Reading.


@pytest.fixture
def shards(data: Path) -> ShardReader:
    return ShardReader(data, "train")


def test_slices(shards: ShardReader) -> None:
    assert len(shards) == 2
    mel, audio = shards.mel(1, "trumpet"), shards.audio(1, "trumpet")
    assert mel.dtype == audio.dtype == np.float32
    assert np.array_equal(shards.mel(1, "trumpet", 10, 20), mel[10:20])
    assert np.array_equal(shards.audio(1, "trumpet", 1_000, 1_010), audio[1_000:1_010])
    assert len(shards.mel(1, "trumpet", len(mel) - 3, len(mel) + 100)) == 3
    assert len(shards.audio(1, "trumpet", len(audio) - 3, len(audio) + 100)) == 3
    assert shards.frames(1, "trumpet") == len(mel)
    assert np.abs(audio).max() <= 1


def test_what_a_model_needs_is_there(shards: ShardReader) -> None:
    shards.require(MelSpec(), {"trumpet": 56})
    with pytest.raises(M2MError, match="different mels: n_mels, fmin"):
        shards.require(MelSpec(n_mels=64, fmin=20.0), {"trumpet": 56})
    with pytest.raises(M2MError, match=r"has no violin \(40\); it has grand-piano \(0\), trumpet \(56\)"):
        shards.require(MelSpec(), {"trumpet": 56, "violin": 40})
    with pytest.raises(M2MError, match=r"has no trumpet \(57\)"):
        shards.require(MelSpec(), {"trumpet": 57})


def test_a_folder_that_is_no_data_set(tmp_path: Path, data: Path) -> None:
    def words(text: str) -> str:
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(M2MError, match="make one with 'm2m dataset build'") as caught:
            ShardReader(tmp_path, "train")
        assert "\n" not in str(caught.value)
        with pytest.raises(M2MError, match="is not a data set"):
            describe(tmp_path, data / "dataset.json", SMALL, {})
        return str(caught.value)

    with pytest.raises(M2MError, match="there is no dataset.json"):
        ShardReader(tmp_path, "train")
    good = json.loads((data / "dataset.json").read_text())
    assert "is not a data set (dataset.json: " in words("{")
    assert "is not a data set" in words("[]")
    assert "another version of m2m" in words(json.dumps(good | {"config": {"colour": 3}}))
    assert "is not a data set" in words(json.dumps({"config": good["config"]}))
    (tmp_path / "dataset.json").write_text(json.dumps(good))
    for split in ("train", "elsewhere"):
        with pytest.raises(M2MError, match=f"no finished shard in its split '{split}'"):
            ShardReader(tmp_path, split)
    assert os.listdir(tmp_path) == ["dataset.json"]
