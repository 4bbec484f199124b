"""The three short pieces are what their generator writes, and are of three kinds."""

import importlib.util
from itertools import pairwise
from pathlib import Path

import pretty_midi
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("ensemble", "line", "piano")
spec = importlib.util.spec_from_file_location("make_three", EXAMPLES / "make_three.py")
assert spec
assert spec.loader
make_three = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_three)


def read(name: str) -> pretty_midi.PrettyMIDI:
    return pretty_midi.PrettyMIDI(str(EXAMPLES / "three" / f"{name}.mid"))


def test_the_generator_writes_them(tmp_path: Path) -> None:
    make_three.main(tmp_path)
    made, kept = (
        {path.name: path.read_bytes() for path in folder.iterdir()} for folder in (tmp_path, EXAMPLES / "three")
    )
    assert made == kept
    assert sorted(made) == [f"{name}.mid" for name in NAMES]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_short_and_whole_bars_long(name: str) -> None:
    midi = read(name)
    assert 10 < midi.get_end_time() < 20
    bars = midi.get_downbeats()
    assert len([time for time in bars if time < midi.get_end_time() - 0.01]) == 8


def test_a_piano_with_a_pedal_an_ensemble_with_drums_and_one_note_at_a_time() -> None:
    (piano,) = read("piano").instruments
    pedal = [change.value for change in piano.control_changes if change.number == 64]
    assert len([value for value in pedal if value >= 64]) == len([value for value in pedal if value < 64]) == 8
    ensemble = read("ensemble").instruments
    assert [player.is_drum for player in ensemble].count(True) == 1
    assert len({player.program for player in ensemble if not player.is_drum}) == 4
    (violin,) = read("line").instruments
    assert all(before.end <= after.start for before, after in pairwise(sorted(violin.notes, key=lambda n: n.start)))
