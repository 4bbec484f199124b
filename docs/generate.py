"""Write the parts of the documentation that repeat what the code says.

    python docs/generate.py             # writes them anew
    python docs/generate.py --check     # exit code 1 where they are stale

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`, in README.md or docs/*.md; `PARTS` has the names.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from pydantic import BaseModel

from m2m.core.model_folders import CONFIG, shipped
from m2m.core.plugins.options import Option, describe
from m2m.evaluation.bench.results import markdown

ROOT = Path(__file__).resolve().parents[1]
BEGINNING = re.compile(r"^<!-- generated: ", re.MULTILINE)
PART = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
WIDTH = 100  # characters of the commands' help


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table and the end of its last line."""
    return markdown(heads, rows) + "\n"


def commands() -> str:
    """The help of every command."""
    from m2m.cli import cli

    return "\n".join(f"## {name}\n\n```text\n{text}\n```\n" for name, text in _helps(cli, "m2m"))


def _helps(command: click.Command, name: str, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    word = name.rpartition(" ")[2]
    context = click.Context(command, info_name=word, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH)
    context.help_option_names = ["-h", "--help"]
    yield name, "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from _helps(command.commands[child], f"{name} {child}", context)


def options() -> str:
    """The options of every built-in component."""
    from m2m.core.plugins import registry

    built_in = tomllib.loads((ROOT / "plugins.toml").read_text(encoding="utf-8"))
    parts = []
    for component in registry.components():
        known = built_in.get(f"{component.kind}s", {}).get(component.name, {})
        if "class" not in known:
            continue
        found = describe(registry.load(component.kind, component.name).Options)
        title = f"### {component.kind} {component.name}\n\n{component.summary[:1].upper()}{component.summary[1:]}.\n"
        defaults = {option.name: known["options"].get(option.name, option.default) for option in found}
        rows = [(f"`{o.name}`", f"`{o.type}`", f"`{defaults[o.name]}`", o.description) for o in found]
        parts.append(title + ("\n" + table(("option", "type", "default", ""), rows) if rows else ""))
    return "\n".join(parts)


def server_limits() -> str:
    """How much clients of `m2m serve` may ask for."""
    from m2m.web.limits import ServerLimits

    rows = [
        (f"`{name}`", f"{field.default:,g}", field.description) for name, field in ServerLimits.model_fields.items()
    ]
    return table(("limit", "default", ""), rows)


def score_limits() -> str:
    """The most that a score may have."""
    from m2m.core.score_limits import Limits

    return table(("limit", "default"), [(f"`{field.name}`", f"{field.default:,g}") for field in fields(Limits)])


def suite_limits() -> str:
    """What the conformance suites allow: their attributes, which their docstrings describe as `name: text`."""
    from m2m.core.plugins.kinds import KINDS

    rows = []
    for kind in KINDS.values():
        module, _, name = kind.suite.partition(":")
        suite = getattr(import_module(module), name) if module else object
        for attribute, text in re.findall(r"^\s*(\w+): (.+)$", suite.__doc__ or "", re.MULTILINE):
            value = getattr(suite, attribute, None)
            if isinstance(value, int | float):
                shown = f"{value / 2**20:g} MB" if text.startswith("bytes") else f"{value:,g}"
                rows.append((kind.name, f"`{attribute}`", shown, text.removeprefix("bytes ").rstrip(".")))
    return table(("suite", "attribute", "default", ""), rows)


def suite_tests() -> str:
    """What the conformance suites test, by the docstrings of their tests."""
    from m2m.core.plugins.kinds import KINDS
    from m2m.core.testing.suite import Conformance, suite_of

    suites = {"every component": Conformance} | {
        kind.name: suite_of(kind.name) for kind in KINDS.values() if kind.suite
    }
    rows = []
    for of, suite in suites.items():
        rows += [(of, _first_line(test)) for name, test in vars(suite).items() if name.startswith("test_")]
    return table(("of", "what is tested"), rows)


def measures() -> str:
    """The measures of a bench."""
    from m2m.evaluation.measures.table import MEASURES

    better = {"higher": "more", "lower": "less", "zero": "near 0"}
    rows = [(m.title, m.unit, better[m.better], m.about) for m in MEASURES.values()]
    return table(("measure", "unit", "better is", "what it is"), rows)


def losses() -> str:
    """The losses of Mel2Mel."""
    from m2m.training.losses.mel import LOSSES

    return table(("loss", ""), [(f"`{name}`", _first_line(loss)) for name, loss in LOSSES.items()])


def student_losses() -> str:
    """The losses of Parallel WaveNet's student, with their weights."""
    from m2m.training.losses.student import Losses

    rows = [
        (f"`{f.name}`", "as the run says" if f.default is None else f"{f.default:g}", f.metadata["description"])
        for f in fields(Losses)
    ]
    return table(("loss", "weight", ""), rows)


def config(place: str, *without: str) -> str:
    """The fields of a config, a class at "module:Class"; those of a config in it by dotted names, but for those in `without`."""
    module, _, name = place.partition(":")
    rows = [
        (f"`{o.name}`", f"`{o.type}`", f"`{o.default}`", o.description)
        for o in _fields(getattr(import_module(module), name), without)
    ]
    return table(("field", "type", "default", ""), rows)


def _fields(model: type[BaseModel], without: Sequence[str], prefix: str = "") -> Iterator[Option]:
    for option in describe(model):
        inner = model.model_fields[option.name].annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and option.name not in without:
            yield from _fields(inner, without, f"{prefix}{option.name}.")
        elif option.name not in without:
            yield replace(option, name=prefix + option.name)


def kinds() -> str:
    """The kinds of components."""
    from m2m.core.plugins.kinds import KINDS

    rows = [
        (kind.name, f"`{kind.group}`", f"`{kind.contract}`", f"`{kind.suite.rpartition(':')[2]}`" if kind.suite else "")
        for kind in KINDS.values()
    ]
    return table(("kind", "entry-point group", "contract", "suite in `m2m.core.testing`"), rows)


def models() -> str:
    """The models that ship."""
    rows = []
    for path in sorted(shipped().glob(f"*/{CONFIG}")):
        about: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        size = path.with_name("model.safetensors").stat().st_size / 1e6
        rows.append((f"[{path.parent.name}](../models/{path.parent.name}/README.md)", about["kind"], f"{size:.1f} MB"))
    return table(("model", "kind", "weights"), rows)


def choices() -> str:
    """The choices that options, configs and messages share."""
    from m2m.core import choices as shared

    literals = {name: get_args(value) for name, value in vars(shared).items() if get_origin(value) is Literal}
    rows = [(name, ", ".join(f"`{value}`" for value in values)) for name, values in literals.items()]
    return table(("choice", "values"), rows)


def _first_line(thing: Callable[..., Any]) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0].rstrip(".")


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "options": options,
    "server-limits": server_limits,
    "score-limits": score_limits,
    "suite-limits": suite_limits,
    "suite-tests": suite_tests,
    "measures": measures,
    "losses": losses,
    "mel2mel-run": lambda: config("m2m.training.mel2mel:Mel2MelRun", "model", "loop"),
    "mel2mel-config": lambda: config("m2m.training.mel2mel:Mel2MelRun", "mel"),
    "wavenet-config": lambda: config("m2m.training.wavenet:WaveNetRun", "mel"),
    "parallel-wavenet-config": lambda: config("m2m.training.parallel_wavenet:StudentRun", "mel", "losses"),
    "transcriber-config": lambda: config("m2m.training.transcriber:TranscriberRun", "mel"),
    "mel-config": lambda: config("m2m.core.mel:MelSpec"),
    "dataset-config": lambda: config("m2m.dataset.shards:DatasetConfig", "mel"),
    "bench-config": lambda: config("m2m.evaluation.bench.plan:BenchConfig"),
    "student-losses": student_losses,
    "kinds": kinds,
    "models": models,
    "choices": choices,
}


