"""What benches share, and that each of them starts."""

import json
import random
from importlib import import_module
from pathlib import Path

import pytest
import shared
from click.testing import CliRunner
from soak.files import midi_file, mutate, mutate_config

BENCHES = sorted(path.stem for path in (Path(__file__).parents[2] / "benches").glob("*.py"))


@pytest.mark.parametrize(
    "name", [name for name in BENCHES if name not in ("make_quick", "shared", "wavenet_agreement")]
)
def test_a_bench_says_what_it_does(name: str) -> None:
    done = CliRunner().invoke(import_module(name).main, ["--help"])
    assert done.exit_code == 0, done.output


def test_the_best_of_several_runs_is_the_shortest() -> None:
    times = iter([0.0, 3.0, 3.0, 4.0, 4.0, 6.0])
    assert shared.best(lambda: "made", 3, lambda: next(times)) == (1.0, "made")


def test_figures_are_kept_where_wanted(tmp_path: Path) -> None:
    shared.write_json(None, {"a": 1})
    shared.write_json(tmp_path / "figures.json", {"a": 1})
    assert json.loads((tmp_path / "figures.json").read_text()) == {"a": 1}


def test_a_seed_makes_the_same_damaged_files() -> None:
    def make(seed: int) -> tuple[bytes, bytes, str]:
        draw = random.Random(seed)
        return midi_file(draw), mutate(bytes(100), draw), mutate_config('{"a": {"b": 1}}', draw)

    assert make(0) == make(0) != make(1)
    assert make(0)[0].startswith(b"MThd")
