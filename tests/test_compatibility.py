"""What was made with or written for 0.1 still works: plugins, rendered files, runs, data sets and benches (tests/fixtures)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from command_line import M2M
from environments import TRAIN, Environment

from m2m.core.audio import read_tags
from m2m.core.system.run_config import load_run
from m2m.training.parallel_wavenet import StudentRun
from m2m.training.wavenet import WaveNetRun

FIXTURES = Path(__file__).parent / "fixtures"
PACKAGES = sorted(path.name for path in (FIXTURES / "plugins-0.1").iterdir())
DEPRECATED = "M2MDeprecationWarning"

# --- plugins ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packages(fresh: Environment) -> dict[str, Path]:
    """Packages written for 0.1, installed unedited."""
    sources = fresh.copies(FIXTURES / "plugins-0.1", PACKAGES)
    fresh.install(sources)
    return {path.name: path for path in sources}


@pytest.mark.parametrize("package", PACKAGES)
def test_their_own_tests_pass_unedited(packages: dict[str, Path], fresh: Environment, package: str) -> None:
    """Those that keep to the contracts are warned of nothing."""
    strict = [] if package == "m2m-old-names" else ["-W", "error"]
    done = fresh.run(*strict, "-m", "pytest", "-q", "-p", "no:cacheprovider", packages[package])
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 8


@pytest.mark.usefixtures("packages")
def test_vocoders_render(fresh: Environment, score: str) -> None:
    names = ["example-vocoder", "my-vocoder", "pghi", "old-names"]
    render = f"import m2m\nfor n in {names}: m2m.render('{score}', vocoder=n).save(n + '.wav')"
    done = fresh.run("-c", render)
    assert done.returncode == 0, done.stderr
    for name in names:
        wave, rate = soundfile.read(fresh.folder / f"{name}.wav")
        assert len(wave) > 2 * rate
        assert abs(wave).max() > 0.01


@pytest.mark.usefixtures("packages")
@pytest.mark.parametrize("author", ["example", "my"])
def test_encoder_and_conditioner_are_trained_and_render(fresh: Environment, score: str, author: str) -> None:
    render = f"import m2m; m2m.render('{score}', model='model').save('mine.wav', overwrite=True)"
    done = fresh.run("-W", "error", "-c", TRAIN + render, f"{author}-encoder", f"{author}-conditioner")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(fresh.folder / "mine.wav").frames > 0


@pytest.mark.usefixtures("packages")
def test_each_old_path_and_name_is_warned_of_once(fresh: Environment) -> None:
    code = (
        "from m2m.core.plugins import registry; registry.create('vocoder', 'old-names'); import m2m_old_names.vocoder"
    )
    done = fresh.run("-W", "always", "-c", code)
    assert done.returncode == 0, done.stderr
    said = [line.partition(f"{DEPRECATED}: ")[2] for line in done.stderr.splitlines() if DEPRECATED in line]
    old = ["files", "pipeline", "registry"]
    assert sorted(line.partition(" is deprecated")[0] for line in said) == sorted(
        [
            *(f"the module m2m.core.{name}" for name in old),
            *(f"the module m2m.vocoders.{name}" for name in ("comb", "rests", "spectrum")),
            "m2m.core.checkpoint.shipped",
            "m2m.core.mel.MelInTheMaking",
            "m2m.core.vocoder.Engine",
        ]
    )


# --- what a user of 0.1 has on disk -------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which 0.1 was at work, which is the working directory."""
    work = tmp_path / "work"
    shutil.copytree(FIXTURES / "made-by-0.1", work, dirs_exist_ok=True)
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize("vocoder", ["griffin-lim", "wavenet", "parallel-wavenet"])
def test_a_rendered_file_is_rendered_again(old: Path, here: M2M, vocoder: str) -> None:
    """Whether its samples are the same depends on the processor and on torch; its tags are understood everywhere."""
    done = here("rerender", f"renders/{vocoder}.flac", "-o", "again.flac")
    assert done.stdout in ("the same samples\n", "different samples\n"), done.stderr
    assert "m2m was 0.1.0" in done.stderr
    tags, again = read_tags(old / "renders" / f"{vocoder}.flac"), read_tags(old / "again.flac")
    for key in ("score", "model", "mel", "timbre", "map", "seed", "gain", "clip_mode", "stems"):
        assert again[key] == tags[key]
    assert again["vocoder"]["name"] == vocoder
    assert soundfile.info("again.flac").frames == soundfile.info(f"renders/{vocoder}.flac").frames


