"""Drum parts: grooves in time, every key of General MIDI, and the frequencies of real drum music."""

import random
from collections import Counter

import numpy as np
import pytest

from m2m.core.notes import NoteArray
from m2m.dataset.drums import (
    GROOVES,
    HIGHEST_DRUM,
    LOWEST_DRUM,
    Groove,
    bar_seconds,
    drum_part,
    play,
)

KITS = (0, 8, 16, 24, 25, 32, 40, 48)


def parts(kits: tuple[int, ...], seconds: float, count: int) -> list[NoteArray]:
    return [drum_part(kit, seconds, random.Random(f"{kit} {number}")) for kit in kits for number in range(count)]


@pytest.mark.parametrize("groove", GROOVES.values(), ids=GROOVES)
def test_a_groove_is_written_in_whole_bars(groove: Groove) -> None:
    patterns = [pattern for bar in groove.bars for pattern in bar.values()]
    assert {len(pattern) for pattern in patterns} == {len(patterns[0])}
    assert len(patterns[0]) % groove.steps == 0
    assert set("".join(patterns)) <= set(".123456789")
    assert 40 < groove.tempo[0] < groove.tempo[1] < 220
    assert bar_seconds(groove, 120.0) in (2.0, 1.5)  # of four or three quarter notes


def test_a_part_is_the_seeds_and_of_its_length() -> None:
    for part, same in zip(parts(KITS, 8.0, 5), parts(KITS, 8.0, 5), strict=True):
        assert (part == same).all()
        assert (part["start"] >= 0).all()
        assert 7.0 < part["start"].max() < 8.0  # it is played to its end
        assert (part["end"] > part["start"]).all()
        assert (np.diff(part["start"]) >= 0).all()
        assert ((part["pitch"] >= LOWEST_DRUM) & (part["pitch"] <= HIGHEST_DRUM)).all()
        assert ((part["velocity"] >= 1) & (part["velocity"] <= 127)).all()
        assert len(np.unique(part["velocity"])) > 5
    first, second = (drum_part(0, 8.0, random.Random(seed)) for seed in (1, 2))
    assert len(first) != len(second) or not (first == second).all()


def test_every_key_is_struck_and_the_usual_ones_most() -> None:
    counts = Counter(key for part in parts((0,), 28.5, 80) for key in part["pitch"].tolist())
    assert set(counts) == set(range(LOWEST_DRUM, HIGHEST_DRUM + 1))
    total = sum(counts.values())
    shares = {key: counts[key] / total for key in counts}
    assert {key for key, _ in counts.most_common(3)} == {36, 38, 42}
    assert sum(shares[key] for key in (35, 36, 37, 38, 40, 42, 44, 46, 51)) > 0.55
    assert sum(shares[key] for key in range(60, 88)) < 0.25


def test_a_groove_is_played_as_it_is_written() -> None:
    """At its steps, within 20 ms; a quarter note at 120 is half a second."""
    groove = Groove((60, 60), ({"kick": "8...8...8...8...", "stick": "..5...5...5...5."},), fills=("none",))
    part = play(groove, 120.0, 2, random.Random(3))
    for keys, first in (((35, 36), 0.0), ((37,), 0.25)):
        times = part["start"][np.isin(part["pitch"], keys)]
        assert len(times) == 8
        assert np.abs(times - (first + 0.5 * np.arange(8))).max() <= 0.02
    struck = {key: part["velocity"][part["pitch"] == key].mean() for key in np.unique(part["pitch"])}
    assert struck.pop(37) < min(struck.values())


def test_swing_delays_every_second_sixteenth() -> None:
    groove = Groove((60, 60), ({"hat": "8888888888888888"},), swing=2 / 3, fills=("none",))
    part = play(groove, 60.0, 4, random.Random(3))
    times = part["start"][part["pitch"] == 42]
    gaps = np.diff(times)
    assert np.allclose([gaps[::2].mean(), gaps[1::2].mean()], [1 / 3, 1 / 6], atol=0.01)


def test_a_fill_ends_a_section_and_ghosts_are_soft() -> None:
    plain = Groove((60, 60), ({"hat": "8.8.8.8.8.8.8.8."},), fills=("toms",))
    part = play(plain, 120.0, 8, random.Random(5), section=4)
    toms = part["start"][np.isin(part["pitch"], (41, 43, 45, 47, 48, 50))]
    assert set((toms // 2).astype(int)) == {3, 7}  # bars of two seconds
    ghostly = Groove((60, 60), ({"hat": "8.8.8.8.8.8.8.8."},), ghosts=0.5, fills=("none",))
    part = play(ghostly, 120.0, 8, random.Random(5))
    ghosts = part["velocity"][np.isin(part["pitch"], (38, 40))]
    assert len(ghosts) > 30
    assert ghosts.max() < 65


def test_a_jazz_kit_plays_jazz_more_often() -> None:
    rides = [np.isin(part["pitch"], (51, 59)).mean() for part in parts((32,), 10.0, 40)]
    others = [np.isin(part["pitch"], (51, 59)).mean() for part in parts((25,), 10.0, 40)]
    assert np.mean(rides) > 3 * np.mean(others)
