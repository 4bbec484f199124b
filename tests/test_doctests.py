"""Every example in a docstring of the installed package runs."""

import doctest
import importlib
import pkgutil

import pytest

ROOMS = ("core", "commands", "encoders", "conditioners", "vocoders", "dataset", "training", "evaluation", "web")


def modules():
    """Names of m2m's modules, room by room: of an editable install, m2m's folder holds setup.py and the tests too."""
    import m2m

    names = ["m2m", "m2m.cli"]
    for found in pkgutil.iter_modules(m2m.__path__):
        if found.ispkg and found.name in ROOMS:
            package = importlib.import_module(f"m2m.{found.name}")
            names += [m.name for m in pkgutil.walk_packages(package.__path__, f"m2m.{found.name}.")]
    return names


@pytest.mark.parametrize("name", modules())
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.failed == 0
