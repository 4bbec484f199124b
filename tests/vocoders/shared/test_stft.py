"""Spectrograms: what a wave keeps on the way there and back, and which phases it has."""

import numpy as np
import pytest
import torch

from m2m.core.mel import MelSpec
from m2m.vocoders.shared.stft import STFT, transfer_phase, window_reach

SPEC = MelSpec()


def music(samples: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    time = np.arange(samples) / SPEC.sample_rate
    tones = sum(np.sin(2 * np.pi * (hz * time + draw.random())) for hz in (220.0, 331.0, 1250.0))
    return (0.1 * tones + 0.01 * draw.standard_normal(samples)).astype(np.float32)


def test_there_and_back_is_the_same_wave() -> None:
    transform, wave = STFT(SPEC, "cpu"), torch.from_numpy(music(20 * 128 + 1024))
    back = transform.inverse(transform.forward(wave))
    assert torch.allclose(back[1024:-1024], wave[1024 : len(back) - 1024], atol=1e-6)


def test_in_phase_with_itself_is_itself() -> None:
    wave, beyond = music(60 * 128), 2 * window_reach(SPEC) * 128
    assert np.allclose(transfer_phase(wave, wave, SPEC), wave[beyond:-beyond], atol=1e-5)
    assert np.allclose(transfer_phase(wave, np.float32(-0.1) * wave, SPEC), -wave[beyond:-beyond], atol=1e-5)


def test_of_a_wave_its_level_of_the_leader_its_phase() -> None:
    time = np.arange(60 * 128) / SPEC.sample_rate
    wave, leader = 0.3 * np.sin(2 * np.pi * 440 * time), np.cos(2 * np.pi * 440 * time)
    beyond = 2 * window_reach(SPEC) * 128
    found = transfer_phase(wave.astype(np.float32), leader.astype(np.float32), SPEC)
    assert np.abs(found - 0.3 * leader[beyond:-beyond]).max() < 0.003


@pytest.mark.parametrize("iterations", [0, 2])
def test_any_stretch_is_that_part_of_the_whole(iterations: int) -> None:
    wave, leader, beyond = music(100 * 128), music(100 * 128, 1), 2 * window_reach(SPEC) * (1 + iterations) * 128
    whole = transfer_phase(wave, leader, SPEC, iterations)
    part = transfer_phase(wave[20 * 128 : -20 * 128], leader[20 * 128 : -20 * 128], SPEC, iterations)
    assert np.allclose(part, whole[20 * 128 : len(whole) - 20 * 128], atol=1e-5)
    assert len(whole) == len(wave) - 2 * beyond


def test_iterations_bring_a_wave_nearer_to_its_own_magnitudes() -> None:
    wave, leader = music(120 * 128), music(120 * 128, 1)
    wanted, errors = STFT(SPEC, "cpu").forward(torch.from_numpy(wave)).abs(), []
    for iterations in (0, 1, 4):
        beyond = 2 * window_reach(SPEC) * (1 + iterations)
        found = STFT(SPEC, "cpu").forward(torch.from_numpy(transfer_phase(wave, leader, SPEC, iterations))).abs()
        errors.append((found - wanted[beyond : beyond + len(found)])[50 - beyond : 60 - beyond].square().mean().item())
    assert errors[0] > 1.2 * errors[1] > 1.4 * errors[2]
