"""What is installed, read from package metadata; nothing is imported.

A scan takes hundredths of a second and a render asks some twenty times, so it is remembered until a folder of the path changes.

`importlib.metadata.entry_points()` would do, were it not that it fails for everybody when one distribution's file is
malformed. So the files are read one by one here, and text from a package is cut to one printable line.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from m2m.core.errors import one_line
from m2m.core.plugins.kinds import KINDS

# Nanoseconds. What is installed sooner after a change that was seen may leave the folder's time as it was: times can be as
# coarse as two seconds. So a scan is remembered only of folders that have not changed for longer.
SETTLED = 3_000_000_000
Status = Literal["ok", "disabled", "conflict", "missing"]


@dataclass(frozen=True)
class Component:
    """What metadata tells about a component; nothing of it has been imported.

    target: "module:Class". extra: the extra of m2m that it needs, if any. note: why the status is not "ok", one line.
    """

    kind: str
    name: str
    distribution: str
    version: str
    target: str
    summary: str = ""
    url: str = ""
    extra: str = ""
    status: Status = "ok"
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.name!r} of {self.distribution} {self.version}"


def discover() -> list[Component]:
    """Everything installed, and what m2m's table knows beyond that: one for each kind and name."""
    claims: dict[tuple[str, str], list[Component]] = {}
    for claim in (*_installed(), *_known()):
        claims.setdefault((claim.kind, claim.name), []).append(claim)
    return [_pick(claimants) for claimants in claims.values()]


def _pick(claimants: list[Component]) -> Component:
    """One line for all that claim a name: those that may not be loaded do not count, two that may are a conflict."""
    claimants = [c for c in claimants if c.status != "missing"] or claimants[:1]
    active = [c for c in claimants if c.status == "ok"]
    if len(active) < 2:
        return active[0] if active else claimants[0]
    both = " and ".join(f"{c.distribution} {c.version}" for c in active)
    return replace(
        active[0],
        distribution=", ".join(c.distribution for c in active),
        version=", ".join(c.version for c in active),
        target=", ".join(c.target for c in active),
        status="conflict",
        note=f"{both} both claim the name; uninstall one, or leave it out of M2M_LOAD_PLUGINS",
    )


def _installed() -> tuple[Component, ...]:
    """Every claim that an installed distribution makes."""
    places = tuple((place, *_state(place or os.curdir)) for place in sys.path)
    allowed = os.environ.get("M2M_LOAD_PLUGINS")
    settled = all(changed < time.time_ns() - SETTLED for *_, changed in places)
    return _remembered(allowed, places) if settled else tuple(_scan(allowed))


def _state(place: str) -> tuple[int, int]:
    """(which it is, when it changed) of a folder of the path; installing adds, removes or renames a folder in it."""
    try:
        about = os.stat(place)
    except (OSError, ValueError):
        return 0, 0
    return about.st_ino, about.st_mtime_ns


@lru_cache(maxsize=1)
def _remembered(allowed: str | None, places: tuple[tuple[str, int, int], ...]) -> tuple[Component, ...]:
    return tuple(_scan(allowed))


def _scan(allowed: str | None) -> Iterator[Component]:
    """Read every distribution's entry points. allowed: M2M_LOAD_PLUGINS."""
    importlib.invalidate_caches()  # or what was installed while this process runs might stay invisible
    loadable = None if allowed is None else {_normal(name) for name in ("m2m", *allowed.split(","))}
    seen: set[str] = set()
    for distribution in metadata.distributions():
        try:
            claims = dict.fromkeys(_claims(distribution.read_text("entry_points.txt") or ""))
        except (OSError, ValueError):  # unreadable, or not UTF-8: no way to know what it brings
            continue
        if not claims:
            continue
        owner, version, summary, url = _about(distribution)
        if _normal(owner) in seen:  # shadowed by one earlier on sys.path, as its modules are
            continue
        seen.add(_normal(owner))
        own = table() if _normal(owner) == "m2m" else {}
        for kind, name, target in claims:
            entry = own.get(KINDS[kind].plural, {}).get(name, {})
            found = Component(
                kind, name, owner, version, target, entry.get("summary", summary), url, entry.get("extra", "")
            )
            if loadable is not None and _normal(owner) not in loadable:
                found = replace(found, status="disabled", note=f"{owner} is not in M2M_LOAD_PLUGINS")
            yield found


def _known() -> Iterator[Component]:
    """What m2m's table names; it counts only where no distribution claims the name."""
    for kind in KINDS:
        for name, entry in table().get(KINDS[kind].plural, {}).items():
            package, target, summary = entry.get("package", "m2m"), entry.get("class", ""), entry.get("summary", "")
            cure = "install m2m again, it makes entry points" if package == "m2m" else f"pip install {package}"
            note = f"not installed: {cure}"
            yield Component(kind, name, package, "", target, summary, status="missing", note=note)


def _claims(text: str) -> Iterator[tuple[str, str, str]]:
    """(kind, name, target) of each entry point in m2m's groups; a malformed line gives a target that fails to load."""
    groups = {kind.group: name for name, kind in KINDS.items()}
    group = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            group = line.strip("[] ")
        elif group in groups and line and line[0] not in "#;":
            name, _, target = line.partition("=")
            yield groups[group], one_line(name), one_line(target)


def _about(distribution: metadata.Distribution) -> tuple[str, str, str, str]:
    """(name, version, summary, url), with stand-ins where a distribution does not say."""
    try:
        about: Mapping[str, str] = dict(distribution.metadata.items())  # type: ignore[attr-defined]
    except Exception:  # a package's metadata may be malformed in any way
        about = {}
    folder = Path(str(getattr(distribution, "_path", "unnamed"))).stem.rpartition("-")
    urls = [about.get("Home-page", ""), about.get("Project-URL", "").partition(",")[2]]
    return (
        one_line(about.get("Name") or folder[0] or folder[2]),
        one_line(about.get("Version") or "of unknown version"),
        one_line(about.get("Summary") or ""),
        one_line(next(filter(None, urls), "")),
    )


@cache
def table() -> dict[str, Any]:
    """m2m's own plugins.toml."""
    return tomllib.loads(Path(__file__).parents[2].joinpath("plugins.toml").read_text(encoding="utf-8"))


def _normal(name: str) -> str:
    """A distribution's name as indexes compare it: `My_Plugin` is `my-plugin`."""
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
