"""A new plugin's package: the example under examples/m2m-example, under another name and with one kind of component.

What an author is given is therefore what m2m's own tests install, check and render with.
"""

from __future__ import annotations

import importlib.util
import keyword
import os
import re
import sys
import tempfile
from importlib import metadata
from itertools import pairwise
from pathlib import Path

from m2m.core.errors import M2MError
from m2m.core.plugins import registry
from m2m.core.plugins.kinds import KINDS
from m2m.core.system.files import make_folder

EXAMPLE = Path(__file__).parents[2] / "examples" / "m2m-example"
FILES = ("pyproject.toml", "README.md", ".gitignore", ".github/workflows/tests.yml", "m2m_example/__init__.py")


def new_plugin(name: str, kind: str, parent: Path) -> Path:
    """Write a package for a component of a kind into the new folder `parent / name`, whole or not at all; returns it.

    name: small letters, digits and hyphens; the component, its distribution and its module are called so.
    Raises M2MError where the name cannot be, is taken, or the folder exists.
    """
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name) or len(name) > 60:
        raise M2MError(
            f"{name!r} cannot be a plugin's name: small letters, digits and single hyphens, as in 'my-{kind}'."
        )
    taken = [c for c in registry.components() if c.name == name]
    if taken:
        raise M2MError(f"{name!r} is the name of {taken[0]} already; choose another.")
    reserved = keyword.iskeyword(module) or module in sys.stdlib_module_names or module in ("m2m", "tests", "test")
    if reserved or importlib.util.find_spec(module) or _is_installed(name):
        raise M2MError(f"{name!r} would be a Python module that is something else already; choose another name.")
    folder = parent / name
    if folder.exists() or folder.is_symlink():
        raise M2MError(f"{folder} exists; choose another name, or another place with -o.")
    make_folder(parent)
    words = {
        "m2m-example": name,
        "m2m_example": module,
        f"example-{kind}": name,
        f"Example{kind.capitalize()}": "".join(map(str.capitalize, name.split("-"))),
    }
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{name}-") as temporary:
            for file in (*FILES, f"m2m_example/{kind}.py", f"tests/test_{kind}.py"):
                text = _only(kind, (EXAMPLE / file).read_text(encoding="utf-8"))
                for old, new in words.items():
                    text = text.replace(old, new)
                target = Path(temporary, "whole", file.replace("m2m_example", module))
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            os.replace(Path(temporary, "whole"), folder)
    except OSError as error:
        raise M2MError(f"cannot write {folder}: {error.strerror or error}.") from error
    return folder


def _is_installed(distribution: str) -> bool:
    try:
        return bool(metadata.distribution(distribution))
    except metadata.PackageNotFoundError:
        return False


def _only(kind: str, text: str) -> str:
    """A text without its sections on the other kinds: those whose heading (in Markdown or TOML) names one."""
    others = "|".join(other for other in KINDS if other != kind)
    heading = re.compile(r"^(## |\[)", re.MULTILINE)
    starts = [0, *(match.start() for match in heading.finditer(text)), len(text)]
    sections = [text[a:b] for a, b in pairwise(starts)]
    return "".join(s for s in sections if not re.match(rf"(## |\[project\.entry-points\.\"m2m\.)({others})", s))
