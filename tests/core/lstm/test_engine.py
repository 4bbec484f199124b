"""The LSTM's kernel against PyTorch's LSTM, on every instruction set that was built and runs here."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from m2m.core.errors import M2MError
from m2m.core.lstm import engine
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig

pytestmark = pytest.mark.skipif(not engine.available(), reason="no kernel of the LSTM was built for this processor")
SETS = engine.available() or [""]


def network(inputs: int, hidden: int, layers: int = 1, seed: int = 0) -> nn.LSTM:
    torch.manual_seed(seed)
    return nn.LSTM(inputs, hidden, layers, batch_first=True, bidirectional=True).eval().requires_grad_(False)


def states(lstm: nn.LSTM, features: Tensor, context: int = 0) -> Tensor:
    made: Tensor = lstm.double()(features.double())[0]
    lstm.float()
    return made[:, context : made.shape[1] - context].float()


@pytest.mark.parametrize("instructions", SETS)
@settings(max_examples=15, deadline=None)
@given(
    inputs=st.sampled_from([16, 48, 80]),
    hidden=st.sampled_from([16, 32, 112]),
    layers=st.integers(1, 2),
    batch=st.integers(1, 9),
    frames=st.integers(1, 40),
    context=st.integers(0, 7),
)
def test_float32_is_pytorch(
    instructions: str, inputs: int, hidden: int, layers: int, batch: int, frames: int, context: int
) -> None:
    lstm = network(inputs, hidden, layers)
    features = torch.randn(batch, frames + 2 * context, inputs)
    made = engine.CpuLstm(lstm, "fp32", instructions)(features, context)
    torch.testing.assert_close(made, states(lstm, features, context), atol=2e-6, rtol=0)


@pytest.mark.parametrize("instructions", SETS)
def test_bytes_are_near(instructions: str) -> None:
    lstm, features = network(64, 128), torch.randn(3, 200, 64)
    error = engine.CpuLstm(lstm, "int8", instructions)(features) - states(lstm, features)
    assert 1e-6 < error.abs().mean() < 2e-3  # the states' mean size is 0.17
    assert error.abs().max() < 0.03


@pytest.mark.parametrize("instructions", SETS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_neither_neighbours_nor_threads_change_a_bit(instructions: str, precision: str) -> None:
    lstm, features = network(32, 48), torch.randn(7, 90, 32)
    kernel = engine.CpuLstm(lstm, precision, instructions)  # type: ignore[arg-type]
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            made.append(kernel(features, 4))
    finally:
        torch.set_num_threads(before)
    alone = torch.cat([kernel(one[None], 4) for one in features])
    for other in (*made[1:], alone):
        assert torch.equal(other, made[0])


def test_levels_of_features_do_not_matter() -> None:
    lstm = network(32, 32)
    for scale in (0.0, 1e-4, 10.0):
        features = scale * torch.randn(1, 30, 32)
        error = engine.CpuLstm(lstm)(features) - states(lstm, features)
        assert error.abs().mean() < 5e-3, scale


@pytest.mark.parametrize(
    "other",
    [
        nn.LSTM(20, 16, batch_first=True, bidirectional=True),
        nn.LSTM(16, 24, batch_first=True, bidirectional=True),
        nn.LSTM(16, 16, batch_first=True),
        nn.LSTM(16, 16, bidirectional=True),
        nn.LSTM(16, 32, proj_size=16, batch_first=True, bidirectional=True),
    ],
)
def test_what_it_does_not_do(other: nn.LSTM) -> None:
    assert not engine.can_run(other)
    with pytest.raises(M2MError, match="use PyTorch's"):
        engine.CpuLstm(other)


def test_a_network_takes_it_for_inference_and_never_in_training() -> None:
    torch.manual_seed(1)
    model = Mel2Mel(Mel2MelConfig(hidden=32))
    roll, timbre = torch.rand(2, 60, model.encoder.n_features), model.timbre.weight[:2, None]
    with torch.inference_mode():
        whole = model(roll, timbre)
        assert torch.equal(model(roll, timbre, context=20), whole[:, 20:-20])
        model.freeze()
        fast = model(roll, timbre)
        assert not torch.equal(fast, whole)
        torch.testing.assert_close(fast, whole, atol=0.02, rtol=0)
        torch.testing.assert_close(model(roll, timbre, context=20), fast[:, 20:-20], atol=0.02, rtol=0)
    torch.testing.assert_close(model(roll, timbre), whole, atol=1e-5, rtol=0)  # gradients are wanted: PyTorch's
    with torch.no_grad():
        for weight in model.lstm.parameters():
            weight.mul_(2.0)
    model.train()
    model.eval()
    with torch.inference_mode():
        assert (model(roll, timbre) - whole).abs().max() > 0.1  # of the weights as they are now
