import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.plugins import registry
from m2m.core.score import hold, note_array
from m2m.encoders.onsets_frames import OnsetsFrames, OnsetsFramesDecay

RATE = 125.0
notes_strategy = st.lists(
    st.tuples(st.floats(0, 6), st.floats(0.005, 3), st.integers(21, 108), st.integers(1, 127)).map(
        lambda n: (n[0], n[0] + n[1], n[2], n[3])
    ),
    max_size=25,
).map(lambda notes: hold(note_array(notes), [], 0.0))


def by_hand(start: float, end: float, velocity: float, frames: int) -> np.ndarray:
    """One key's six features, frame after frame as the design words them: an oracle with no cleverness."""
    rows, values, since = [], np.zeros(3), 0.0
    for frame in range(frames):
        values = values * np.exp(-1 / (RATE * np.array([0.06, 0.3, 1.2])))
        since *= math.exp(-1 / (RATE * 0.15))
        if frame > end * RATE:  # let go: everything falls faster
            values = values * math.exp(-1 / (RATE * 0.15))
        if frame == start * RATE:
            values = np.full(3, velocity)
        if frame == end * RATE:
            since = velocity
        onset, sounding = frame == start * RATE, start * RATE <= frame < end * RATE
        rows.append([velocity * onset, velocity * sounding, *values, since])
    return np.array(rows)


def test_one_note_by_hand() -> None:
    notes = note_array([(0.08, 0.4, 69, 100)])
    roll = OnsetsFramesDecay().encode(notes, RATE, 0, 120)
    key = 69 - 21
    assert np.abs(roll.reshape(120, 6, 88)[:, :, key] - by_hand(0.08, 0.4, 100 / 127, 120)).max() < 1e-6
    assert not np.delete(roll.reshape(120, 6, 88), key, axis=2).any()
    assert roll[10, key] == roll[10, 88 + key] == pytest.approx(100 / 127)
    assert roll[:10].max() == 0
    assert (roll[11:, :88] == 0).all()
    assert roll[20, 2 * 88 + key] == pytest.approx(100 / 127 * math.exp(-10 / RATE / 0.06))
    assert roll[49, 5 * 88 + key] == 0  # the last frame of the note
    assert roll[50, 5 * 88 + key] == pytest.approx(100 / 127)  # the first after it


def test_a_key_struck_again_starts_anew() -> None:
    notes = note_array([(0.0, 0.2, 60, 127), (0.2, 0.4, 60, 64)])
    roll = OnsetsFramesDecay().encode(notes, RATE, 0, 50).reshape(50, 6, 88)[:, :, 60 - 21]
    assert roll[25, :5].tolist() == pytest.approx([64 / 127] * 5)
    assert roll[25, 5] == 0


@pytest.mark.parametrize("name", ["onsets-frames", "onsets-frames-decay"])
@given(notes=notes_strategy, cuts=st.lists(st.integers(-20, 700), min_size=1, max_size=6))
def test_windows_side_by_side_equal_the_whole(name: str, notes: np.ndarray, cuts: list[int]) -> None:
    encoder = registry.create("encoder", name)
    edges = sorted({-30, 720, *cuts})
    whole = encoder.encode(notes, RATE, -30, 750)
    parts = [encoder.encode(notes, RATE, a, b - a) for a, b in itertools.pairwise(edges)]
    assert whole.shape == (750, encoder.n_features)
    assert np.array_equal(np.concatenate(parts), whole)
    assert (whole >= 0).all()
    assert (whole <= 1).all()


@given(notes=notes_strategy)
def test_onsets_and_frames_are_the_first_features_of_the_decays(notes: np.ndarray) -> None:
    plain, decays = OnsetsFrames().encode(notes, RATE, 0, 600), OnsetsFramesDecay().encode(notes, RATE, 0, 600)
    assert np.array_equal(plain, decays[:, :176])


def test_nothing_sounds_in_an_empty_part() -> None:
    assert not OnsetsFramesDecay().encode(note_array([]), RATE, 0, 10).any()
