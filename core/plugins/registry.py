"""The components that are installed: listed from metadata, loaded by name. The only file that knows stevedore.

A component is a name in the entry-point group of its kind (core/plugins/kinds.py), such as `m2m.vocoders`. Listing reads
package metadata and imports nothing; loading imports the one component asked for, whether the others work or not. Built-ins
are found in the same way; m2m's own table (plugins.toml in the package) adds their summaries and default options.

stevedore has habits that are worked around here. It remembers entry points on disk by coarse times, so that a plugin
installed seconds ago can stay invisible: its in-memory cache is filled first. It lets AssertionError and SystemExit of
a plugin escape (`attribute_errors`). It imports both claimants of a name before it complains: core/plugins/discovery.py
sees them before.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import threading
import traceback
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from m2m.core.errors import M2MError, UnavailableError, deprecated, one_line
from m2m.core.plugins import settings
from m2m.core.plugins.discovery import Component, discover, table
from m2m.core.plugins.kinds import KINDS
from m2m.core.system.progress import results_only, say

if TYPE_CHECKING:
    from m2m.core.conditioner import TimbreConditioner
    from m2m.core.encoder import ScoreEncoder
    from m2m.core.transcriber import Transcriber
    from m2m.core.vocoder import Vocoder

__all__ = ["KINDS", "Component", "attribute_errors", "components", "contract", "create", "default", "find", "load"]

PATIENCE = 10.0  # seconds
_started: weakref.WeakKeyDictionary[threading.Thread, Component] = weakref.WeakKeyDictionary()


def components(kind: str | None = None) -> list[Component]:
    """All that is installed, or named but not installed, in order of kind and name. Imports no component.

    Raises M2MError for an unknown kind and for an unreadable plugins.toml of the user; never because of a plugin.
    """
    kinds = list(KINDS) if kind is None else [_checked(kind)]
    chosen, file = settings.settings(), settings.user_file()
    listed = {(c.kind, c.name): c for c in discover() if c.kind in kinds}
    for kind_ in kinds:
        for name, use in chosen.uses(kind_).items():
            unknown = Component(kind_, name, "-", "", "", status="missing", note=f"named in {file}, but not installed")
            component = listed.setdefault((kind_, name), unknown)
            if use.disabled and component is not unknown:
                listed[kind_, name] = replace(component, status="disabled", note=f"switched off in {file}")
    return sorted(listed.values(), key=lambda c: (kinds.index(c.kind), c.name))


def find(kind: str | None, name: str) -> Component:
    """One component that can be loaded, of a kind or of any.

    Raises M2MError, which says what there is, or why this one cannot be used and what to do about it.
    """
    listed = components(kind)
    what = kind or "component"
    found = [c for c in listed if c.name == name]
    if not found:
        names = sorted({c.name for c in listed})
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}."
        raise M2MError(f"no {what} {name!r} is installed; {hint} If a package brings it, install that package first.")
    if len(found) > 1:
        raise M2MError(
            f"{name!r} is the name of components of several kinds: {', '.join(c.kind for c in found)}; say which."
        )
    if found[0].status != "ok":
        raise M2MError(f"{found[0].kind} {name!r} cannot be used: {found[0].note}.")
    return found[0]


def default(kind: str) -> str:
    """The name used where no option gives one: the user's default, else m2m's; empty for a kind that has none."""
    return settings.settings().defaults.get(_checked(kind)) or str(table()["defaults"].get(kind, ""))


def default_options(kind: str, name: str) -> dict[str, object]:
    """What a component's options are where the caller gives none: m2m's own table, and over it the user's plugins.toml."""
    own = table().get(KINDS[kind].plural, {}).get(name, {}).get("options", {})
    return {**own, **settings.settings().use(kind, name).options}


@overload
def load(kind: Literal["encoder"], name: str) -> type[ScoreEncoder]: ...
@overload
def load(kind: Literal["conditioner"], name: str) -> type[TimbreConditioner]: ...
@overload
def load(kind: Literal["vocoder"], name: str) -> type[Vocoder]: ...
@overload
def load(kind: Literal["transcriber"], name: str) -> type[Transcriber]: ...
@overload
def load(kind: str, name: str) -> type[Any]: ...
def load(kind: str, name: str) -> type[Any]:
    """Import one component: a subclass of the kind's contract, written for this version of it.

    Raises M2MError, which names the distribution at fault, for one that is missing, switched off, claimed twice, broken
    import, or no such class.
    """
    component = find(kind, name)
    from stevedore.driver import DriverManager
    from stevedore.extension import ExtensionManager, error_on_conflict

    group = KINDS[kind].group
    import torch  # noqa: F401  # most components import it, which takes seconds: here, so that none is blamed for them

    ExtensionManager.ENTRY_POINT_CACHE[group] = [metadata.EntryPoint(name, component.target, group)]
    with attribute_errors(component, "cannot be imported"), results_only(), _patience(component):
        found = DriverManager[Any](group, name, conflict_resolver=error_on_conflict).extensions[0].plugin
    with attribute_errors(component, "cannot be examined"):  # a metaclass can make even that raise
        _check(component, found)
    return found


