"""The author's road, as an author walks it: a package is written, installed into a fresh environment, tested, seen and heard."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile
from command_line import M2M
from environments import TRAIN, Environment

from m2m.core.plugins.scaffold import EXAMPLE, new_plugin

ROOT = Path(__file__).parents[1]
KINDS = {
    "vocoder": "my-vocoder",
    "conditioner": "my-conditioner",
    "encoder": "my-encoder",
    "transcriber": "my-transcriber",
}


@pytest.fixture(scope="module")
def packages(fresh: Environment) -> dict[str, Path]:
    """The generated packages and m2m-pghi, installed; the list was looked at just before, and is cached."""
    made = [new_plugin(name, kind, fresh.folder) for kind, name in KINDS.items()]
    assert "my-vocoder" not in fresh.start("-m", "m2m", "plugins", "list").stdout
    # fills stevedore's cache, as another tool might
    fresh.start("-c", "from stevedore import ExtensionManager as E; E('m2m.vocoders')")
    sources = [*made, *fresh.copies(ROOT / "examples", ["m2m-pghi"])]
    fresh.install(sources)
    return {path.name: path for path in sources}


def test_they_are_listed_right_after_their_installation(fresh: Environment, packages: dict[str, Path]) -> None:
    found = {c["name"]: c for c in json.loads(fresh.start("-m", "m2m", "plugins", "list", "--json").stdout)}
    names = (*KINDS.values(), "pghi")
    assert [found[name]["status"] for name in names] == ["ok"] * 5
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


def test_pghis_workflow_is_the_examples() -> None:
    workflow = ".github/workflows/tests.yml"
    assert (ROOT / "examples/m2m-pghi" / workflow).read_text() == (EXAMPLE / workflow).read_text()
