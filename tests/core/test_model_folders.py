"""Model folders: found by name or by what they are made of, and their configs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.model_folders import CONFIG, find_model, model_folder, read_config, shipped

SMALL = Mel2MelConfig(hidden=8, timbre_dim=3)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The folder of a small model."""
    save_model(tmp_path / "m", "mel2mel", SMALL, Mel2Mel(SMALL), "# A card\n")
    return tmp_path / "m"


def edit(folder: Path, **changes: object) -> None:
    about = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(about | changes))


def test_configs_are_checked(saved: Path) -> None:
    good = json.loads((saved / CONFIG).read_text())
    for change, words in (
        ({"kind": "wavenet"}, "'wavenet' model, a 'mel2mel' model was wanted"),
        ({"format": 99}, "format 99"),
        ({"config": good["config"] | {"hiden": 3}}, "hiden"),
        ({"config": good["config"] | {"hidden": -1}}, "hidden"),
        ({"config": None}, "does not describe"),
    ):
        edit(saved, **(good | change))
        with pytest.raises(M2MError, match=words):
            read_config(saved, "mel2mel", Mel2MelConfig)
    (saved / CONFIG).write_text("[1, 2")
    with pytest.raises(M2MError, match="not JSON"):
        read_config(saved, "mel2mel", Mel2MelConfig)


def test_models_are_found_by_what_they_are_made_of(saved: Path, tmp_path: Path) -> None:
    assert find_model("mel2mel", None, {"conditioner": "concat"}).name == "mel2mel-concat"
    assert find_model("mel2mel", None, {"conditioner": "film"}).name == "mel2mel-film"
    assert find_model("mel2mel", "mel2mel-film", {}).name == "mel2mel-film"
    assert find_model("mel2mel", saved, {"conditioner": "film", "encoder": None}) == saved
    with pytest.raises(M2MError, match=r"conditioner 'film', asked for was conditioner 'concat'"):
        find_model("mel2mel", saved, {"conditioner": "concat"})
    with pytest.raises(M2MError, match=r"no mel2mel model with conditioner 'x' ships.*mel2mel-film"):
        find_model("mel2mel", None, {"conditioner": "x"})
    with pytest.raises(M2MError, match="there is no model"):
        find_model("mel2mel", tmp_path, {})
    with pytest.raises(M2MError, match="did you mean mel2mel-film"):
        find_model("mel2mel", "mel2mel-fil", {})
    shutil.copytree(saved, tmp_path / "run" / "best")
    with pytest.raises(M2MError, match="it is a run, whose model is .*best"):
        find_model("mel2mel", tmp_path / "run", {})


def test_a_folder_left_in_the_working_directory_does_not_replace_what_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mel2mel-film", "mine"):
        (tmp_path / name).mkdir()
    assert model_folder("mel2mel-film") == shipped() / "mel2mel-film"
    assert model_folder("./mel2mel-film") == Path("mel2mel-film")
    assert model_folder("mine") == Path("mine")
