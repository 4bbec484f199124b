"""Variations of a score: playable music, moved as a whole, from anywhere in the piece."""

import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from m2m.core.score import HIGHEST_KEY, LOWEST_KEY, NoteArray, note_array
from m2m.dataset.augment import vary
from m2m.dataset.shards import DatasetConfig

NOTES = st.lists(
    st.tuples(
        st.floats(0, 100, allow_subnormal=False),
        st.floats(0.01, 10),
        st.integers(LOWEST_KEY, HIGHEST_KEY),
        st.integers(1, 127),
    ),
    max_size=30,
).map(lambda rows: note_array((start, start + length, key, velocity) for start, length, key, velocity in rows))


CONFIGS = st.builds(
    DatasetConfig,
    seconds=st.floats(2, 60),
    tail=st.floats(0, 1.9),
    transpose=st.integers(0, 24),
    stretch=st.floats(0, 0.9),
    velocity=st.floats(0, 0.9),
    excerpt=st.sampled_from(["random", "first"]),
)


@settings(deadline=None)
@given(NOTES, CONFIGS, st.integers(0, 1000))
def test_a_variation_is_playable_music(notes: NoteArray, config: DatasetConfig, seed: int) -> None:
    before = notes.copy()
    varied = vary(notes, config, random.Random(seed))
    assert (notes == before).all()
    assert (varied == vary(notes, config, random.Random(seed))).all()
    assert bool(len(varied)) == bool(len(notes))
    assert ((varied["pitch"] >= LOWEST_KEY) & (varied["pitch"] <= HIGHEST_KEY)).all()
    assert ((varied["velocity"] >= 1) & (varied["velocity"] <= 127)).all()
    assert (varied["end"] > varied["start"]).all()
    assert (varied["start"] >= 0).all()
    assert (np.diff(varied["start"]) >= 0).all()
    if len(notes) and config.excerpt == "random":
        assert varied["start"][0] <= 0.1 + 1e-9  # it begins at a note, not in a rest


def test_a_variation_moves_everything_alike() -> None:
    notes = note_array((0.5 * i, 0.5 * i + 0.4, 50 + i, 60 + i) for i in range(20))
    config = DatasetConfig(excerpt="first")
    varied = vary(notes, config, random.Random(1))
    stretch = varied["start"][1:] / notes["start"][1:]
    assert np.ptp(stretch) < 1e-9
    assert 0 < abs(stretch[0] - 1) <= config.stretch
    assert np.allclose((varied["end"] - varied["start"]) / (notes["end"] - notes["start"]), stretch[0])
    assert np.ptp(varied["pitch"] - notes["pitch"]) == 0
    still = DatasetConfig(excerpt="first", transpose=0, stretch=0, velocity=0)
    assert (vary(notes, still, random.Random(1)) == notes).all()


def test_an_excerpt_comes_from_all_over_the_piece() -> None:
    notes = note_array((float(i), i + 0.5, 60, 80) for i in range(200))
    config = DatasetConfig(seconds=10, transpose=0, stretch=0)
    lengths = [len(vary(notes, config, random.Random(seed))) for seed in range(50)]
    assert max(lengths) > 150
    assert min(lengths) < 50
