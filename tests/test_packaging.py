"""What is installed is what should be: built from a copy of the tree, as pip does, without the network."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from importlib import metadata
from pathlib import Path

import pytest
from once import made_once

from m2m.core.plugins.kinds import KINDS

ROOT = Path(__file__).parents[1]
ROOMS = (
    "core",
    "commands",
    "encoders",
    "conditioners",
    "vocoders",
    "transcribers",
    "dataset",
    "training",
    "evaluation",
    "web",
)
PARTS = (*ROOMS, "models", "examples")
NO_CODE = shutil.ignore_patterns(
    "__pycache__", "build", ".[!g]*", "*.egg-info"
)  # .github and .gitignore of an example ship


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with the litter that working in one leaves."""
    tree = tmp_path_factory.mktemp("tree")
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, tree)
        elif file.name in PARTS:
            shutil.copytree(file, tree / file.name, ignore=NO_CODE)
    for litter in (
        "tests/test_x.py",
        "stray/module.py",
        "notes.py",
        "build/lib/m2m/stale.py",
        "core/__pycache__/x.pyc",
    ):
        tree.joinpath(litter).parent.mkdir(parents=True, exist_ok=True)
        tree.joinpath(litter).touch()
    return tree


# A compiler that takes the checkout's own library, which is of the same source, preprocessed with the same options; an object is
# then the library's path. Without one, or of another source, it compiles.
COMPILER = """#!{python}
import pathlib, shutil, subprocess, sys
root, command = pathlib.Path({root!r}), ["c++", *sys.argv[1:]]
out = pathlib.Path(command[command.index("-o") + 1])

def preprocessed(folder):
    to_nowhere = [word for word in command if word != "-c" and word not in ("-o", str(out))]
    return subprocess.run([*to_nowhere, "-E", "-P"], cwd=folder, capture_output=True, check=True).stdout

if "-c" in command:
    source = root / command[command.index("-c") + 1]
    made = next(source.parent.glob(source.stem + ".*.so"), None)
    if made and preprocessed(".") == preprocessed(root):
        out.write_text(str(made))
    else:
        sys.exit(subprocess.run(command).returncode)
else:
    (made,) = [pathlib.Path(word) for word in command if word.endswith(".o") and word != str(out)]
    if made.read_bytes()[:1] == b"/":
        shutil.copy(made.read_text(), out)
    else:
        sys.exit(subprocess.run(command).returncode)
"""


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For builds: what is in a wheel is asked, not how fast it is."""

    def make(folder: Path) -> None:
        (folder / "c++").write_text(COMPILER.format(python=sys.executable, root=str(ROOT)))
        (folder / "c++").chmod(0o755)

    return made_once(tmp_path_factory, "compiler", make) / "c++"


def build(what: Path, compiler: Path, out: Path) -> Path:
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    quick = os.environ | {"CC": str(compiler), "CXX": str(compiler), "CXXFLAGS": "-O0"}
    subprocess.run([*pip, "-w", out, what], env=quick, check=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tree: Path, compiler: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree."""
    return next(made_once(tmp_path_factory, "wheel", partial(build, tree, compiler)).glob("*.whl"))


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    wanted = {"m2m/plugins.toml", "m2m/py.typed", "m2m/__init__.py", "m2m/__main__.py", "m2m/cli.py"}
    sources = {f"m2m/{file.relative_to(ROOT)}" for room in ROOMS for file in (ROOT / room).rglob("*.py")}
    found = {name for name in names(wheel) if not name.startswith("m2m/examples/m2m-example/")}
    assert {name for name in found if name.endswith((".py", ".toml", ".typed"))} == wanted | sources
    allowed = (
        ".py",
        ".toml",
        ".typed",
        ".json",
        ".safetensors",
        ".mid",
        ".so",
        ".cu",
        ".h",
        ".flac",
        "quick/README.md",
        "bench/report.html",
        "listening/listening.html",
    )
    page = {f"m2m/web/static/{file.name}" for file in (ROOT / "web" / "static").iterdir()}
    assert {n for n in found if not n.endswith(allowed) and not n.startswith("m2m/models/")} == page


def test_models_and_examples_ship(wheel: Path) -> None:
    found = names(wheel)
    for model in (ROOT / "models").glob("*/model.safetensors"):
        assert {
            f"m2m/models/{model.parent.name}/{f}" for f in ("model.safetensors", "config.json", "README.md")
        } <= found
    for score in (ROOT / "examples").glob("*.mid"):
        assert f"m2m/examples/{score.name}" in found


def test_the_example_that_new_plugins_are_made_of_ships_whole(wheel: Path) -> None:
    example = ROOT / "examples" / "m2m-example"
    litter = ("__pycache__", "build", ".egg-info", "cache")
    files = (p for p in example.rglob("*") if p.is_file() and not any(part.endswith(litter) for part in p.parts))
    wanted = {f"m2m/examples/m2m-example/{path.relative_to(example).as_posix()}" for path in files}
    assert {name for name in names(wheel) if name.startswith("m2m/examples/m2m-example/")} == wanted


def test_every_folder_of_code_is_a_package() -> None:
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            assert file.with_name("__init__.py").exists(), f"{file} would not ship"


def test_entry_points_are_the_table(wheel: Path) -> None:
    table = tomllib.loads((ROOT / "plugins.toml").read_text())
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(next(n for n in archive.namelist() if n.endswith("entry_points.txt"))).decode()
    read = configparser.ConfigParser(delimiters="=")
    read.read_string(text)
    found = {(group, name): target for group in read.sections() for name, target in read[group].items()}
    wanted = {
        (kind.group, name): entry["class"]
        for kind in KINDS.values()
        for name, entry in table.get(kind.plural, {}).items()
        if "class" in entry
    }
    assert found == wanted | {("console_scripts", "m2m"): "m2m.cli:main"}


def test_every_entry_of_the_table_leads_somewhere() -> None:
    table = tomllib.loads((ROOT / "plugins.toml").read_text())
    for kind in KINDS.values():
        for entry in table.get(kind.plural, {}).values():
            module, _, name = entry.get("class", "m2m.core.errors:M2MError").partition(":")
            file = ROOT.joinpath(*module.split(".")[1:])
            source = file.with_suffix(".py") if file.with_suffix(".py").exists() else file / "__init__.py"
            assert name in source.read_text()
    for of, name in table["defaults"].items():
        assert (ROOT / "models" / name).is_dir() if of == "model" else name in table[KINDS[of].plural]


def test_a_source_distribution_builds_the_same_wheel(tree: Path, compiler: Path, wheel: Path, tmp_path: Path) -> None:
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
    assert names(build(next(tmp_path.glob("*.tar.gz")), compiler, tmp_path / "out")) == names(wheel)


def test_building_leaves_no_metadata_beside_the_sources(tree: Path, wheel: Path) -> None:
    assert not list(tree.glob("*.egg-info"))


def test_the_installed_command_runs(wheel: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(tmp_path / "site")]
    subprocess.run([*pip, str(wheel)], check=True)
    code = "import m2m, sys; print(m2m.__file__); from m2m.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, "plugins", "list", "--json"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(str(tmp_path))
    assert '"status": "ok"' in ran.stdout
    assert '"status": "missing"' not in ran.stdout


def test_version_is_told_once() -> None:
    import m2m

    assert metadata.version("m2m") == m2m.__version__


def test_constraints_name_no_machine() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert "torch==2.13.0" in lines
    for line in lines:
        name, exact, version = line.partition("==")
        assert name, line
        assert exact, line
        assert version.replace(".", "").isalnum(), line
