"""The author's road, as an author walks it: a package is written, installed into a fresh environment, tested, seen and heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from command_line import M2M
from environments import TRAIN, Environment

from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.plugins.scaffold import EXAMPLE, new_plugin

ROOT = Path(__file__).parents[1]
KINDS = {"vocoder": "my-vocoder", "conditioner": "my-conditioner", "encoder": "my-encoder"}


@pytest.fixture(scope="module")
def packages(fresh: Environment) -> dict[str, Path]:
    """The generated packages and m2m-pghi, installed; the list was looked at just before, and is cached."""
    made = [new_plugin(name, kind, fresh.folder) for kind, name in KINDS.items()]
    assert "my-vocoder" not in fresh.run("-m", "m2m", "plugins", "list").stdout
    # fills stevedore's cache, as another tool might
    fresh.run("-c", "from stevedore import ExtensionManager as E; E('m2m.vocoders')")
    sources = [*made, *fresh.copies(ROOT / "examples", ["m2m-pghi"])]
    fresh.install(sources)
    return {path.name: path for path in sources}


def test_they_are_listed_right_after_their_installation(fresh: Environment, packages: dict[str, Path]) -> None:
    found = {c["name"]: c for c in json.loads(fresh.run("-m", "m2m", "plugins", "list", "--json").stdout)}
    names = (*KINDS.values(), "pghi")
    assert [found[name]["status"] for name in names] == ["ok"] * 4
    load = f"from m2m.core.plugins import registry as r\nfor n in {names}: r.load(r.find(None, n).kind, n)"
    assert fresh.run("-c", load).returncode == 0
    assert found["pghi"]["distribution"] == "m2m-pghi"


@pytest.mark.parametrize("package", [*KINDS.values(), "m2m-pghi"])
def test_their_own_tests_pass_before_a_line_is_changed(
    packages: dict[str, Path], fresh: Environment, package: str
) -> None:
    done = fresh.run("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", packages[package])
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 8


@pytest.mark.parametrize("vocoder", ["my-vocoder", "pghi"])
@pytest.mark.usefixtures("packages")
def test_a_vocoder_renders(fresh: Environment, score: str, vocoder: str) -> None:
    done = fresh.run("-m", "m2m", "render", score, "--vocoder", vocoder, "-o", f"{vocoder}.wav")
    assert done.returncode == 0, done.stderr
    wave, rate = soundfile.read(fresh.folder / f"{vocoder}.wav")
    assert len(wave) > 2 * rate
    assert abs(wave).max() > 0.01


@pytest.mark.usefixtures("packages")
def test_conditioner_and_encoder_are_trained_and_render(fresh: Environment, score: str) -> None:
    """Of a training run, what matters here: a model with them is made, saved, loaded and rendered with."""
    assert fresh.run("-c", TRAIN, "my-encoder", "my-conditioner").returncode == 0
    done = fresh.run("-m", "m2m", "render", score, "--model", "model", "-o", "mine.wav")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(fresh.folder / "mine.wav").frames > 0


@pytest.mark.usefixtures("packages")
def test_plugins_check_reports(fresh: Environment) -> None:
    done = fresh.run("-m", "m2m", "plugins", "check", "my-encoder", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["kept"], report["distribution"]) == (0, True, "my-encoder")
    assert {check["status"] for check in report["checks"]} == {"passed"}


def test_plugins_check_is_read_by_people(here: M2M) -> None:
    done = here("plugins", "check", "film")
    assert done.returncode == 0
    assert "0 failed" in done.stdout.splitlines()[-1]
    assert "passed" in done.stdout.splitlines()[0]


def test_every_file_of_the_example_has_a_place_in_a_new_package(tmp_path: Path) -> None:
    made: set[str] = set()
    for kind, name in KINDS.items():
        folder = new_plugin(name, kind, tmp_path)
        made |= {
            path.relative_to(folder).as_posix().replace(name.replace("-", "_"), "m2m_example")
            for path in folder.rglob("*")
            if path.is_file()
        }
        text = "".join(path.read_text() for path in folder.rglob("*") if path.is_file())
        assert "xample" not in text
        assert not [other for other in KINDS if other != kind and f"m2m.{other}s" in text]
    litter = ("__pycache__", "build", ".egg-info", ".pytest_cache")
    whole = (p for p in EXAMPLE.rglob("*") if p.is_file() and not any(part.endswith(litter) for part in p.parts))
    assert made == {path.relative_to(EXAMPLE).as_posix() for path in whole}


def test_pghis_workflow_is_the_examples() -> None:
    workflow = ".github/workflows/tests.yml"
    assert (ROOT / "examples/m2m-pghi" / workflow).read_text() == (EXAMPLE / workflow).read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["My_Vocoder", "--kind", "vocoder"], 1, "small letters, digits and single hyphens"),
        (["../evil", "--kind", "vocoder"], 1, "cannot be a plugin's name"),
        (["json", "--kind", "encoder"], 1, "a Python module that is something else"),
        (["torch", "--kind", "vocoder"], 1, "a Python module that is something else"),
        (["typing-extensions", "--kind", "vocoder"], 1, "a Python module that is something else"),
        (["griffin-lim", "--kind", "vocoder"], 1, "is the name of vocoder 'griffin-lim' of m2m"),
        (["there", "--kind", "vocoder"], 1, "there exists; choose another name"),
        (["mine", "--kind", "vocoder", "-o", "/proc/x"], 1, "cannot make the folder"),
        (["mine"], 2, "Missing option '--kind'"),
    ],
)
def test_a_package_that_cannot_be_written(
    here: M2M, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "work" / "there").mkdir()
    done = here("plugins", "new", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["there"]


def test_a_package_is_written_here(here: M2M, tmp_path: Path) -> None:
    done = here("plugins", "new", "mine", "--kind", "encoder")
    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert (tmp_path / "work" / "mine" / "mine" / "encoder.py").read_text().count("class Mine") == 2
    assert Mel2Mel(Mel2MelConfig(hidden=4))  # nothing of m2m's is hurt
