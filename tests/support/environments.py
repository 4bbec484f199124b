"""Fresh virtual environments, into which packages are installed as their users do."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from command_line import HANGS
from forks import PRELOADED, Forks

LITTER = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", ".pytest_cache")


class Environment:
    """An environment of its own in a folder, in which its commands run; m2m and what it needs are this environment's."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.python = folder, folder / "venv" / "bin" / "python"
        venv.create(folder / "venv", with_pip=False, symlinks=True)
        site = next((folder / "venv" / "lib").glob("python*/site-packages"))
        here = [path for path in sys.path if path.endswith("site-packages")]
        site.joinpath("this.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in here))
        # stevedore remembers entry points on disk, but not below the system's temporary folder: let it believe itself elsewhere.
        self.variables = (
            os.environ
            | {
                "XDG_CACHE_HOME": str(folder / "cache"),
                "TMPDIR": str(folder / "tmp"),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # those of this environment take longer to load than a package's tests
            }
        )
        (folder / "tmp").mkdir()
        self.forks = Forks(self.python, self.variables, (*PRELOADED, "pytest"))

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments, in a fork."""
        return self.forks.run(*arguments, cwd=self.folder, env=self.variables, timeout=HANGS)

    def start(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Start a new Python with these arguments."""
        return subprocess.run(
            [self.python, *arguments],
            env=self.variables,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=HANGS,
        )

    def install(self, sources: Iterable[Path]) -> None:
        """Install packages by one pip, which is this environment's and asks no index."""
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", self.python, "install", "-q", "--no-deps"]
        options = ["--no-index", "--no-build-isolation"]
        done = subprocess.run([*pip, *options, *sources], capture_output=True, text=True, cwd=self.folder)
        assert done.returncode == 0, done.stderr
        self.forks.close()  # the next one finds what has been installed

    def copies(self, parent: Path, names: Iterable[str]) -> list[Path]:
        """Copies of packages in this folder: an installation leaves its litter where it is made."""
        return [shutil.copytree(parent / name, self.folder / name, ignore=LITTER) for name in names]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment for a file of tests."""
    environment = Environment(tmp_path_factory.mktemp("fresh"))
    yield environment
    environment.forks.close()


@pytest.fixture
def score(fresh: Environment) -> str:
    """A MIDI file of three notes in the environment's folder."""
    import pretty_midi

    midi, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, 60 + 4 * i, 0.2 * i, 0.2 * i + 0.2) for i in range(3)]
    midi.instruments.append(piano)
    midi.write(str(fresh.folder / "score.mid"))
    return "score.mid"


# A model with an encoder and a conditioner by name, trained a little, saved as "model".
TRAIN = """
import sys
import torch
from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from pathlib import Path
config = Mel2MelConfig(encoder=sys.argv[1], conditioner=sys.argv[2], hidden=8)
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
