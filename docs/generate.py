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
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

import click

from m2m.core.model_folders import CONFIG, shipped
from m2m.evaluation.bench.results import markdown

ROOT = Path(__file__).resolve().parents[1]
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
    from m2m.core.plugins.options import describe

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
    from m2m.core.midi import Limits

    return table(("limit", "default"), [(f"`{field.name}`", f"{field.default:,g}") for field in fields(Limits)])


def suite_limits() -> str:
    """What the conformance suites allow."""
    from m2m.core.testing import ConditionerConformance, EncoderConformance, VocoderConformance

    suite = VocoderConformance
    rows = [
        ("`tolerance`", f"{suite.tolerance:g}", "difference between ways that are to give the same audio"),
        ("`silence`", f"{suite.silence:g}", "peak of what is made of silence, of full scale"),
        ("`cents`", f"{suite.cents:g}", "error of the pitch of a sine whose note is given"),
        ("`growth`", f"{suite.growth >> 20} MB", "growth of the peak of memory when a stream is twice as long"),
        ("`seconds`, `long_seconds`", f"{suite.seconds:g}, {suite.long_seconds:g}", "lengths of the mels, in seconds"),
        ("`tolerance` of an encoder", f"{EncoderConformance.tolerance:g}", "difference of a window from the whole"),
        (
            "`tolerance` of a conditioner",
            f"{ConditionerConformance.tolerance:g}",
            "difference of a frame from the whole",
        ),
    ]
    return table(("attribute", "default", "allows"), rows)


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


def mel2mel_run() -> str:
    """The fields of a training run of Mel2Mel."""
    from m2m.training.mel2mel import Mel2MelRun

    known = {name: field for name, field in Mel2MelRun.model_fields.items() if name not in ("model", "loop")}
    rows = [
        (f"`{name}`", "" if field.default is None else f"`{field.default}`", field.description or "")
        for name, field in known.items()
    ]
    return table(("field", "default", ""), rows)


def student_losses() -> str:
    """The losses of Parallel WaveNet's student, with their weights."""
    from m2m.training.losses.student import Losses

    rows = [
        (f"`{f.name}`", "as the run says" if f.default is None else f"{f.default:g}", f.metadata["description"])
        for f in fields(Losses)
    ]
    return table(("loss", "weight", ""), rows)


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

    names = ("ClipMode", "SampleFormat", "Distribution", "Noise", "Split", "Stage")
    rows = [(name, ", ".join(f"`{value}`" for value in get_args(getattr(shared, name)))) for name in names]
    return table(("choice", "values"), rows)


def _first_line(thing: Callable[..., Any]) -> str:
    return (thing.__doc__ or "").strip().splitlines()[0].rstrip(".")


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "options": options,
    "server-limits": server_limits,
    "score-limits": score_limits,
    "suite-limits": suite_limits,
    "measures": measures,
    "losses": losses,
    "mel2mel-run": mel2mel_run,
    "student-losses": student_losses,
    "kinds": kinds,
    "models": models,
    "choices": choices,
}


def written_anew(text: str) -> str:
    """A document with its generated parts as the code has them now."""
    return PART.sub(lambda match: f"{match[1]}{PARTS[match[2]]().strip()}\n{match[3]}", text)


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; the exit code is 1 where something is stale.")
def main(check: bool) -> None:
    """Write the generated parts of the documentation."""
    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = path.read_text(encoding="utf-8")
        fresh = written_anew(text)
        if fresh != text:
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(fresh, encoding="utf-8")
    if check and stale:
        raise click.ClickException(f"stale: {', '.join(stale)}; run python docs/generate.py and commit what it writes.")
    click.echo(f"{'would write' if check else 'written'}: {', '.join(stale) or 'nothing'}")


if __name__ == "__main__":
    main()
