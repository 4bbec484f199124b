"""What the instruments of a data set play: kits drum parts, training files idiomatic ones, test files what is written."""

import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pretty_midi
import pytest

from m2m.core.errors import M2MError
from m2m.core.score import NoteArray, note_array
from m2m.dataset.build import build
from m2m.dataset.parts import part_for
from m2m.dataset.shards import DatasetConfig, ShardReader

Midi = Callable[..., Path]
PIECE = note_array((2.0 + 0.5 * i, 2.4 + 0.5 * i, 40 + i % 30, 60 + i % 30) for i in range(100))
NO_DRUMS = note_array([])
SHORT = DatasetConfig(programs=(0, 56), seconds=5.0, tail=0.5)


def part(program: int, split: str, config: DatasetConfig, seed: object = "") -> NoteArray:
    return part_for(program, PIECE, NO_DRUMS, split, config, random.Random(f"{seed} {program}"))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_kit_plays_a_drum_part(split: str) -> None:
    parts = [part(kit, split, SHORT, seed) for kit in (128, 153) for seed in range(3)]
    for number, notes in enumerate(parts):
        assert len(notes) > 8
        assert ((notes["pitch"] >= 27) & (notes["pitch"] <= 87)).all()
        assert notes["end"].max() <= 4.5
        assert not any(len(notes) == len(other) and (notes == other).all() for other in parts[:number])
    assert (part(128, split, SHORT, 0) == parts[0]).all()


def test_a_kit_plays_the_drums_of_a_file_that_has_some() -> None:
    drums = note_array((1.0 + 0.25 * i, 1.1 + 0.25 * i, (36, 42, 38, 20)[i % 4], 90) for i in range(80))

    def played(split: str, **changes: object) -> NoteArray:
        return part_for(128, PIECE, drums, split, SHORT.model_copy(update=changes), random.Random(1))

    written = drums[(drums["start"] < 4.5) & (drums["pitch"] > 20)]  # General MIDI has no key 20
    assert np.array_equal(played("test")[["start", "pitch", "velocity"]], written[["start", "pitch", "velocity"]])
    assert played("test", begin="note")["start"][0] == 0
    varied = played("train", transpose=12, idiomatic=1.0)
    assert set(varied["pitch"].tolist()) == {36, 42, 38}
    assert len(varied) > 8
    assert not np.isin(varied["start"], written["start"]).all()  # at another tempo, from another place
    assert (part_for(0, PIECE, drums, "test", SHORT, random.Random(1)) == part(0, "test", SHORT)).all()


def test_idiomatic_parts_are_training_files_alone() -> None:
    config = SHORT.model_copy(update={"idiomatic": 1.0})
    xylophone = part(13, "train", config)
    assert xylophone["pitch"].min() >= 65
    assert (xylophone["end"] - xylophone["start"]).max() <= 0.3 + 1e-9
    assert (part(13, "test", config) == part(13, "test", SHORT)).all()
    halves = [part(13, "train", SHORT.model_copy(update={"idiomatic": 0.5}), seed) for seed in range(60)]
    assert 15 < sum(notes["pitch"].min() >= 65 for notes in halves) < 45


def test_an_excerpt_may_begin_at_the_first_note() -> None:
    assert part(0, "test", SHORT)["start"].tolist() == [2.0, 2.5, 3.0, 3.5, 4.0]
    at_the_note = SHORT.model_copy(update={"begin": "note"})
    for split in ("validation", "test"):
        notes = part(0, split, at_the_note)
        assert np.allclose(notes["start"], 0.5 * np.arange(9))
        assert notes["pitch"].tolist() == PIECE["pitch"][:9].tolist()
    assert (part(0, "train", at_the_note) == part(0, "train", SHORT)).all()
    assert len(part_for(0, NO_DRUMS, NO_DRUMS, "test", at_the_note, random.Random(0))) == 0


def test_a_data_set_of_programs_and_kits(tmp_path: Path, midi: Midi, sines: None) -> None:
    """Built again it is the same, and what a program plays does not depend on the kits beside it."""
    for name in ("a", "b", "c"):
        midi(f"{name}.mid", range(48, 72, 2))
    (tmp_path / "sines.sf2").write_bytes(b"none")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a.mid"], "validation": ["b.mid"], "test": ["c.mid"]}))

    def built(folder: str, **changes: object) -> list[ShardReader]:
        config = SHORT.model_copy(update=changes)
        font, split = tmp_path / "sines.sf2", tmp_path / "split.json"
        assert list(build(tmp_path / "midi", font, tmp_path / folder, config, split, 1)) == []
        return [ShardReader(tmp_path / folder, split) for split in ("train", "validation", "test")]

    both, again = built("both", programs=(0, 56, 128, 153)), built("again", programs=(0, 56, 128, 153))
    assert both[0].instruments == {"grand-piano": 0, "trumpet": 56, "standard-kit": 128, "tr-808-kit": 153}
    for one, same, pitched in zip(both, again, built("pitched"), strict=True):
        for name in one.instruments:
            assert np.array_equal(one.audio(0, name), same.audio(0, name))
            assert np.array_equal(one.notes(0, name), same.notes(0, name))
            assert np.abs(one.audio(0, name)).max() > 0.05
        assert np.array_equal(one.audio(0, "trumpet"), pitched.audio(0, "trumpet"))
    with pytest.raises(M2MError, match="with other programs, idiomatic;"):
        built("both", idiomatic=0.5)


def test_the_drums_of_a_midi_file_are_a_kits(tmp_path: Path, sines: None) -> None:
    song = pretty_midi.PrettyMIDI()
    for is_drum, keys in ((False, (60, 64)), (True, (36, 38, 36, 38))):
        song.instruments.append(pretty_midi.Instrument(0, is_drum=is_drum))
        song.instruments[-1].notes = [pretty_midi.Note(90, key, 0.5 * i, 0.5 * i + 0.25) for i, key in enumerate(keys)]
    (tmp_path / "midi").mkdir()
    song.write(str(tmp_path / "midi" / "a.mid"))
    (tmp_path / "sines.sf2").write_bytes(b"none")
    (tmp_path / "split.json").write_text('{"test": ["a.mid"]}')
    config = SHORT.model_copy(update={"programs": (0, 128)})
    assert (
        list(build(tmp_path / "midi", tmp_path / "sines.sf2", tmp_path / "out", config, tmp_path / "split.json", 1))
        == []
    )
    test = ShardReader(tmp_path / "out", "test")
    assert test.notes(0, "grand-piano")[:, 2].tolist() == [60, 64]
    assert test.notes(0, "standard-kit")[:, 2].tolist() == [36, 38, 36, 38]


def test_a_field_that_is_left_out_again_is_noticed(tmp_path: Path, midi: Midi, sines: None) -> None:
    midi("a.mid", range(48, 72, 2))
    (tmp_path / "sines.sf2").write_bytes(b"none")
    where = tmp_path / "midi", tmp_path / "sines.sf2", tmp_path / "out"
    assert list(build(*where, SHORT.model_copy(update={"begin": "note"}), None, 1)) == []
    with pytest.raises(M2MError, match="with other begin;"):
        build(*where, SHORT, None, 1)
