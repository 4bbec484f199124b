"""The user's own plugins.toml: other defaults, options for components, components switched off.

    [defaults]
    vocoder = "griffin-lim"
    timbre = "vibraphone"

    [vocoders.griffin-lim.options]
    iterations = 64

    [encoders.some-encoder]
    disabled = true

It is the file that `M2M_PLUGINS` (or `--plugins`) names, else `plugins.toml` in the working directory; an empty
`M2M_PLUGINS` means none. It names installed components and never code: working in a folder must not run what lies in it, so
installed packages alone decide what a name stands for (core/plugins/registry.py).
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2m.core.errors import M2MError
from m2m.core.plugins.discovery import table as built_ins
from m2m.core.plugins.kinds import KINDS
from m2m.core.system.files import read_bytes

MAX_BYTES = 64 << 10
MAX_DOTS = 4000  # the time that tomllib takes for a dotted key grows with the square of its parts: a minute for 100,000
CODE_KEYS = frozenset({"class", "module", "path", "target", "entry-point", "entry_point", "import", "package"})
BUILT_IN = "built-in"  # marks m2m's own table, which lies in the root of a checkout under the same name


# Plain dataclasses that pydantic validates: without a file, pydantic and its tenth of a second are not needed.
@dataclass(frozen=True)
class Use:
    """How one component is to be used; its options are validated by the component itself."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    disabled: bool = False
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """A user's plugins.toml.

    defaults: what is used where no option says otherwise: kind -> name of a component, "timbre" -> timbre, "model" -> model.
    tables: how components are to be used: kind in the plural -> name of a component -> use.

    >>> Settings().use("vocoder", "griffin-lim")
    Use(disabled=False, options={})
    """

    defaults: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Mapping[str, Use]] = field(default_factory=dict)

    def uses(self, kind: str) -> Mapping[str, Use]:
        """What the file says of the components of a kind ("encoder", "conditioner", ...), by name."""
        return self.tables.get(KINDS[kind].plural, {})

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
    # A table of built-ins here is that of m2m's own checkout (or of a copy): no user's settings.
    return path if path.is_file() and BUILT_IN not in _parse(path) else None


def read(path: Path) -> Settings:
    """Read a user's plugins.toml. Raises M2MError for unknown keys, and for keys that would name code."""
    table = _parse(path)
    if BUILT_IN in table:
        raise M2MError(f"{path} is m2m's own table of built-ins; a user's plugins.toml has settings only.")
    _refuse_code(path, table)

    from pydantic import ConfigDict, ValidationError, create_model

    strict = ConfigDict(extra="forbid")
    names: dict[str, Any] = dict.fromkeys((*built_ins()["defaults"], "timbre"), (str, ""))
    defaults = create_model("Defaults", __config__=strict, **names)
    tables: dict[str, Any] = {kind.plural: (dict[str, Use], {}) for kind in KINDS.values()}
    whole = create_model("Settings", __config__=strict, defaults=(defaults, defaults()), **tables)
    try:
        found = whole.model_validate(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            level = (whole.model_fields, names, Use.__dataclass_fields__)[len(first["loc"]) - 1]  # kind.name.key
            raise M2MError(f"{path}: unknown key {where!r}; known here are {', '.join(level)}.") from error
        said = first["msg"][:1].lower() + first["msg"][1:]
        raise M2MError(f"{path}: {where!r}: {said}, not {first['input']!r}.") from error
    chosen = found.model_dump(include={"defaults"})["defaults"]
    return Settings(
        {name: value for name, value in chosen.items() if value}, {plural: getattr(found, plural) for plural in tables}
    )


def _parse(path: Path) -> dict[str, Any]:
    text = read_bytes(path, MAX_BYTES, "a plugins.toml")
    if text.count(b".") > MAX_DOTS:
        raise M2MError(f"{path} has more than {MAX_DOTS:,} dots, which no settings need.")
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:  # ValueError: TOML's errors, and bytes that are not UTF-8
        raise M2MError(f"{path} is not valid TOML: {error}.") from error


def _refuse_code(path: Path, table: dict[str, Any]) -> None:
    places = {"": table} | {
        f"{plural}.{name}": entry
        for plural in (kind.plural for kind in KINDS.values())
        if isinstance(table.get(plural), dict)
        for name, entry in table[plural].items()
        if isinstance(entry, dict)
    }
    for place, entry in places.items():
        for key in sorted(CODE_KEYS & entry.keys()):
            raise M2MError(
                f"{path}: {key!r} under [{place}] would name code, which a user's plugins.toml may not; "
                "it names installed components only, so install the package that brings this one."
            )
