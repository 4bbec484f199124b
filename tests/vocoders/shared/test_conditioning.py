"""The conditioning of a network: mel, roll and excitation, at the rate of samples."""

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tiny_wavenet import SPEC, TINY, by_hand, mel, random_samples, teacher_forced, tiny

from m2m.core.mel import MelSpec
from m2m.core.score import note_array
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.shared.excitation import mel_matched_excitation
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.torch_engine import TorchEngine


@pytest.fixture(autouse=True)
def _chance() -> None:
    torch.manual_seed(0)


def test_the_score_stands_beside_the_mel() -> None:
    model = tiny(condition_on_notes=True)
    features = np.concatenate([mel(5), np.random.default_rng(1).random((5, 176), np.float32)], axis=1)
    samples = random_samples(model, 40)
    wanted = by_hand(model, samples, features)
    assert np.abs(teacher_forced(model, samples, features) - wanted).max() < 1e-12
    assert np.abs(TorchEngine(model).expected(samples, features) - wanted).max() < 1e-12


def test_the_excitation_goes_through_the_convolutions_with_the_mel() -> None:
    model = tiny(excitation=EXCITATION_VERSION)
    features = np.concatenate([mel(5), np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)], axis=1)
    samples = random_samples(model, 40)
    wanted = by_hand(model, samples, features)
    assert np.abs(teacher_forced(model, samples, features) - wanted).max() < 1e-12
    assert np.abs(TorchEngine(model).expected(samples, features) - wanted).max() < 1e-12


@pytest.mark.parametrize("upsample", [((16, 8), (32, 16)), ((128, 128),), ((4, 2), (12, 4), (18, 16))])
def test_an_untrained_network_passes_the_excitation_through(upsample: tuple[tuple[int, int], ...]) -> None:
    model = WaveNet(WaveNetConfig(layers=1, excitation=EXCITATION_VERSION, upsample=upsample))
    notes = note_array([(0.01, 0.05, 60, 127), (0.03, 0.2, 45, 80)])
    values = np.full((12 + 40, 80), -6.0, np.float32)
    features = model.features_from(values, notes, 0)
    u = model.conditioning(torch.from_numpy(features)[None])[0].detach()
    wave = torch.from_numpy(mel_matched_excitation(notes, values, 0, MelSpec()))
    assert wave.abs().max() > 0.02
    level = model.frame_gain(torch.from_numpy(features)).repeat_interleave(128)
    assert (u[:, -1] * level - wave).abs().max() < 1e-6
    given = torch.from_numpy(features)
    assert (model.to_sound(torch.zeros(12 * 128), given) - wave).abs().max() < 1e-6
    assert model.from_sound(wave, given).abs().max() < 1e-5
    assert u[:, :-1].abs().max() > 0.01  # and the mel with it


@given(
    hnp.arrays(np.float32, (3, 6), elements=st.floats(-11.5, 0, width=32)),
    hnp.arrays(np.float32, 24, elements=st.floats(-1, 1, width=32)),
)
def test_samples_and_sound_are_each_other_s_inverse(values: np.ndarray, y: np.ndarray) -> None:
    """At any loudness."""
    model = WaveNet(WaveNetConfig.model_validate(TINY.model_dump() | {"excitation": EXCITATION_VERSION}))
    features = torch.from_numpy(np.concatenate([values, np.zeros((3, 8), np.float32)], axis=1))
    sound = model.to_sound(torch.from_numpy(y), features)
    assert np.allclose(model.from_sound(sound, features).numpy(), y, atol=1e-5)
    silent = model.to_sound(torch.from_numpy(y), torch.full_like(features, model.config.mel.silence))
    assert silent.abs().max() < 0.001


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"excitation": True}, "excitation 1 is another m2m's; this one has 2"),
        ({"excitation": EXCITATION_VERSION, "mel": MelSpec(power=2)}, "excitation wants mel.power 1"),
        (
            {"excitation": EXCITATION_VERSION, "mel": MelSpec(filter_norm="area")},
            "excitation wants mel.filter_norm 'peak'",
        ),
        (
            {"excitation": EXCITATION_VERSION, "mel": MelSpec(n_fft=65536, hop_length=128)},
            "excitation wants mel.n_fft between 2 and 256 times",
        ),
    ],
)
def test_an_excitation_that_this_m2m_does_not_make(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WaveNetConfig(**config)


def test_no_frame_s_excitation_is_far_louder_than_the_frame() -> None:
    """An onset after silence: the window that sees it early is silent by the mel."""
    values = np.full((12 + 40, 80), MelSpec().silence, np.float32)
    values[26:] = -4.0
    model = WaveNet(WaveNetConfig(layers=1, excitation=EXCITATION_VERSION))
    features = model.features_from(values, note_array([(0.05, 0.2, 45, 127)]), 0)
    assert np.abs(features[:, 80:]).max() <= 2.0
    sound = model.to_sound(torch.zeros(12 * 128), torch.from_numpy(features))
    assert sound[: 5 * 128].abs().max() < 0.001 < sound[7 * 128 :].abs().max()


def test_an_excitation_that_does_not_fit_through_begins_at_random() -> None:
    model = WaveNet(
        WaveNetConfig(layers=1, excitation=EXCITATION_VERSION, upsample=((2, 2), (64, 64)))
    )  # 64 samples a step of 80 bands fit
    narrow = WaveNet(
        WaveNetConfig(layers=1, excitation=EXCITATION_VERSION, upsample=((2, 2), (64, 64)), mel=MelSpec(n_mels=40))
    )
    fits, cramped = (network.state_dict()["upsample.0.weight"] for network in (model, narrow))
    assert not fits[:, -64:, :].sum().isnan()
    assert (fits == 0).any()
    assert not (cramped == 0).any()


@pytest.mark.parametrize("upsample", [((4, 2), (8, 4)), ((2, 2), (4, 4)), ((6, 2), (12, 4)), ((24, 8),)])
def test_margin_is_what_the_conditioning_of_a_stretch_needs(upsample: Any) -> None:
    model = tiny(upsample=upsample)
    margin, hop = model.config.margin, SPEC.hop_length
    features = torch.from_numpy(mel(20))[None].double()
    whole = model.conditioning(features)[0]
    assert whole.shape == (20 * hop, 6)
    part = model.conditioning(features[:, 8 - margin : 11 + margin])[0]
    assert torch.allclose(part[margin * hop : -margin * hop or None], whole[8 * hop : 11 * hop], atol=1e-12)
    if margin:
        less = model.conditioning(features[:, 9 - margin : 10 + margin])[0]
        short = (margin - 1) * hop
        assert not torch.allclose(less[short : -short or None], whole[8 * hop : 11 * hop], atol=1e-12)


def test_features_beyond_the_samples_are_cut_off() -> None:
    model = tiny()
    features = torch.from_numpy(mel(12))[None].double()
    codes = torch.from_numpy(random_samples(model, 2 + 4 * 8))[None]
    wide, wider = model(codes, features[:, 3:9]), model(codes, features[:, 2:10])
    assert wide.shape == (1, 32, 16)
    assert torch.allclose(wide, wider, atol=1e-12)
