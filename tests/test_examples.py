"""The author's road, as an author walks it: a package is written, installed into a fresh environment, tested, seen and heard."""

import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest
import soundfile

from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.plugins.scaffold import EXAMPLE, new_plugin

ROOT = Path(__file__).parents[1]
KINDS = {"vocoder": "my-vocoder", "conditioner": "my-conditioner", "encoder": "my-encoder"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """An environment of its own, into which packages are installed; m2m and what it needs are this environment's."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    here = [path for path in sys.path if path.endswith("site-packages")]
    site.joinpath("this.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in here))
    # stevedore remembers entry points on disk, but not below the system's temporary folder: let it believe itself elsewhere.
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir()

    def run(*arguments, **options):
        return subprocess.run(
            [python, *arguments], env=environment, capture_output=True, text=True, cwd=folder, timeout=120, **options
        )

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def packages(fresh):
    """The generated packages and m2m-pghi, installed by one pip; the list was looked at just before, and is cached."""
    made = [new_plugin(name, kind, fresh.folder) for kind, name in KINDS.items()]
    assert "my-vocoder" not in fresh("-m", "m2m", "plugins", "list").stdout
    fresh(
        "-c", "from stevedore import ExtensionManager as E; E('m2m.vocoders')"
    )  # fills the cache, as another tool might
    sources = [*made, *copies(fresh.folder, "m2m-pghi")]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        fresh.folder / "venv" / "bin" / "python",
        "install",
        "-q",
        "--no-deps",
    ]
    done = subprocess.run(
        [*pip, "--no-index", "--no-build-isolation", *sources], capture_output=True, text=True, cwd=fresh.folder
    )
    assert done.returncode == 0, done.stderr
    fresh.installed = time.monotonic()
    return {path.name: path for path in sources}


def copies(folder, *names):
    """Copies of examples: an installation leaves its litter where it is made."""
    import shutil

    litter = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".pytest_cache")
    return [shutil.copytree(ROOT / "examples" / name, folder / name, ignore=litter) for name in names]


def test_they_are_listed_seconds_after_their_installation(fresh, packages):
    found = {c["name"]: c for c in json.loads(fresh("-m", "m2m", "plugins", "list", "--json").stdout)}
    assert time.monotonic() - fresh.installed < 60
    names = (*KINDS.values(), "pghi")
    assert [found[name]["status"] for name in names] == ["ok"] * 4
    assert (
        fresh(
            "-c", f"from m2m.core.plugins import registry as r\nfor n in {names}: r.load(r.find(None, n).kind, n)"
        ).returncode
        == 0
    )
    assert found["pghi"]["distribution"] == "m2m-pghi"


@pytest.mark.parametrize("package", [*KINDS.values(), "m2m-pghi"])
def test_their_own_tests_pass_before_a_line_is_changed(packages, fresh, package):
    done = fresh("-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", packages[package])
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 8


@pytest.fixture
def score(fresh):
    import pretty_midi

    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, 60 + 4 * i, 0.2 * i, 0.2 * i + 0.2) for i in range(3)]
    midi.instruments.append(piano)
    midi.write(str(fresh.folder / "score.mid"))
    return "score.mid"


@pytest.mark.parametrize("vocoder", ["my-vocoder", "pghi"])
def test_a_vocoder_renders(fresh, packages, score, vocoder):
    done = fresh("-m", "m2m", "render", score, "--vocoder", vocoder, "-o", f"{vocoder}.wav")
    assert done.returncode == 0, done.stderr
    wave, rate = soundfile.read(fresh.folder / f"{vocoder}.wav")
    assert len(wave) > 2 * rate
    assert abs(wave).max() > 0.01


def test_conditioner_and_encoder_are_trained_and_render(fresh, packages, score):
    """Of a training run, what matters here: a model with them is made, saved, loaded and rendered with."""
    code = """
import torch
from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from pathlib import Path
config = Mel2MelConfig(encoder="my-encoder", conditioner="my-conditioner", hidden=8)
model = Mel2Mel(config)
roll = torch.rand(2, 30, model.encoder.n_features)
optimiser = torch.optim.Adam(model.parameters(), 0.01)
losses = []
for _ in range(20):
    loss = (model(roll, model.timbre.weight[:2, None]) + 3).square().mean()
    optimiser.zero_grad(); loss.backward(); optimiser.step()
    losses.append(loss.item())
assert losses[-1] < losses[0]
save_model(Path("model"), "mel2mel", config, model, "# mine")
"""
    assert fresh("-c", code).returncode == 0
    done = fresh("-m", "m2m", "render", score, "--model", "model", "-o", "mine.wav")
    assert done.returncode == 0, done.stderr
    assert soundfile.info(fresh.folder / "mine.wav").frames > 0


def test_plugins_check_reports(fresh, packages):
    done = fresh("-m", "m2m", "plugins", "check", "my-encoder", "--json")
    report = json.loads(done.stdout)
    assert (done.returncode, report["kept"], report["distribution"]) == (0, True, "my-encoder")
    assert {check["status"] for check in report["checks"]} == {"passed"}


def test_plugins_check_is_read_by_people(here):
    done = here("plugins", "check", "film")
    assert done.returncode == 0
    assert "0 failed" in done.stdout.splitlines()[-1]
    assert "passed" in done.stdout.splitlines()[0]


def test_every_file_of_the_example_has_a_place_in_a_new_package(tmp_path):
    made = set()
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


def test_pghis_workflow_is_the_examples():
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
def test_a_package_that_cannot_be_written(here, tmp_path, arguments, code, words):
    (tmp_path / "work" / "there").mkdir()
    done = here("plugins", "new", *arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["there"]


def test_a_package_is_written_here(here, tmp_path):
    done = here("plugins", "new", "mine", "--kind", "encoder")
    assert (done.returncode, done.stdout) == (0, "mine\n")
    assert (tmp_path / "work" / "mine" / "mine" / "encoder.py").read_text().count("class Mine") == 2
    assert Mel2Mel(Mel2MelConfig(hidden=4))  # nothing of m2m's is hurt
