"""The README's command blocks name what is there: commands, options, settings, components, extras, files."""

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import m2m
from m2m.cli import cli
from m2m.core.plugins import registry, settings
from m2m.core.plugins.options import validate
from m2m.core.rendering.model_choice import check_choices

ROOT = Path(__file__).parents[2]
spec = importlib.util.spec_from_file_location("try_readme", ROOT / "docs" / "try_readme.py")
assert spec
assert spec.loader
try_readme = importlib.util.module_from_spec(spec)
sys.modules["try_readme"] = try_readme  # dataclasses look their module up
spec.loader.exec_module(try_readme)

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = list(try_readme.blocks(TEXT))
MADE = ("runs/", "my-")  # by the README's own commands


def commands() -> Iterator[list[str]]:
    """The words of every simple command of the shell blocks."""
    for block in BLOCKS:
        for line in block.text.splitlines() if block.kind == "shell" else ():
            for command in re.split(r"\s&&\s", line):
                if words := shlex.split(command, comments=True):
                    yield words


COMMANDS = list(commands())
OURS = [words[1:] for words in COMMANDS if words[0] == "m2m"]
OURS += [words[words.index("m2m") + 1 :] for words in COMMANDS if words[0] == "torchrun"]


def parsed(words: list[str]) -> click.Context:
    """A command of ours as click understands it; it is not run. Raises click.UsageError."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command, words = command.commands[words[0]], words[1:]
    return command.make_context(command.name, list(words))


def test_the_blocks_are_found() -> None:
    assert [block.kind for block in BLOCKS].count("python") == 1
    assert [block.kind for block in BLOCKS].count("toml") == 1
    assert len(OURS) > 25
    assert {words[0] for words in OURS} >= {"render", "serve", "train", "bench", "plugins", "dataset", "doctor"}


@pytest.mark.parametrize("words", OURS, ids=" ".join)
def test_a_command_and_its_options_are_there(words: list[str]) -> None:
    parsed(words)


def test_an_option_that_is_not_there_is_seen() -> None:
    with pytest.raises(click.UsageError, match="--timbres"):
        parsed(["render", "score.mid", "--timbres", "trumpet"])


@pytest.mark.parametrize("words", [w for w in OURS if w[0] == "render"], ids=" ".join)
def test_what_a_render_names_is_there(words: list[str]) -> None:
    given = parsed(words).params
    names = {name: given[name] for name in ("model", "encoder", "conditioner", "vocoder")}
    names = {name: value for name, value in names.items() if not str(value).startswith(MADE)}
    check_choices(filter(None, [given["timbre"], *given["programs"].values()]), **names)
    vocoder = names.get("vocoder") or "griffin-lim"
    validate(registry.load("vocoder", vocoder).Options, given["vocoder_options"], vocoder)


def test_files_of_ours_are_there() -> None:
    ours = [word for words in COMMANDS for word in words if word.startswith("examples/")]
    assert ours
    assert all(list(ROOT.glob(word)) for word in ours)


def test_extras_are_ours() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = set(tomllib.load(file)["project"]["optional-dependencies"])
    wanted = [name for found in re.findall(r'"(?:\.|m2m)\[([\w,]+)\]"', TEXT) for name in found.split(",")]
    assert set(wanted) <= extras
    assert len(wanted) > 5


def test_the_soundfont_that_everybody_has() -> None:
    (line,) = [line for block in BLOCKS for line in block.text.splitlines() if line.startswith("SOUNDFONT=")]
    told = subprocess.run(
        ["bash", "-c", f'{line.replace("(python", f"({sys.executable}")}; echo "$SOUNDFONT"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(told.stdout.strip()).stat().st_size > 5_000_000


def test_python_and_settings(tmp_path: Path) -> None:
    (code,) = [block.text for block in BLOCKS if block.kind == "python"]
    used = {n.attr for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "m2m"}
    assert used
    assert used <= set(m2m.__all__)
    (table,) = [block.text for block in BLOCKS if block.kind == "toml"]
    (tmp_path / "plugins.toml").write_text(table)
    settings.read(tmp_path / "plugins.toml")


def test_it_names_no_host_but_where_papers_and_music_are_from() -> None:
    assert set(re.findall(r"https?://([^/\s)]+)", TEXT)) <= {"arxiv.org", "www.piano-midi.de"}
