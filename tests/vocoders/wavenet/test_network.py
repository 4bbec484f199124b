"""WaveNet's network against its definition written out in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_wavenet import SPEC, TINY, by_hand, mel, random_samples, teacher_forced, tiny

from m2m.core.audio import mu_law_decode
from m2m.vocoders.shared.philox import uniforms
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, apply_temperature
from m2m.vocoders.wavenet.sampling import draw
from m2m.vocoders.wavenet.torch_engine import TorchEngine


@pytest.fixture(autouse=True)
def _chance() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("output", ["mulaw", "gaussian", "mol"])
def test_the_network_is_its_definition(output: str) -> None:
    model = tiny(output=output)
    for layer in model.stack:
        torch.nn.init.normal_(layer.bias)
    samples, features = random_samples(model, 5 * 8), mel(5)
    wanted = by_hand(model, samples, features)
    assert wanted.shape == (40, model.config.outputs)
    assert np.abs(teacher_forced(model, samples, features) - wanted).max() < 1e-12
    assert np.abs(TorchEngine(model).expected(samples, features) - wanted).max() < 1e-12


def test_the_reference_size() -> None:
    config = WaveNetConfig()
    assert config.dilations == [2**k for k in range(10)] * 2
    assert config.receptive_field == 2048
    assert config.margin == 1
    names = {name: tuple(tensor.shape) for name, tensor in WaveNet(config).state_dict().items()}
    assert names["embed_cur.weight"] == (256, 64)
    assert names["layers.19.prev.weight"] == names["layers.0.cur.weight"] == (128, 64)
    assert names["layers.18.res.weight"] == (64, 64)
    assert "layers.19.res.weight" not in names
    assert names["upsample.1.weight"] == (80, 80, 32)
    assert 2 * sum(np.prod(shape) for shape in names.values()) < 5_000_000  # bytes that ship


def test_how_far_it_hears() -> None:
    model = tiny()
    field = model.config.receptive_field
    assert field == (1 + 2 + 4) + (1 + 2) + 2
    first, features = random_samples(model, 32), mel(4)
    before = teacher_forced(model, first, features)
    other = first.copy()
    other[5] = (other[5] + 8) % 16
    changed = np.abs(teacher_forced(model, other, features) - before).max(axis=1) > 0
    assert changed.nonzero()[0].tolist() == list(range(6, 5 + field + 1))


def test_neighbouring_classes_begin_alike() -> None:
    model = WaveNet(WaveNetConfig(layers=1))
    for table, deviation in ((model.embed_cur.weight, 1.0), (model.end.weight, 1 / (3 * 256) ** 0.5)):
        assert table.std().item() == pytest.approx(deviation)
        assert (table[1:] - table[:-1]).std() < 0.2 * table.std()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"upsample": ((4, 2), (8, 8))}, "strides make 16 samples a frame, mel.hop_length is 8"),
        ({"upsample": ((5, 2), (8, 4))}, "kernel 5 is not stride 2 plus an even number"),
        ({"upsample": ((4, 2), (2, 4))}, "kernel 2 is not stride 4"),
        ({"mel": SPEC.model_dump() | {"floor": 1.0}}, "mel.floor"),
        ({"skips": 3}, "skips"),
        ({"layers": 0}, "layers"),
    ],
)
def test_impossible_configs_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WaveNetConfig.model_validate(TINY.model_dump() | changes)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 0.1, 0.0])
def test_temperature_sharpens_the_density_and_not_its_classes(temperature: float) -> None:
    deviation, classes = 0.1, 256
    model = tiny(classes=classes)
    samples = mu_law_decode(np.arange(classes), classes).astype(np.float64)
    width = np.gradient(samples)
    model.end.bias.copy_(torch.from_numpy(-0.5 * (samples / deviation) ** 2 + np.log(width)))  # a bell around zero
    apply_temperature(model, temperature)
    u = uniforms(2, np.arange(1), 0, 20_000)[:, 0]
    drawn = samples[draw(np.tile(model.end.bias.float().numpy(), (len(u), 1)), u, "mulaw", temperature)]
    assert abs(drawn.std() - deviation * temperature**0.5) < 0.003
    assert abs(drawn.mean()) < 0.003


def test_the_temperature_of_a_continuous_output_is_its_own() -> None:
    model = tiny(output="gaussian")
    before = model.end.bias.clone()
    apply_temperature(model, 0.5)
    assert torch.equal(model.end.bias, before)
