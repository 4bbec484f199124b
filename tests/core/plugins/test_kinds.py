"""A kind of component is one entry of one table, from which all else follows."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from command_line import M2M
from distributions import Install

from m2m.core import testing
from m2m.core.errors import M2MError
from m2m.core.plugins import registry, settings
from m2m.core.plugins.kinds import KINDS, Kind
from m2m.core.plugins.scaffold import EXAMPLE
from m2m.core.testing.suite import suite_of

ROOT = Path(__file__).parents[3]

TOY = """
from pydantic import BaseModel

class Options(BaseModel):
    size: int = 1

class Toy:
    API_VERSION = API_OLDEST = 1
    Options = Options

    def __init__(self, options):
        self.options = options

class Ball(Toy):
    pass
"""


@pytest.mark.parametrize("kind", KINDS)
def test_contract_and_suite_are_there(kind: str) -> None:
    contract = registry.contract(kind)
    assert contract.API_OLDEST <= contract.API_VERSION
    if KINDS[kind].suite:
        assert suite_of(kind).kind == kind
        assert suite_of(kind).__name__ in testing.__all__


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS.values() if kind.example])
def test_what_the_scaffold_writes_is_in_the_example(kind: str) -> None:
    entries = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]["entry-points"]
    assert f"example-{kind}" in entries[KINDS[kind].group]
    assert (EXAMPLE / "tests" / f"test_{kind}.py").is_file()


def test_the_tables_of_built_ins_are_kinds() -> None:
    tables = tomllib.loads((ROOT / "plugins.toml").read_text())
    assert tables.keys() - {"built-in", "defaults"} <= {kind.plural for kind in KINDS.values()}
    assert tables["defaults"].keys() - {"model"} <= KINDS.keys()


def test_an_entry_makes_a_kind(install: Install, here: M2M, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(KINDS, "toy", Kind("toy", "toys:Toy"))
    install("toys", TOY, group="m2m.toys", entries="ball = toys:Ball\nsling = toys:Sling")
    assert [c.name for c in registry.components("toy")] == ["ball", "sling"]
    assert type(registry.create("toy", "ball")).__name__ == "Ball"
    (tmp_path / "plugins.toml").write_text("[toys.sling]\ndisabled = true\n[toys.ball.options]\nsize = 3\n")
    monkeypatch.setenv("M2M_PLUGINS", str(tmp_path / "plugins.toml"))
    assert settings.settings().use("toy", "ball").options == {"size": 3}
    with pytest.raises(M2MError, match="toy 'sling' cannot be used: switched off"):
        registry.load("toy", "sling")
    assert "ball" in here("plugins", "list").stdout
