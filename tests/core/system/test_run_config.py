"""Configs of runs: from files, from the command line, and what is said of mistakes in them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from m2m.core.errors import M2MError
from m2m.core.system.run_config import RUN, load_run, read_run
from m2m.dataset.shards import DatasetConfig
from m2m.training.losses.mel import LOSSES
from m2m.training.mel2mel import Mel2MelRun

*FIRST_LOSSES, LAST_LOSS = LOSSES

TOML = """
loss = "abs"
[model]
hidden = 32
instruments = { trumpet = 56 }
[model.mel]
fmax = 7000.0
[loop]
steps = 50
"""
YAML = """
# a comment
loss: abs
model:
  hidden: 32
  instruments: {trumpet: 56}
  mel: {fmax: 7000.0}
loop: {steps: 50}
"""


def written(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


@pytest.mark.parametrize(("name", "text"), [("run.toml", TOML), ("run.yaml", YAML), ("run.yml", YAML)])
def test_a_file(tmp_path: Path, name: str, text: str) -> None:
    if "toml" not in name:
        pytest.importorskip("yaml", reason="PyYAML is not installed")
    run = load_run(Mel2MelRun, written(tmp_path, name, text), {})
    assert (run.loss, run.model.hidden, run.loop.steps, run.model.mel.fmax) == ("abs", 32, 50, 7000.0)
    assert run.model.instruments == {"trumpet": 56}
    assert run.loop.batch_size == Mel2MelRun().loop.batch_size
    kept = json.dumps({"kind": "mel2mel", **run.model_dump(mode="json")})
    assert load_run(Mel2MelRun, written(tmp_path, "run.json", kept), {}) == run


def test_nothing_said_is_the_default(tmp_path: Path) -> None:
    assert load_run(Mel2MelRun, None, {}) == Mel2MelRun()
    assert load_run(DatasetConfig, written(tmp_path, "empty.toml", ""), {}) == DatasetConfig()
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert load_run(Mel2MelRun, written(tmp_path, "empty.yaml", "# nothing\n"), {}) == Mel2MelRun()


def test_single_values_go_on_top(tmp_path: Path) -> None:
    values = {"loop.steps": "7", "model.mel.n_fft": "2048", "model.timbre_dim": 3, "loop.compile": "true"}
    run = load_run(Mel2MelRun, written(tmp_path, "run.toml", TOML), values)
    assert (run.loop.steps, run.model.mel.n_fft, run.model.timbre_dim, run.loop.compile) == (7, 2048, 3, True)
    assert (run.model.hidden, run.model.mel.fmax) == (32, 7000.0)
    assert load_run(Mel2MelRun, None, {"model.instruments.trumpet": "56"}).model.instruments == {"trumpet": 56}
    assert load_run(DatasetConfig, None, {"programs": ["0", "56"]}).programs == (0, 56)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"loop.step": 1}, r"config: loop\.step: .*there are steps, batch_size, seed"),
        ({"los": "abs"}, r"config: los: .*there are model, loop, start, loss, .*sequence, silence, validation_seconds"),
        ({"model.mel.hop": 1}, r"config: model\.mel\.hop: .*there are sample_rate, hop_length"),
        ({"loop.steps": "many"}, r"config: loop\.steps: input should be a valid integer.*'many' came"),
        ({"loop.steps": 0}, r"config: loop\.steps: .*greater than or equal to 1, 0 came"),
        ({"loop.seed": -1}, r"config: loop\.seed: .*greater than or equal to 0"),
        ({"loss": "mse"}, rf"config: loss: .*{', '.join(map(repr, FIRST_LOSSES))} or {LAST_LOSS!r}, 'mse' came"),
        ({"loop": "fast"}, r"config: loop: .*'fast' came"),
        ({"loop": "fast", "loop.steps": 3}, "--set loop.steps: 'loop' is a value, not a group of fields"),
        (
            {"model.mel.fmax": 9_000},
            r"config: model\.mel: fmin 0 < fmax 9000 <= sample_rate / 2 = 8000 does not hold\.",
        ),
        ({"model.instruments.trumpet": "loud"}, r"config: model\.instruments\.trumpet: .*'loud' came"),
    ],
)
def test_mistakes_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(M2MError, match=words) as caught:
        load_run(Mel2MelRun, None, values)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"programs": ["0", "256"]}, r"config: programs\.1: .*less than or equal to 255, '256' came"),
        ({"seconds": 1.0}, r"config: tail 1\.5 < seconds 1 does not hold"),
    ],
)
def test_mistakes_of_a_data_set_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(M2MError, match=words):
        load_run(DatasetConfig, None, values)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "loss = ", r"cannot read the config .*a\.toml: "),
        ("a.json", "{", r"cannot read the config .*a\.json: "),
        ("a.yaml", "a: [1", r"cannot read the config .*a\.yaml: "),
        ("b.yaml", "- 1\n- 2\n", "is not a table"),
        ("b.json", "[1]", "is not a table"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, text: str, words: str) -> None:
    if "yaml" in name:
        pytest.importorskip("yaml", reason="PyYAML is not installed")
    with pytest.raises(M2MError, match=words) as caught:
        load_run(Mel2MelRun, written(tmp_path, name, text), {})
    assert "\n" not in str(caught.value)


def test_a_table_is_given_as_json() -> None:
    from m2m.training.wavenet import WaveNetRun

    run = load_run(WaveNetRun, None, {"instruments": '{"harp": 46, "grand-piano": 0}'})
    assert run.instruments == {"harp": 46, "grand-piano": 0}
    with pytest.raises(M2MError, match="is not valid JSON"):
        load_run(WaveNetRun, None, {"instruments": "{harp: 46}"})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(M2MError, match=r"cannot read .*no\.toml: No such file or directory\.$"):
        load_run(Mel2MelRun, tmp_path / "no.toml", {})
    (tmp_path / "latin.toml").write_bytes(b'loss = "\xe9"')
    with pytest.raises(M2MError, match="cannot read the config"):
        load_run(Mel2MelRun, tmp_path / "latin.toml", {})


def test_yaml_needs_pyyaml_and_toml_does_not(tmp_path: Path, without: Callable[[str], None]) -> None:
    without("yaml")
    with pytest.raises(M2MError, match=r"needs PyYAML: pip install 'm2m\[train\]', or write TOML"):
        load_run(Mel2MelRun, written(tmp_path, "run.yaml", YAML), {})
    assert load_run(Mel2MelRun, written(tmp_path, "run.toml", TOML), {}).loop.steps == 50


# Names of earlier versions.


class Sizes(BaseModel):
    """A group of fields, one of which had another name once."""

    model_config = ConfigDict(extra="forbid")

    width: int = Field(1, validation_alias=AliasChoices("width", "breadth"))


class Run(BaseModel):
    """A config with such a group, and such a field."""

    model_config = ConfigDict(extra="forbid")

    sizes: Sizes = Sizes()
    steps: int = Field(1, validation_alias=AliasChoices("steps", "rounds"))


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("given_old", [True, False])
def test_an_earlier_name_is_read_in_a_file_and_on_top_of_one(tmp_path: Path, old: bool, given_old: bool) -> None:
    names = ("breadth", "rounds") if old else ("width", "steps")
    path = written(tmp_path, "run.json", json.dumps({"sizes": {names[0]: 2}, names[1]: 3}))
    assert load_run(Run, path, {}).model_dump() == {"sizes": {"width": 2}, "steps": 3}
    given = {"sizes.breadth": 4, "rounds": 5} if given_old else {"sizes.width": 4, "steps": 5}
    assert load_run(Run, path, given).model_dump() == {"sizes": {"width": 4}, "steps": 5}


def test_a_mistake_beside_an_earlier_name_is_told_the_names_of_today() -> None:
    with pytest.raises(M2MError, match=r"config: sizes\.wide: .*there are width\."):
        load_run(Run, None, {"sizes.breadth": 2, "sizes.wide": 3})


# A run's own config.


def test_the_config_in_a_runs_folder(tmp_path: Path) -> None:
    assert read_run(tmp_path) == {}
    written(tmp_path, RUN, json.dumps({"kind": "mel2mel", "loss": "abs"}))
    assert read_run(tmp_path) == {"kind": "mel2mel", "loss": "abs"}
    written(tmp_path, RUN, "[")
    with pytest.raises(M2MError, match=r"cannot read the config .*run\.json"):
        read_run(tmp_path)
