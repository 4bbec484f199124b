"""Rests in the mel are rests in the wave."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.mel import Mel, MelSpec, log_mel
from m2m.vocoders.rests import keep_rests

SPEC = MelSpec()
HOP = SPEC.hop_length


@given(
    sizes=st.lists(st.integers(0, 700), min_size=1, max_size=20),
    silent=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_blocks_of_any_size_are_the_whole(sizes: list[int], silent: list[bool]) -> None:
    values = np.where(np.array(silent)[:, None], SPEC.silence, np.full((20, 80), -3.0)).astype(np.float32)
    mel, wave = Mel(values, SPEC), np.random.default_rng(0).standard_normal(20 * HOP).astype(np.float32)
    edges = np.cumsum([0, *sizes]).clip(max=len(wave))
    blocks = [wave[a:b] for a, b in zip([*edges], [*edges[1:], len(wave)], strict=True)]
    (whole,) = keep_rests(mel, [wave])
    np.testing.assert_array_equal(np.concatenate(list(keep_rests(mel, blocks))), whole)
    for frame in range(20):
        hop, two = whole[frame * HOP : (frame + 1) * HOP], silent[frame : frame + 2]
        if all(two):
            assert not hop.any()
        elif not any(two):
            np.testing.assert_array_equal(hop, wave[frame * HOP : (frame + 1) * HOP])


def test_music_between_rests_is_untouched() -> None:
    wave = np.zeros(40 * HOP, np.float32)
    wave[15 * HOP : 25 * HOP] = 0.3 * np.sin(np.arange(10 * HOP) / 7)
    (kept,) = keep_rests(Mel(log_mel(wave, SPEC), SPEC), [wave + np.float32(1e-3)])
    np.testing.assert_array_equal(kept[15 * HOP : 25 * HOP], wave[15 * HOP : 25 * HOP] + np.float32(1e-3))
    assert not kept[: 10 * HOP].any()
    assert not kept[30 * HOP :].any()