@pytest.mark.parametrize("kind", ["mel2mel", "wavenet", "parallel-wavenet"])
def test_a_run_goes_on(old: Path, here: M2M, kind: str) -> None:
    done = here("train", kind, "data", "-o", f"runs/{kind}", "--resume", "--steps", "3")
    assert done.returncode == 0, done.stderr
    assert "step 3" in done.stderr
    assert "step 1" not in done.stderr
    assert json.loads((old / "runs" / kind / "run.json").read_text())["loop"]["steps"] == 3


@pytest.mark.parametrize("kind", ["mel2mel", "wavenet", "parallel-wavenet"])
def test_a_runs_config_begins_another(old: Path, here: M2M, kind: str) -> None:
    done = here("train", kind, "data", "-o", "new", "--config", f"runs/{kind}/run.json", "--steps", "1")
    assert done.returncode == 0, done.stderr
    assert (old / "new" / "best" / "config.json").is_file()


def test_a_models_folder_is_read(old: Path, here: M2M) -> None:
    for vocoder in ("wavenet", "parallel-wavenet"):
        done = here("train", vocoder, "data", "-o", f"new/{vocoder}", "--config", f"runs/{vocoder}/run.json",
                    "--start", f"runs/{vocoder}/best", "--steps", "1")  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_old_values_of_options_are_read(old: Path) -> None:
    (old / "old.toml").write_text("reconciled = 4\nvalidation_windows = 2\n[model]\ncomb = 2\n[loop]\naverage = 0.99\n")
    values = {"reconciled": 4, "validation_windows": 2, "loop.average": 0.99}
    from_file = load_run(WaveNetRun, old / "old.toml", {})
    assert from_file == load_run(WaveNetRun, None, {"model.comb": 2, **values})
    assert from_file != load_run(WaveNetRun, None, values)
    assert load_run(StudentRun, None, {"model.comb": "2"}) != load_run(StudentRun, None, {})


@pytest.mark.parametrize("preset", ["comb", "paper"])
@pytest.mark.filterwarnings("ignore::m2m.core.errors.M2MDeprecationWarning")
def test_old_presets_are_read(old: Path, here: M2M, preset: str) -> None:
    small = {"model.layers": 2, "model.residual": 4, "model.skip": 4, "model.mel.n_mels": 8, "sequence": 4,
             "validation_windows": 1, "validation_seconds": 0.05, "loop.batch_size": 1,
             "instruments.trumpet": 56}  # fmt: skip
    given = [f"--set={name}={value}" for name, value in small.items()]
    done = here("train", "wavenet", "data", "-o", "new", "--preset", preset, "--steps", "1", *given)
    assert done.returncode == 0, done.stderr


def test_an_unfinished_bench_is_continued(old: Path, here: M2M) -> None:
    """Its finished cells stay as they are; those of a vocoder are computed anew, being of another version."""
    cells = {path.name: path.read_bytes() for path in (old / "bench" / "cells").iterdir()}
    done = here("bench", "--config", "bench/bench.json", "-o", "bench", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"folder": "bench", "cells": 5, "computed": 3, "failed": 0, "skipped": 0}
    assert all((old / "bench" / "cells" / name).read_bytes() == cell for name, cell in cells.items())
    assert "mu-law" in (old / "bench" / "summary.md").read_text()