def written_anew(text: str) -> tuple[str, list[str]]:
    """A document with its generated parts as the code has them now, and the names of those that were stale.

    Raises click.ClickException for a part that has no end, or a name that is not in `PARTS`.
    """
    stale = []

    def write(part: re.Match[str]) -> str:
        if part[2] not in PARTS:
            raise click.ClickException(f"there is no part {part[2]!r}; there are {', '.join(PARTS)}.")
        fresh = f"{part[1]}{PARTS[part[2]]().strip()}\n{part[3]}"
        stale.extend([part[2]] if fresh != part[0] else [])
        return fresh

    if len(PART.findall(text)) != len(BEGINNING.findall(text)):
        raise click.ClickException("a part has no <!-- end -->.")
    return PART.sub(write, text), stale


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; the exit code is 1 where something is stale.")
def main(check: bool) -> None:
    """Write the generated parts of the documentation."""
    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        fresh, parts = written_anew(path.read_text(encoding="utf-8"))
        stale += [f"{path.relative_to(ROOT).as_posix()} ({part})" for part in parts]
        if parts and not check:
            path.write_text(fresh, encoding="utf-8")
    if check and stale:
        raise click.ClickException(f"stale: {', '.join(stale)}; run python docs/generate.py and commit what it writes.")
    click.echo(f"written: {', '.join(stale) or 'nothing'}")


if __name__ == "__main__":
    main()
