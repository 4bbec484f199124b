"""What all commands share: options of several kinds, and what they print."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar, cast

import click

from m2m.core.errors import deprecated
from m2m.core.score_limits import Limits
from m2m.core.system import progress

Command = TypeVar("Command", bound=Callable[..., Any])
_verbose = False


class Choice(click.Choice):  # type: ignore[type-arg]  # generic from click 8.2 on
    """A choice that still takes the names that its values had in an earlier version. old: that name -> today's."""

    def __init__(self, choices: Sequence[str], old: Mapping[str, str]) -> None:
        super().__init__(choices)
        self.old = old

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.old:
            deprecated(f"{param.opts[0] if param else ''} {value}", self.old[value])
        return super().convert(self.old.get(value, value), param, ctx)


def output_options(command: Command) -> Command:
    """Give a command `-q` and `-v`, and keep standard output for its results while it runs.

    The group has the options too, so that they may stand before or after the command's name.
    """

    def set_quiet(_: click.Context, __: click.Parameter, on: bool) -> None:
        progress.quiet |= on

    def set_verbose(_: click.Context, __: click.Parameter, on: bool) -> None:
        global _verbose
        _verbose |= on

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with progress.results_only():
            return command(*args, **kwargs)

    flag: dict[str, Any] = {"is_flag": True, "expose_value": False}
    with_flags: Any = guarded
    with_flags = click.option("-v", "--verbose", callback=set_verbose, help="Say more on standard error.", **flag)(
        with_flags
    )
    with_flags = click.option("-q", "--quiet", callback=set_quiet, help="Say nothing but errors.", **flag)(with_flags)
    return cast("Command", with_flags)


def pairs(flag: str, name: str, help: str, what: str = "NAME=VALUE") -> Callable[[Command], Command]:
    """A repeatable option KEY=VALUE, which the command gets as a dictionary."""

    def split(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
        for pair in given:
            if "=" not in pair:
                raise click.BadParameter(f"{pair!r} came, {what} was wanted.")
        return dict(pair.split("=", 1) for pair in given)

    return click.option(flag, name, multiple=True, callback=split, metavar=what, help=help)


def names(flag: str, help: str, metavar: str = "NAMES") -> Callable[[Command], Command]:
    """An option 'a,b', which the command gets as a list, or None."""

    def split(_: click.Context, __: click.Parameter, given: str | None) -> list[str] | None:
        return None if given is None else [name.strip() for name in given.split(",") if name.strip()]

    return click.option(flag, callback=split, metavar=metavar, help=help)


def score_limits(command: Command) -> Command:
    """Give a command `--limit`, as core/midi.py has it."""
    usual = ", ".join(f"{field.name} ({field.default:g})" for field in fields(Limits))
    return pairs("--limit", "limits", f"Read scores beyond the usual size: {usual}.", "NAME=NUMBER")(command)


def print_line(text: str) -> None:
    """Print a line of the result, on standard output."""
    results = progress.results()
    click.echo(progress.shown(text) if results.isatty() else text, file=results)


def print_note(text: str, verbose: bool = False) -> None:
    """Print a line on standard error, unless --quiet; with `verbose` only under --verbose."""
    if _verbose or not verbose:
        progress.say(text)


def print_error(text: str) -> None:
    """Print a failure's line on standard error."""
    click.echo(f"m2m: error: {progress.shown(text)}", err=True)


def print_json(value: object) -> None:
    """Print a value as indented JSON, on standard output."""
    print_line(json.dumps(value, indent=2, default=str))


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows of cells as aligned columns, on standard output."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
