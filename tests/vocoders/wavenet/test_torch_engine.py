"""The plain engine against the network."""

import numpy as np
import pytest
import torch
from tiny_wavenet import TINY, mel, teacher_forced, tiny

from m2m.vocoders.shared.philox import uniforms
from m2m.vocoders.wavenet.network import WaveNet
from m2m.vocoders.wavenet.sampling import draw
from m2m.vocoders.wavenet.torch_engine import TorchEngine


@pytest.fixture(autouse=True)
def _chance() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("output", ["mulaw", "gaussian", "mol"])
@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.0])
def test_it_draws_what_the_network_expects(output: str, temperature: float) -> None:
    """Fed with its own samples, the network expects distributions that give just these with the same random numbers."""
    model, seed, stream = tiny(output=output), 2**40 + 7, 3
    features = mel(6)
    (samples,) = TorchEngine(model).generate([features], seed, stream, temperature=temperature)
    assert samples.shape == (48,)
    assert samples.dtype == (np.int16 if output == "mulaw" else np.float32)
    fed = samples.astype(np.int64 if output == "mulaw" else np.float64)
    numbers = uniforms(seed, np.array([stream]), 0, 48)[:, 0]
    again = draw(teacher_forced(model, fed, features), numbers, output, temperature)
    assert np.abs(again - samples).max() <= (0 if output == "mulaw" else 1e-6)
    if temperature:
        assert len(np.unique(samples)) > 4


def test_a_stream_is_the_same_alone_among_others_and_in_any_blocks() -> None:
    engine = TorchEngine(tiny())
    mels = [mel(frames, seed=frames) for frames in (5, 9, 0, 2)]
    together = engine.generate(mels, 1, first_stream=2)
    assert [len(wave) for wave in together] == [40, 72, 0, 16]
    for i, alone in enumerate(mels):
        assert np.array_equal(engine.generate([alone], 1, 2 + i)[0], together[i])
    for frames in (1, 4, 64):
        blocks = list(engine.stream(mels, 1, 2, frames=frames))
        for i, wave in enumerate(together):
            assert np.array_equal(np.concatenate([block[i] for block in blocks]), wave)
    same = engine.generate([mels[0], mels[0], mels[0]], 1, [2, 2, 0])
    assert np.array_equal(same[0], together[0])
    assert np.array_equal(same[1], together[0])
    assert not np.array_equal(same[2], together[0])
    assert engine.generate([], 1) == []


def test_the_first_weights_are_left_alone() -> None:
    model = WaveNet(TINY)
    TorchEngine(model)
    assert model.end.weight.dtype == torch.float32
    assert model.end.weight.requires_grad
