"""WaveNet: the network against its definition written out in NumPy, the plain engine against the network, the vocoder."""

from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from m2m.core import model_folders
from m2m.core.audio import mu_law_decode
from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import Mel, MelSpec
from m2m.core.score import note_array
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.shared.excitation import mel_matched_excitation
from m2m.vocoders.shared.philox import uniforms
from m2m.vocoders.wavenet import vocoder
from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, apply_temperature, load_wavenet
from m2m.vocoders.wavenet.sampling import draw
from m2m.vocoders.wavenet.torch_engine import TorchEngine
from m2m.vocoders.wavenet.vocoder import CudaWaveNetVocoder, WaveNetOptions, WaveNetVocoder

SPEC = MelSpec(n_mels=6, hop_length=8)
TINY = WaveNetConfig(
    layers=5, dilation_cycle=3, residual=4, skip=8, classes=16, mixtures=3, upsample=((4, 2), (8, 4)), mel=SPEC
)


@pytest.fixture(autouse=True)
def _chance() -> None:
    torch.manual_seed(0)


def tiny(**changes: Any) -> WaveNet:
    model = WaveNet(WaveNetConfig.model_validate(TINY.model_dump() | changes)).double()
    return model.eval().requires_grad_(False)


def mel(frames: int, features: int = 6, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, features)) * -11.5).astype(np.float32)


def random_samples(model: WaveNet, count: int) -> np.ndarray:
    draw_ = np.random.default_rng(3)
    mulaw = model.config.output == "mulaw"
    return draw_.integers(0, model.config.classes, count) if mulaw else draw_.uniform(-1, 1, count)


def teacher_forced(model: WaveNet, samples: np.ndarray, features: np.ndarray) -> np.ndarray:
    given = torch.cat([model.silence(1, 2), torch.from_numpy(samples)[None]], dim=1)
    return model(given, torch.from_numpy(features)[None].double())[0].numpy()


