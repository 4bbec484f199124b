"""Every example in a docstring of the installed package runs."""

from __future__ import annotations

import doctest
import importlib.util
import pkgutil

import pytest

ROOMS = ("core", "commands", "encoders", "conditioners", "vocoders", "dataset", "training", "evaluation", "web")


def is_python(name: str) -> bool:
    """Not a kernel's library, which lies beside its sources."""
    spec = importlib.util.find_spec(name)
    return str(spec and spec.origin).endswith(".py")


def modules() -> list[str]:
    """Names of m2m's modules, room by room: of an editable install, m2m's folder holds setup.py and the tests too."""
    import m2m

    names = ["m2m", "m2m.cli"]
    for found in pkgutil.iter_modules(m2m.__path__):
        if found.ispkg and found.name in ROOMS:
            package = importlib.import_module(f"m2m.{found.name}")
            inside = pkgutil.walk_packages(package.__path__, f"m2m.{found.name}.")
            names += [m.name for m in inside if is_python(m.name)]
    return names


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
