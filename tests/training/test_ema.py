"""The exponential moving average of weights."""

import pytest
import torch

from m2m.training.ema import EMA


def test_the_average_is_exponential_and_the_models_within_a_block() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    ema = EMA(model, 0.5)
    wanted = model.weight.item()
    for step, value in enumerate((1.0, 3.0, -2.0), start=1):
        model.weight.data.fill_(value)
        ema.update(step)
        keep = min(0.5, (1 + step) / (10 + step))
        wanted = keep * wanted + (1 - keep) * value
    before = model.weight
    with ema:
        assert model.weight.item() == pytest.approx(wanted)
    assert model.weight is before
    assert model.weight.item() == -2
    assert ema.tensors["weight"].item() == pytest.approx(wanted)


def test_no_average_is_the_weights_themselves() -> None:
    model = torch.nn.Linear(1, 1)
    ema = EMA(model, 0)
    ema.update(1)
    with ema:
        assert ema.tensors == {}
