"""What the terminal gets: results on standard output, progress and notes on standard error (none under --quiet)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TextIO, TypeVar

T = TypeVar("T")
quiet = False  # set by the command line's --quiet
bars = True  # not in worker processes: several bars cannot share one line
_results: TextIO | None = None


def results() -> TextIO:
    """Where results go: standard output."""
    return _results or sys.stdout


@contextmanager
def results_only() -> Iterator[None]:
    """Keep standard output for results: what libraries and plugins print within goes to standard error."""
    global _results
    before, _results = _results, results()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _results = before


def track(items: Iterable[T], what: str, total: float | None = None) -> Iterator[T]:
    """Pass `items` through and show how far along they are."""
    if not _bar():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, what, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def advance(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar that the block moves on by calling what it is given with how much more is done."""
    if not _bar():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


def _bar() -> bool:
    return bars and not quiet and sys.stderr.isatty()


def say(line: str) -> None:
    """One line on standard error, unless --quiet."""
    if not quiet:
        print(line, file=sys.stderr, flush=True)
