"""What a bench would compare, without computing any of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from m2m.core.errors import M2MError
from m2m.evaluation.bench.plan import BenchConfig, make_plan
from m2m.evaluation.bench.recordings import open_recordings


def labels(**config: object) -> list[str]:
    return list(make_plan(BenchConfig.model_validate(config)).labels.values())


def model(folder: Path, conditioner: str = "film", loss: str = "") -> Path:
    """A model's folder, as far as a plan looks into it; a run's, if it was trained with a loss."""
    best = folder / "best" if loss else folder
    best.mkdir(parents=True)
    made_of = {"conditioner": conditioner, "encoder": "onsets-frames"}
    (best / "config.json").write_text(json.dumps({"format": 1, "kind": "mel2mel", "config": made_of}))
    (best / "model.safetensors").write_bytes(folder.name.encode())
    if loss:
        (folder / "run.json").write_text(json.dumps({"kind": "mel2mel", "loss": loss}))
    return folder


def test_the_built_in_set_and_all_that_ships() -> None:
    plan = make_plan(BenchConfig(vocoders=("griffin-lim",)))
    assert {recording.instrument for recording in plan.recordings} >= {"grand-piano", "trumpet"}
    found = [system.label for system in plan.systems]
    assert found[:3] == ["original", "mu-law", "true mel > griffin-lim"]
    assert any(label.startswith("film") and label.endswith("> griffin-lim") for label in found)
    assert any(label.startswith("concat") and label.endswith(" mel") for label in found)
    assert len(list(plan.cells)) == len(plan.systems) * len(plan.recordings)


def test_the_device_is_chosen_before_anything_is_computed() -> None:
    assert make_plan(BenchConfig(vocoders=(), stages=(), device="cpu")).config.device == "cpu"
    with pytest.raises(M2MError, match="there is no device 'warp'"):
        make_plan(BenchConfig(device="warp"))


def test_models_are_found_in_runs_and_chosen_by_loss(tmp_path: Path) -> None:
    for loss in ("abs", "log-abs"):
        model(tmp_path / "runs" / loss, loss=loss)
    model(tmp_path / "runs" / "other", "concat")
    (tmp_path / "runs" / "logs").mkdir()
    found = labels(models=(tmp_path / "runs",), stages=("mel",))
    assert sorted(found[1:]) == ["concat mel", "film (abs) mel", "film (log-abs) mel"]
    assert labels(models=(tmp_path / "runs",), stages=("mel",), losses=("abs",), conditioners=("film",)) == [
        "original", "film mel",
    ]  # fmt: skip


def test_what_cannot_be_had_is_a_system_that_says_so(tmp_path: Path) -> None:
    model(tmp_path / "runs" / "a", loss="abs")
    plan = make_plan(BenchConfig(models=(tmp_path / "runs",), stages=("mel",), losses=("abs", "log-abs")))
    assert [bool(system.problem) for system in plan.systems] == [False, False, True]
    assert "m2m train mel2mel --conditioner film --loss log-abs" in plan.systems[2].problem
    missing = make_plan(BenchConfig(conditioners=("film", "nothing"), stages=("mel",), vocoders=()))
    assert "no conditioner 'nothing'" in missing.systems[-1].problem


def test_a_cell_is_named_by_all_that_decides_its_result(tmp_path: Path, recordings: Path) -> None:
    folder = model(tmp_path / "m")

    def ids(**changes: object) -> set[str]:
        config = {"data": recordings, "vocoders": ("griffin-lim",), "models": (folder,), "seconds": 1.0, **changes}
        return {cell.id for cell in make_plan(BenchConfig.model_validate(config)).cells}

    first = ids()
    assert ids() == first
    assert ids(repeats=9) == first
    assert ids(stages=("mu-law",)) < first
    assert not ids(seconds=0.5) & first
    assert not ids(seed=1) & first
    options = ids(vocoder_options={"griffin-lim": {"iterations": 3}})
    assert len(options - first) == 8  # from true mels and from predicted ones, on four recordings
    (folder / "model.safetensors").write_bytes(b"other weights")
    assert len(ids() - first) == 8  # predicted, and mel


@pytest.mark.parametrize("vocoder", ["wavenet", "cuda-wavenet", "parallel-wavenet"])
def test_other_weights_under_the_name_that_ships_make_new_cells(
    vocoder: str, recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BenchConfig(data=recordings, vocoders=(vocoder,), stages=("true-mel",), seconds=1.0)
    before = {cell.id for cell in make_plan(config).cells if cell.system.vocoder}
    monkeypatch.setattr("m2m.evaluation.bench.plan.weights_hash", str)
    assert len({cell.id for cell in make_plan(config).cells if cell.system.vocoder} - before) == len(before) > 0


@pytest.mark.parametrize("hostile", ["raise RuntimeError('no')", "raise SystemExit(3)", "import time; time.sleep(600)"])
def test_a_strangers_package_is_looked_into_and_not_imported(
    hostile: str, recordings: Path, install: Callable[..., Path]
) -> None:
    info = install("strange", group="m2m.vocoders", entries="strange = odd.deep.voice:Voice")
    package = info.parent / "odd"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text(hostile)
    (package / "deep" / "__init__.py").write_text(hostile)

    def ids(code: str) -> set[str]:
        (package / "deep" / "voice.py").write_text(code)
        config = BenchConfig(data=recordings, vocoders=("strange",), stages=("true-mel",), seconds=1.0)
        return {cell.id for cell in make_plan(config).cells if cell.system.vocoder}

    first = ids("class Voice: pass")
    assert ids("class Voice: pass") == first
    assert not ids("class Voice: pitch = 1") & first


def test_a_folder_of_recordings_and_a_score_that_is_missing(recordings: Path, tmp_path: Path) -> None:
    found = open_recordings(recordings)
    first = found.list()[0]
    wave, rate, notes = found.read(first, 0.5)
    assert (len(wave), rate, len(notes)) == (8_000, 16_000, 2)
    (tmp_path / "a--trumpet.wav").write_bytes(b"")
    with pytest.raises(M2MError, match=r"audio of 'a', but not its score a\.mid"):
        open_recordings(tmp_path).list()
