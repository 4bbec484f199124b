"""Old modules and names lead to where they are now: the table of core/moved.py, and its import hook."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from m2m.core import errors
from m2m.core.errors import M2MDeprecationWarning
from m2m.core.moved import MODULES, NAMES

# All modules of 0.1 with their public names, one module a line (tests/fixtures/made-by-0.1/make.py).
PUBLIC = [
    (module, names.split())
    for line in (Path(__file__).parents[1] / "fixtures" / "made-by-0.1" / "names.txt").read_text().splitlines()
    for module, names in [line.split(":")]
]
# No contract, and of another form now: core/plugins/kinds.py has the one table of kinds.
GONE = {
    "m2m.core.config": {"Defaults", "TABLES"},
    "m2m.core.midi": {"DATA_BYTES", "MAX_TICK", "survey"},  # a reader took their place
    "m2m.core.registry": {"CONTRACTS"},
    "m2m.core.score": {"CHANNEL_CONTROLLERS", "MAX_CONTROLLERS"},
    "m2m.core.testing.suite": {"SUITES"},
}


@pytest.fixture(autouse=True)
def first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has imported no old module yet, and was warned of nothing."""
    monkeypatch.setattr(errors, "_warned", set())
    for old in MODULES:
        monkeypatch.delitem(sys.modules, old, raising=False)


def warned(code: str) -> list[str]:
    """Run code of a user's; what it is warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(code, "user.py", "exec"), {})
    assert all(w.category is M2MDeprecationWarning and w.filename == "user.py" for w in caught), caught
    return [str(w.message) for w in caught]


@pytest.mark.parametrize(("old", "new"), MODULES.items())
def test_an_old_module_is_its_content_with_one_warning(old: str, new: str) -> None:
    parent, _, name = old.rpartition(".")
    assert warned(f"import {old}\nfrom {parent} import {name}\nimport {old}") == [
        f"the module {old} is deprecated; use {new} instead."
    ]
    renamed = {entry[0] for entry in entries(old)}
    for public in {name for name in vars(import_module(new)) if not name.startswith("_")} - renamed:
        assert getattr(sys.modules[old], public) is getattr(import_module(new), public)


def entries(old: str) -> Iterator[tuple[str, str, str]]:
    for module, words in NAMES[old].items() if old in NAMES else ():
        for word in words.split():
            name, _, new = word.partition("=")
            yield name, module, new or name


ENTRIES = [(old, *entry) for old in NAMES for entry in entries(old)]


@pytest.mark.parametrize(("old", "name", "module", "new"), ENTRIES)
def test_an_old_name_is_the_new_one_with_one_warning(old: str, name: str, module: str, new: str) -> None:
    import_module(module)
    said = warned(f"from {old} import {name}\nfrom {old} import {name}")
    if old in MODULES:
        assert said == [f"the module {old} is deprecated; use {MODULES[old]} instead."]
    elif name in vars(sys.modules[old]):  # it uses the name itself, so that it is there without our doing
        assert said == []
    else:
        assert said == [f"{old}.{name} is deprecated; use {module}.{new} instead."]
    assert getattr(sys.modules[old], name) is getattr(sys.modules[module], new)


@pytest.mark.parametrize(("module", "names"), PUBLIC, ids=[module for module, _ in PUBLIC])
@pytest.mark.filterwarnings("ignore::m2m.core.errors.M2MDeprecationWarning")
def test_every_public_name_of_the_first_version_is_there(module: str, names: list[str]) -> None:
    """Outside of core the functions and classes, and of the server nothing but its modules: no plugin builds on the rest."""
    found, room = import_module(module), module.split(".")[1]
    if room != "core":
        names = [name for name in names if not name.isupper()]
    lost = {name for name in names if not hasattr(found, name)} - {"Array"}  # of annotations
    assert room == "web" or lost == GONE.get(module, set())


@pytest.mark.parametrize("old", ["m2m.core.registry", "m2m.core.mel"])
@pytest.mark.filterwarnings("ignore::m2m.core.errors.M2MDeprecationWarning")
def test_what_never_was_is_refused_as_ever(old: str) -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = import_module(old).nonsense
    with pytest.raises(ImportError, match="nonsense"):
        warned(f"from {old} import nonsense")
    with pytest.raises(ModuleNotFoundError):
        import_module("m2m.core.nonsense")
