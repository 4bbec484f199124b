"""A data set on disk: its description and config, and how its shards are read."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec
from m2m.dataset.build import describe
from m2m.dataset.description import read_description
from m2m.dataset.shards import DatasetConfig, ShardReader, read_padded

SMALL = DatasetConfig(programs=(0, 56), seconds=2.0, tail=0.5)


@pytest.mark.parametrize("wrong", [{"programs": [256]}, {"programs": []}, {"seconds": 1.0}, {"tail": -1}, {"gian": 1}])
def test_a_config_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DatasetConfig.model_validate(wrong)


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
    for split, what in (("train", "no finished shard"), ("elsewhere", "no files")):
        with pytest.raises(M2MError, match=f"{what} in its split '{split}'"):
            ShardReader(tmp_path, split)
    assert os.listdir(tmp_path) == ["dataset.json"]


def test_a_config_without_the_newer_fields_is_what_it_was() -> None:
    """So that data sets of earlier versions are continued, and their shards are valid."""
    written = SMALL.model_dump(mode="json")
    assert {"begin", "idiomatic"}.isdisjoint(written)
    assert DatasetConfig.model_validate(written) == SMALL
    newer = SMALL.model_copy(update={"begin": "note", "idiomatic": 0.5})
    assert DatasetConfig.model_validate_json(newer.model_dump_json()) == newer


def test_a_fingerprint_is_of_how_a_data_set_was_made(tmp_path: Path, data: Path) -> None:
    """The same for other files; another for another SoundFont or config."""
    about = json.loads((data / "dataset.json").read_text())

    def fingerprint(**changes: object) -> str:
        (tmp_path / "dataset.json").write_text(json.dumps(about | changes))
        return read_description(tmp_path).fingerprint

    same = read_description(data).fingerprint
    assert fingerprint(files={"test": ["x.mid"]}) == same
    assert fingerprint(soundfont=about["soundfont"] | {"sha256": "0"}) != same
    assert fingerprint(config=about["config"] | {"gain": 0.5}) != same


@pytest.mark.parametrize(
    ("start", "stop", "wanted"),
    [
        (1, 3, [2, 3]),
        (-2, 2, [0, 0, 1, 2]),
        (2, 5, [3, 0, 0]),
        (-1, 4, [0, 1, 2, 3, 0]),
        (-3, -1, [0, 0]),
        (5, 7, [0, 0]),
    ],
)
def test_beyond_a_recording_a_padded_read_gives_silence(start: int, stop: int, wanted: list[float]) -> None:
    rows = np.array([[1], [2], [3]], np.float32)
    found = read_padded(lambda a, b: rows[a:b], start, stop, 0.0)
    assert found.dtype == np.float32
    assert found[:, 0].tolist() == wanted
