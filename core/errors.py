"""The one exception that a user may see, and warnings of what is deprecated.

Everything that can go wrong because of what came from outside (a file, an option, a plugin, a missing extra) is raised as
`M2MError` with one sentence: what came, what was wanted, what to do. The command line prints that sentence and exits with 1;
any other exception is a bug.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings

_warned: set[str] = set()


class M2MDeprecationWarning(FutureWarning):
    """Something that still works, and that a later version of m2m will refuse."""


class M2MError(Exception):
    """A failure that its reader can mend; the message is a single clear sentence."""


class UnavailableError(M2MError):
    """A component that cannot run on this machine: an extra, a library or hardware is missing. A bench skips it."""


def explain(error: Exception) -> str:
    """The one line that a user is shown of a failure; M2M_DEBUG=1 prints its traceback to standard error as well."""
    if os.environ.get("M2M_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, M2MError):
        return one_line(error, 2000)  # a file's own names may be in it, with line feeds and terminal controls
    return f"{type(error).__name__}: {one_line(error)} (this is a bug in m2m, M2M_DEBUG=1 shows where)"


def one_line(text: object, most: int = 300) -> str:
    """Text from outside as one line of at most `most` printable characters; it may hold terminal controls, or be a page long."""
    try:
        words = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    except Exception:  # an exception whose __str__ raises
        words = "(no message)"
    return words if len(words) <= most else words[: most - 3] + "..."


def deprecated(what: str, instead: str) -> None:
    """Warn of something that still works and soon will not: once in a process, with what to use in its place."""
    text = f"{what} is deprecated; use {instead} instead."
    if text not in _warned:
        _warned.add(text)
        warnings.warn(text, M2MDeprecationWarning, stacklevel=3)