def by_hand(model: WaveNet, samples: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The definition, sample by sample in float64: what nv-wavenet computes, and nothing of PyTorch's."""
    c, w = model.config, {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    u = features.astype(np.float64)
    u[:, : c.mel.n_mels] = 1 - 2 * u[:, : c.mel.n_mels] / c.mel.silence
    for i, (window, stride) in enumerate(c.upsample):
        kernel, crop = w[f"upsample.{i}.weight"], (window - stride) // 2
        out = np.tile(w[f"upsample.{i}.bias"], ((len(u) - 1) * stride + window, 1))
        for frame, values in enumerate(u):
            for k in range(window):
                out[frame * stride + k] += values @ kernel[:, :, k]
        u = out[crop : len(out) - crop]
    silence = c.classes // 2 if c.output == "mulaw" else 0.0
    y = [silence, silence, *samples]
    kept: list[list[np.ndarray]] = [[] for _ in range(c.layers)]  # the inputs of each layer
    found = []
    for t in range(len(samples)):
        before, current = y[t], y[t + 1]
        if c.output == "mulaw":
            x = w["embed_prev.weight"][before] + w["embed_cur.weight"][current]
        else:
            x = w["input_prev.weight"][:, 0] * before + w["input_cur.weight"][:, 0] * current + w["input_cur.bias"]
        skip = np.zeros(c.skip)
        for layer in range(c.layers):
            name, back = f"layers.{layer}", t - 2 ** (layer % c.dilation_cycle)
            past = kept[layer][back] if back >= 0 else np.zeros(c.residual)
            kept[layer].append(x)
            h = w[f"{name}.prev.weight"] @ past + w[f"{name}.cur.weight"] @ x + w[f"{name}.bias"]
            h = h + w[f"{name}.cond.weight"] @ u[t]
            z = np.tanh(h[: c.residual]) / (1 + np.exp(-h[c.residual :]))
            skip += w[f"{name}.skip.weight"] @ z + w[f"{name}.skip.bias"]
            if layer < c.layers - 1:
                x = x + w[f"{name}.res.weight"] @ z + w[f"{name}.res.bias"]
        hidden = np.maximum(w["out.weight"] @ np.maximum(skip, 0) + w["out.bias"], 0)
        found.append(w["end.weight"] @ hidden + w["end.bias"])
    return np.stack(found)


# --- the network ------------------------------------------------------------------------------------------------------


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


def test_the_score_stands_beside_the_mel() -> None:
    model = tiny(condition_on_notes=True)
    features = np.concatenate([mel(5), np.random.default_rng(1).random((5, 176), np.float32)], axis=1)
    samples = random_samples(model, 40)
    wanted = by_hand(model, samples, features)
    assert np.abs(teacher_forced(model, samples, features) - wanted).max() < 1e-12
    assert np.abs(TorchEngine(model).expected(samples, features) - wanted).max() < 1e-12


def test_the_comb_goes_through_the_convolutions_with_the_mel() -> None:
    model = tiny(excitation=EXCITATION_VERSION)
    features = np.concatenate([mel(5), np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)], axis=1)
    samples = random_samples(model, 40)
    wanted = by_hand(model, samples, features)
    assert np.abs(teacher_forced(model, samples, features) - wanted).max() < 1e-12
    assert np.abs(TorchEngine(model).expected(samples, features) - wanted).max() < 1e-12


@pytest.mark.parametrize("upsample", [((16, 8), (32, 16)), ((128, 128),), ((4, 2), (12, 4), (18, 16))])
def test_an_untrained_network_hears_the_comb_as_it_is(upsample: tuple[tuple[int, int], ...]) -> None:
    model = WaveNet(WaveNetConfig(layers=1, excitation=EXCITATION_VERSION, upsample=upsample))
    notes = note_array([(0.01, 0.05, 60, 127), (0.03, 0.2, 45, 80)])
    values = np.full((12 + 40, 80), -6.0, np.float32)
    features = model.features_from(values, notes, 0)
    u = model.conditioning(torch.from_numpy(features)[None])[0].detach()
    wave = torch.from_numpy(mel_matched_excitation(notes, values, 0, MelSpec()))
    assert wave.abs().max() > 0.02
    level = model.frame_gain(torch.from_numpy(features)).repeat_interleave(128)
    assert (u[:, -1] * level - wave).abs().max() < 1e-6
    heard = torch.from_numpy(features)
    assert (model.to_sound(torch.zeros(12 * 128), heard) - wave).abs().max() < 1e-6
    assert model.from_sound(wave, heard).abs().max() < 1e-5
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
def test_a_comb_that_this_m2m_does_not_make(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        WaveNetConfig(**config)


def test_no_frame_s_comb_is_far_louder_than_the_frame() -> None:
    """An onset after silence: the window that sees it early is silent by the mel."""
    values = np.full((12 + 40, 80), MelSpec().silence, np.float32)
    values[26:] = -4.0
    model = WaveNet(WaveNetConfig(layers=1, excitation=EXCITATION_VERSION))
    features = model.features_from(values, note_array([(0.05, 0.2, 45, 127)]), 0)
    assert np.abs(features[:, 80:]).max() <= 2.0
    sound = model.to_sound(torch.zeros(12 * 128), torch.from_numpy(features))
    assert sound[: 5 * 128].abs().max() < 0.001 < sound[7 * 128 :].abs().max()


def test_a_comb_that_does_not_fit_through_begins_at_random() -> None:
    model = WaveNet(
        WaveNetConfig(layers=1, excitation=EXCITATION_VERSION, upsample=((2, 2), (64, 64)))
    )  # 64 samples a step of 80 bands fit
    narrow = WaveNet(
        WaveNetConfig(layers=1, excitation=EXCITATION_VERSION, upsample=((2, 2), (64, 64)), mel=MelSpec(n_mels=40))
    )
    assert not model.upsample[0].weight[:, -64:, :].sum().isnan()
    assert (model.upsample[0].weight == 0).any()
    assert not (narrow.upsample[0].weight == 0).any()


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


# --- the plain engine -------------------------------------------------------------------------------------------------


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


# --- the vocoder ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = WaveNet(TINY)
    save_model(tmp_path / "model", "wavenet", TINY, model, "# A card\n")
    return tmp_path / "model"


def make(folder: Path, **options: Any) -> WaveNetVocoder:
    return WaveNetVocoder(WaveNetOptions(model=str(folder), engine="torch", **options))


def test_it_speaks_the_mel_it_was_trained_on(folder: Path) -> None:
    made = make(folder)
    assert made.mel_spec == SPEC
    heard = Mel(mel(70), SPEC)
    wave = made.synthesize(heard, seed=5)
    assert wave.shape == (heard.samples,)
    assert wave.dtype == np.float32
    assert np.isfinite(wave).all()
    assert set(np.unique(wave)) <= set(mu_law_decode(np.arange(16), 16))
    assert len(blocks := list(made.stream(heard, 5))) == 2
    assert np.array_equal(np.concatenate(blocks), wave)
    assert not np.array_equal(made.synthesize(heard, seed=6), wave)
    with pytest.raises(M2MError, match="floor is 1e-06, wanted 1e-05"):
        made.synthesize(Mel(mel(3), SPEC.model_copy(update={"floor": 1e-6})))


def test_a_batch_is_its_mels_one_by_one(folder: Path) -> None:
    made = make(folder, streams=2)
    mels = [Mel(mel(frames, seed=frames), SPEC) for frames in (4, 1, 3)]
    for mel_, wave in zip(mels, made.batch(mels, seed=3), strict=True):
        assert np.array_equal(wave, made.synthesize(mel_, seed=3))
    assert made.batch([], seed=3) == []


def test_the_model_says_at_which_temperature_it_is_best(folder: Path, tmp_path: Path) -> None:
    config = WaveNetConfig.model_validate(TINY.model_dump() | {"temperature": 0.5})
    save_model(tmp_path / "cool", "wavenet", config, load_wavenet(folder)[0], "")
    heard = Mel(mel(4), SPEC)
    cool, warm = make(tmp_path / "cool").synthesize(heard, 1), make(folder).synthesize(heard, 1)
    assert np.array_equal(cool, make(folder, temperature=0.5).synthesize(heard, 1))
    assert np.array_equal(warm, make(tmp_path / "cool", temperature=1).synthesize(heard, 1))
    assert not np.array_equal(cool, warm)


def test_temperature_zero_draws_nothing(folder: Path) -> None:
    made = make(folder, temperature=0)
    heard = Mel(mel(4), SPEC)
    assert np.array_equal(made.synthesize(heard, 1), made.synthesize(heard, 2))


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


@pytest.mark.parametrize("hears", [{"condition_on_notes": True}, {"excitation": EXCITATION_VERSION}])
def test_notes_are_heard_and_may_be_missing(tmp_path: Path, hears: dict[str, object]) -> None:
    config = WaveNetConfig.model_validate(TINY.model_dump() | hears | {"output": "gaussian"})
    save_model(tmp_path / "model", "wavenet", config, WaveNet(config), "")
    made = make(tmp_path / "model")
    heard = Mel(mel(8), SPEC, note_array([(0.0, 0.002, 60, 127)]))
    wave = made.synthesize(heard)
    assert wave.shape == made.synthesize(heard.without_notes()).shape
    assert not np.array_equal(wave, made.synthesize(heard.without_notes()))


def test_where_the_kernel_cannot_run_one_line_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise M2MError("the kernel was not built.")

    monkeypatch.setattr(vocoder, "CpuEngine", refuse)
    made = WaveNetVocoder(WaveNetOptions(model=str(folder)))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "the kernel was not built" in said[0]
    assert isinstance(made.engine, TorchEngine)
    with pytest.raises(M2MError, match="not built"):
        WaveNetVocoder(WaveNetOptions(model=str(folder), engine="cpu"))


def test_without_a_model_it_says_how_to_get_one(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(M2MError, match="there is no model"):
        make(tmp_path / "none")
    with pytest.raises(M2MError, match="not a wavenet model"):
        make(Path("mel2mel-film"))
    assert load_wavenet(folder)[0].config == TINY
    monkeypatch.setattr(model_folders, "shipped", lambda: tmp_path / "nothing")
    with pytest.raises(M2MError, match=r"m2m train wavenet.*--vocoder-opt model=FOLDER"):
        WaveNetVocoder()


def test_the_weights_that_ship_say_what_they_are() -> None:
    made = WaveNetVocoder(WaveNetOptions(engine="torch"))
    beside = {"excitation": made.model.config.excitation, "temperature": made.model.config.temperature}
    assert made.model.config == WaveNetConfig(**beside)  # the reference's sizes
    assert "griffin-lim" in made.notice


def test_cuda_by_name_says_where_there_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda_device, "available", lambda index=0: "there is no NVIDIA GPU")
    options = WaveNetOptions(model=str(folder))
    waves = [made(options).synthesize(Mel(mel(4), SPEC), 1) for made in (WaveNetVocoder, CudaWaveNetVocoder)]
    assert np.array_equal(*waves)
    said = [line for line in capsys.readouterr().err.splitlines() if "CUDA" in line]
    assert said == ["WaveNet renders on the CPU: CUDA cannot be used: there is no NVIDIA GPU."]
    with pytest.raises(M2MError, match="there is no NVIDIA GPU"):
        CudaWaveNetVocoder(WaveNetOptions(model=str(folder), engine="cuda"))
    assert "CUDA: there is no NVIDIA GPU" in WaveNetVocoder.best_engine().slower
