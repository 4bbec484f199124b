"""Rests in the mel are rests in the wave."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from m2m.core.checkpoint import save_model
from m2m.core.mel import LazyMel, Mel, MelSpec, log_mel
from m2m.core.plugins import registry
from m2m.core.testing import VocoderConformance
from m2m.core.vocoder import Vocoder
from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig
from m2m.vocoders.shared.silence_gate import GatedMel, gate_silence
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

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
    (whole,) = gate_silence(GatedMel(mel), [wave])
    np.testing.assert_array_equal(np.concatenate(list(gate_silence(GatedMel(mel), blocks))), whole)
    for frame in range(20):
        hop, two = whole[frame * HOP : (frame + 1) * HOP], silent[frame : frame + 2]
        if all(two):
            assert not hop.any()
        elif not any(two):
            np.testing.assert_array_equal(hop, wave[frame * HOP : (frame + 1) * HOP])


def test_music_between_rests_is_untouched() -> None:
    wave = np.zeros(40 * HOP, np.float32)
    wave[15 * HOP : 25 * HOP] = 0.3 * np.sin(np.arange(10 * HOP) / 7)
    (kept,) = gate_silence(GatedMel(Mel(log_mel(wave, SPEC), SPEC)), [wave + np.float32(1e-3)])
    np.testing.assert_array_equal(kept[15 * HOP : 25 * HOP], wave[15 * HOP : 25 * HOP] + np.float32(1e-3))
    assert not kept[: 10 * HOP].any()
    assert not kept[30 * HOP :].any()


# --- a frame that a vocoder has read is not computed again --------------------------------------------------------------


NETWORKS: dict[str, dict[str, Any]] = {"wavenet": {"layers": 2, "classes": 16}, "parallel-wavenet": {"flows": (2,)}}
SOUNDS = np.where(np.arange(2000)[:, None] % 300 < 200, -4.0, SPEC.silence).astype(np.float32).repeat(80, axis=1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    folders = {}
    for name, sizes in NETWORKS.items():
        config: Any = (WaveNetConfig if name == "wavenet" else StudentConfig)(residual=16, skip=16, **sizes)
        folders[name] = tmp_path_factory.mktemp("models") / name
        save_model(folders[name], name, config, WaveNet(config) if name == "wavenet" else Student(config), "")
    return folders


def counted(values: np.ndarray) -> tuple[LazyMel, list[tuple[int, int]]]:
    """A mel in the making in spans of 100 frames, and those that have been made."""
    made: list[tuple[int, int]] = []

    def make(first: int, last: int) -> np.ndarray:
        made.append((first, last))
        return values[first:last].copy()

    return LazyMel(make, list(pairwise(range(0, len(values) + 1, 100))), SPEC), made


ways = pytest.mark.parametrize(
    ("name", "options"),
    [
        ("wavenet", {"segment": 0.5, "streams": 64}),  # all side by side
        ("wavenet", {"segment": 0.25, "streams": 3}),
        ("wavenet", {"segment": 0}),
        ("parallel-wavenet", {}),
        ("parallel-wavenet", {"block_seconds": 2}),
    ],
)


@ways
def test_a_mel_in_the_making_is_made_once(folders: dict[str, Path], name: str, options: dict[str, Any]) -> None:
    vocoder: Vocoder = registry.create("vocoder", name, options={"model": str(folders[name]), **options})
    whole = vocoder.synthesize(Mel(SOUNDS, SPEC), 3)
    mel, made = counted(SOUNDS)
    wave = np.concatenate(list(vocoder.stream(mel, 3)))
    np.testing.assert_array_equal(wave, whole)
    assert made == list(pairwise(range(0, 2001, 100)))
    assert not wave[201 * HOP : 299 * HOP].any()
    several = [counted(SOUNDS[:1000]) for _ in range(2)]
    vocoder.batch([mel for mel, _ in several], 3)
    assert [sorted(made) for _, made in several] == [list(pairwise(range(0, 1001, 100)))] * 2


@ways
def test_the_first_sound_does_not_wait_for_the_whole_mel(
    folders: dict[str, Path], name: str, options: dict[str, Any]
) -> None:
    class Suite(VocoderConformance):
        pass

    Suite.name, Suite.options = name, {"model": str(folders[name]), **options}
    Suite().test_promptness()


def test_what_was_never_heard_is_read() -> None:
    mel, made = counted(SOUNDS)
    gated = GatedMel(mel)
    gated.window(0, 150)
    assert gated.sounding(100, 260).tolist() == [True] * 100 + [False] * 60
    assert made == [(0, 100), (100, 200), (200, 300)]
    assert gated.sounding(0, 260).sum() == 200
    assert len(made) == 3