@overload
def create(
    kind: Literal["encoder"], name: str, *args: Any, options: Mapping[str, object] | None = None, **kwargs: Any
) -> ScoreEncoder: ...
@overload
def create(
    kind: Literal["conditioner"], name: str, *args: Any, options: Mapping[str, object] | None = None, **kwargs: Any
) -> TimbreConditioner: ...
@overload
def create(
    kind: Literal["vocoder"], name: str, *args: Any, options: Mapping[str, object] | None = None, **kwargs: Any
) -> Vocoder: ...
@overload
def create(
    kind: Literal["transcriber"], name: str, *args: Any, options: Mapping[str, object] | None = None, **kwargs: Any
) -> Transcriber: ...
@overload
def create(kind: str, name: str, *args: Any, options: Mapping[str, object] | None = None, **kwargs: Any) -> Any: ...
def create(kind: str, name: str, *args: Any, options: Mapping[str, object] | None = None, **kwargs: Any) -> Any:
    """Load a component and make an instance of it: `Class(*args, options=..., **kwargs)`.

    Options count in this order: `options` (strings, as on a command line, become the type that is wanted), the user's
    plugins.toml, m2m's own table, the class's defaults. Raises M2MError as `load` does, and for bad options.
    """
    made_by = load(kind, name)
    from m2m.core.plugins.options import validate

    checked = validate(made_by.Options, {**default_options(kind, name), **(options or {})}, f"{kind} {name!r}")
    with attribute_errors(find(kind, name), "cannot be set up"):
        return made_by(*args, options=checked, **kwargs)


def contract(kind: str) -> type[Any]:
    """The base class that components of a kind are made from; imported when it is asked for, since some import torch."""
    module, _, name = KINDS[kind].contract.partition(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


@contextlib.contextmanager
def attribute_errors(
    component: Component, trouble: str = "failed", passing: tuple[type[BaseException], ...] = ()
) -> Iterator[None]:
    """Run a component's code: whatever it raises becomes an M2MError that names the distribution and version at fault.

    M2MError passes, being meant for the user, and so does Ctrl-C; a subclass of KeyboardInterrupt is no Ctrl-C. `passing`
    names further exceptions that mean something to the caller.
    """
    before = set(threading.enumerate())
    try:
        yield
    except passing:
        raise
    except (M2MError, GeneratorExit):  # GeneratorExit: the block holds a `yield`, and its reader has had enough
        raise
    except BaseException as error:  # plugins have been seen to raise SystemExit
        if type(error) is KeyboardInterrupt:
            raise
        lacking = component.extra and isinstance(error, ImportError)
        cure = f"; it needs `pip install 'm2m[{component.extra}]'`" if lacking else _where(error, component)
        kind = UnavailableError if isinstance(error, ImportError) else M2MError
        raise kind(f"{component} {trouble}: {type(error).__name__}: {one_line(error)}{cure}.") from error
    finally:
        for thread in set(threading.enumerate()) - before:
            _started.setdefault(thread, component)


def _where(error: BaseException, component: Component) -> str:
    """The last line of the component's package that an exception came through; empty where it came through none."""
    package, where = component.target.partition(":")[0].partition(".")[0], ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package:
            where = f" ({Path(frame.f_code.co_filename).name}, line {line}; M2M_DEBUG=1 shows more)"
    return where


def lingering() -> dict[threading.Thread, Component]:
    """The threads that Python waits for at its end and that a component's code has started."""
    return {t: c for t, c in _started.items() if t.is_alive() and not t.daemon}


@contextlib.contextmanager
def _patience(component: Component) -> Iterator[None]:
    """Say who is at work where an import takes long: one that hangs cannot be told from a slow one."""
    late = threading.Timer(PATIENCE, say, [f"still importing {component}; Ctrl-C stops it"])
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()


def _check(component: Component, found: object) -> None:
    """Refuse what is not a class of the kind's contract in this version. Raises M2MError."""
    base = contract(component.kind)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise M2MError(
            f"{component} is not a subclass of {base.__module__}.{base.__name__}: {component.target} is "
            f"{one_line(repr(found))}."
        )
    from pydantic import BaseModel

    made_by: Any = found
    # A class that states no version was written for the first: the contract's own number says nothing about it.
    given = next((vars(c)["API_VERSION"] for c in found.__mro__ if c is not base and "API_VERSION" in vars(c)), 1)
    wanted = base.API_VERSION if base.API_OLDEST == base.API_VERSION else f"{base.API_OLDEST} to {base.API_VERSION}"
    if not isinstance(given, int) or not base.API_OLDEST <= given <= base.API_VERSION:
        newer = isinstance(given, int) and given > base.API_VERSION
        age, cure = ("new", "m2m") if newer else ("old", component.distribution)
        raise M2MError(f"{component} is too {age}: API version {given}, this m2m has {wanted}; upgrade {cure}.")
    if given < base.API_VERSION:
        deprecated(f"{component} is written for API version {given}, which", f"one for version {base.API_VERSION}")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(made_by.__abstractmethods__))
        raise M2MError(f"{component} is incomplete: {component.target} does not define {missing}.")
    if not (isinstance(made_by.Options, type) and issubclass(made_by.Options, BaseModel)):
        raise M2MError(f"{component} is malformed: {component.target}.Options is not a pydantic model.")


def _checked(kind: str) -> str:
    if kind not in KINDS:
        raise M2MError(f"there is no kind of component {kind!r}; there are {', '.join(KINDS)}.")
    return kind
