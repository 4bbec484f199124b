"""What the terminal gets: results on standard output, progress and notes on standard error (none under --quiet)."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import TextIO, TypeVar

T = TypeVar("T")
LINE_SECONDS = 30.0
STREAMS = ("stdin", "stdout", "stderr")
quiet = False  # set by the command line's --quiet
bars = True  # not in worker processes: several bars cannot share one line
_results: TextIO | None = None  # standard output, while threads are within `results_only`
_within = 0
_lock = threading.Lock()


def open_streams() -> None:
    """Give this process the standard streams that it lacks (pythonw, frozen programs, `2>&-`), and let all print any name.

    Where a stream is missing, the next file to be opened would get its number, and all that libraries print.
    """
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, TextIOWrapper) and number:
            stream.reconfigure(
                errors="backslashreplace"
            )  # the locale's encoding may lack letters, a name may be in another


def shown(text: str) -> str:
    r"""Text as a terminal may get it: names of files in it can hold a terminal's controls, in whose place comes a mark.

    >>> shown("a\x1b[2Jb")
    'a�[2Jb'
    """
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def results() -> TextIO:
    """Where results go: standard output."""
    return _results or sys.stdout


@contextmanager
def results_only() -> Iterator[None]:
    """Keep standard output for results: what libraries and plugins print within goes to standard error.

    Threads may be within at once: the last that leaves gives standard output back.
    """
    global _results, _within
    with _lock:
        if not _within:
            _results, sys.stdout = sys.stdout, sys.stderr
        _within += 1
    try:
        yield
    finally:
        with _lock:
            _within -= 1
            if not _within:
                sys.stdout, _results = results(), None


def track(items: Iterable[T], what: str, total: float | None = None) -> Iterator[T]:
    """Pass `items` through and show how far along they are."""
    if not _bar():
        with advance(what, total or 0) as done:
            for item in items:
                yield item
                done(1)
        return
    from rich.console import Console
    from rich.progress import track as rich_track

    yield from rich_track(items, what, total=total, console=Console(stderr=True), transient=True)


@contextmanager
def advance(what: str, total: float) -> Iterator[Callable[[float], None]]:
    """A bar that the block moves on by calling what it is given with how much more is done."""
    if not _bar():
        yield _Lines(what, total if bars else 0)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)


class _Lines:
    """A line now and then, where there is no terminal to draw a bar on."""

    def __init__(self, what: str, total: float) -> None:
        self.what, self.total = what, total
        self.done, self.last = 0.0, time.monotonic()

    def __call__(self, done: float) -> None:
        self.done += done
        if self.total and time.monotonic() - self.last > LINE_SECONDS:
            self.last = time.monotonic()
            say(f"{self.what}: {self.done / self.total:.0%}")


def _bar() -> bool:
    return bars and not quiet and sys.stderr is not None and sys.stderr.isatty()


def say(line: str) -> None:
    """One line on standard error, unless --quiet."""
    if not quiet and sys.stderr is not None:
        print(shown(line.replace("\n", " ")), file=sys.stderr, flush=True)
