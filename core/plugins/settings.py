"""The user's own plugins.toml: other defaults, options for components, components switched off.

    [defaults]
    vocoder = "griffin-lim"
    timbre = "vibraphone"

    [vocoders.griffin-lim.options]
    iterations = 64

    [encoders.some-encoder]
    disabled = true

It is the file that `M2M_PLUGINS` (or `--plugins`) names, else `plugins.toml` in the working directory; an empty
`M2M_PLUGINS` means none. It names installed components and never code: a stranger's folder must not be able to run
anything, so what a name stands for is decided by installed packages alone (core/plugins/registry.py).
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2m.core.errors import M2MError
from m2m.core.system.files import read_bytes

MAX_BYTES = 1 << 20
CODE_KEYS = frozenset({"class", "module", "path", "target", "entry-point", "entry_point", "import", "package"})
BUILT_IN = "built-in"  # marks m2m's own table, which lies in the root of a checkout under the same name
TABLES = ("encoders", "conditioners", "vocoders", "transcribers")


# Plain dataclasses that pydantic validates: without a file, pydantic and its tenth of a second are not needed.
@dataclass(frozen=True)
class Defaults:
    """What is used where no option says otherwise; None leaves the built-in default."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    encoder: str | None = None
    conditioner: str | None = None
    vocoder: str | None = None
    timbre: str | None = None


@dataclass(frozen=True)
class Use:
    """How one component is to be used; its options are validated by the component itself."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    disabled: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """A user's plugins.toml.

    >>> Settings().use("vocoder", "griffin-lim")
    Use(disabled=False, options={})
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    defaults: Defaults = Defaults()
    encoders: dict[str, Use] = field(default_factory=dict)
    conditioners: dict[str, Use] = field(default_factory=dict)
    vocoders: dict[str, Use] = field(default_factory=dict)
    transcribers: dict[str, Use] = field(default_factory=dict)

    def uses(self, kind: str) -> dict[str, Use]:
        """What the file says of the components of a kind ("encoder", "conditioner", ...), by name."""
        table: dict[str, Use] = getattr(self, f"{kind}s")
        return table

    def use(self, kind: str, name: str) -> Use:
        """What the file says of one component."""
        return self.uses(kind).get(name, Use())


def settings() -> Settings:
    """The settings in force. Raises M2MError where the file is unreadable or says what it may not."""
    path = user_file()
    return Settings() if path is None else read(path)


def user_file() -> Path | None:
    """The file that `settings` reads, if any. Raises M2MError where M2M_PLUGINS names none."""
    named = os.environ.get("M2M_PLUGINS")
    if named is not None:
        if named and not Path(named).is_file():
            raise M2MError(f"M2M_PLUGINS (or --plugins) names {named}, which is not a file.")
        return Path(named) if named else None
    path = Path("plugins.toml")
    # A table of built-ins here is m2m's own checkout (or a copy): no user's settings, and nobody reads its classes.
    return path if path.is_file() and BUILT_IN not in _parse(path) else None


def read(path: Path) -> Settings:
    """Read a user's plugins.toml. Raises M2MError for unknown keys, and for keys that would name code."""
    table = _parse(path)
    if BUILT_IN in table:
        raise M2MError(f"{path} is m2m's own table of built-ins; a user's plugins.toml has settings only.")
    _refuse_code(path, table)

    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(Settings).validate_python(table)
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(map(str, found["loc"]))
        if found["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            level = (Settings, Defaults, Use)[len(found["loc"]) - 1]  # [a key], defaults.key, kind.name.key
            known = ", ".join(level.__dataclass_fields__)
            raise M2MError(f"{path}: unknown key {where!r}; known here are {known}.") from error
        said = found["msg"][:1].lower() + found["msg"][1:]
        raise M2MError(f"{path}: {where!r}: {said}, not {found['input']!r}.") from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_bytes(path, MAX_BYTES, "a plugins.toml").decode())
    except (ValueError, RecursionError) as error:  # ValueError: TOML's errors, and bytes that are not UTF-8
        raise M2MError(f"{path} is not valid TOML: {error}.") from error


def _refuse_code(path: Path, table: dict[str, Any]) -> None:
    places = {"": table} | {
        f"{kind}.{name}": entry
        for kind in TABLES
        if isinstance(table.get(kind), dict)
        for name, entry in table[kind].items()
        if isinstance(entry, dict)
    }
    for place, entry in places.items():
        for key in sorted(CODE_KEYS & entry.keys()):
            raise M2MError(
                f"{path}: {key!r} under [{place}] would name code, which a user's plugins.toml may not; "
                "it names installed components only, so install the package that brings this one."
            )
