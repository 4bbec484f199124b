"""The CUDA engine on an emulated GPU against the network."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from emulated_gpu import AMPERE, HOPPER, SMALL, VOLTA, Emulated, Emulator, cluster
from wavenets import in_parallel, mels, network

from m2m.core.errors import M2MError
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet import vocoder
from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.cuda import engine as cuda_engine
from m2m.vocoders.wavenet.cuda.engine import CudaEngine
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, Plan, Precision, Regime
from m2m.vocoders.wavenet.torch_engine import TorchEngine
from m2m.vocoders.wavenet.vocoder import WaveNetOptions, make_engine


@pytest.mark.parametrize(
    ("sizes", "limits", "regime", "order"),
    [
        (SMALL, cluster(4), "latency", 0),
        (SMALL, cluster(4), "latency", 1),
        (SMALL, cluster(4), "latency", 2),
        (SMALL | {"output": "mol", "mixtures": 3}, cluster(16), "latency", 2),
        (SMALL | {"output": "gaussian", "layers": 1}, VOLTA, "latency", 0),
        (SMALL, VOLTA, "throughput", 1),
        *((SMALL, cluster(4), "specialised", order) for order in range(3)),
        (SMALL | {"output": "mol", "mixtures": 3}, cluster(16), "specialised", 2),
        (SMALL | {"output": "gaussian", "layers": 1}, cluster(2), "specialised", 0),
        (SMALL | {"residual": 48, "skip": 80}, cluster(8), "specialised", 2),  # 6 and 10 channels a block
        (SMALL | {"condition_on_notes": True, "excitation": EXCITATION_VERSION, "layers": 2}, cluster(2), "latency", 1),
    ],
)
def test_float32_is_the_network(
    emulated: Emulator, sizes: dict[str, Any], limits: DeviceLimits, regime: Regime, order: int
) -> None:
    model = network(**sizes)
    given = mels(model, 4, 2)
    engine, plain = CudaEngine(model, "fp32", regime, emulated(limits, order=order)), TorchEngine(model)
    assert engine.plan.blocks == (1 if regime == "throughput" else limits.cluster)
    drawn, wanted = engine.generate(given, 2**40 + 7, 3), plain.generate(given, 2**40 + 7, 3)
    for got, want in zip(drawn, wanted, strict=True):
        assert got.dtype == want.dtype
        if model.config.output == "mulaw":
            np.testing.assert_array_equal(got, want)
            assert len(np.unique(got)) > 4
        else:  # the next samples depend on what was drawn: rounding errors grow
            np.testing.assert_allclose(got, want, atol=2e-3)
    expected = engine.expected(wanted[0], given[0])
    np.testing.assert_allclose(expected, in_parallel(model, wanted[0], given[0]), atol=1e-5)


@pytest.mark.parametrize("regime", ["latency", "specialised", "throughput"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_near(emulated: Emulator, precision: Precision, regime: Regime) -> None:
    """Off by no more than PyTorch in that precision is."""
    model = network(**SMALL)
    mel = mels(model, 6)[0]
    samples = np.random.default_rng(2).integers(0, 24, 36)
    truth = in_parallel(model, samples, mel)
    engine = CudaEngine(model, precision, regime, emulated(cluster(4), threads=64, lanes=4))
    assert engine.plan.tensor == (regime == "throughput")
    error = engine.expected(samples, mel) - truth
    plain = in_parallel(model, samples, mel, torch.float16 if precision == "fp16" else torch.bfloat16) - truth
    assert 0 < error.std() < plain.std()
    log_p, log_q = (torch.from_numpy(x).log_softmax(-1) for x in (truth, truth + error))
    assert float((log_p.exp() * (log_p - log_q)).sum(-1).mean()) < 1e-3


@pytest.mark.parametrize(
    ("precision", "regime"), [("fp32", "latency"), ("fp16", "specialised"), ("fp16", "throughput")]
)
def test_a_stream_is_the_same_alone_among_others_and_in_blocks(
    emulated: Emulator, monkeypatch: pytest.MonkeyPatch, precision: Precision, regime: Regime
) -> None:
    model = network(**SMALL | {"layers": 4})
    engine = CudaEngine(model, precision, regime, emulated(cluster(2), lanes=4))
    given = mels(model, 1, 0, 3, 2)
    together = engine.generate(given, 5, 2)
    assert [len(x) for x in together] == [len(mel) * 6 for mel in given]
    alone = engine.generate([given[2]], 5, 4)[0]
    np.testing.assert_array_equal(alone, together[2])
    blocks = list(engine.stream(given, 5, 2, frames=2))
    monkeypatch.setattr(cuda_engine, "MEMORY", 1)  # a launch a frame
    launched = list(engine.stream(given, 5, 2))
    for i, wave in enumerate(together):
        np.testing.assert_array_equal(np.concatenate([block[i] for block in blocks]), wave)
        np.testing.assert_array_equal(launched[0][i], wave)
    named = engine.generate([given[2], given[0]], 5, [4, 9])
    np.testing.assert_array_equal(named[0], alone)
    assert not np.array_equal(engine.generate([given[2]], 5, 5)[0], alone)
    assert not np.array_equal(engine.generate([given[2]], 6, 4)[0], alone)


@pytest.mark.parametrize(
    ("regime", "limits", "ample"),
    [
        ("latency", DeviceLimits((8, 0), 10 << 10), AMPERE),
        ("specialised", DeviceLimits((9, 0), 5 << 10, 4), cluster(4)),
    ],
)
def test_weights_that_do_not_fit_are_read_where_they_lie(
    emulated: Emulator, regime: Regime, limits: DeviceLimits, ample: DeviceLimits
) -> None:
    """What is in shared memory and what is not makes no difference."""
    model = network(**SMALL | {"output": "mol", "mixtures": 4})
    engine, whole = (CudaEngine(model, "fp16", regime, emulated(there)) for there in (limits, ample))
    assert 0 < engine.plan.resident < engine.plan.total == whole.plan.resident
    for temperature in (0.0, 0.7):
        found, wanted = (e.generate(mels(model, 3), 1, temperature=temperature)[0] for e in (engine, whole))
        np.testing.assert_array_equal(found, wanted)


def test_expected_of_what_was_drawn_is_what_it_was_drawn_from(emulated: Emulator) -> None:
    model = network(**SMALL)
    engine, (mel,) = CudaEngine(model, "bf16", "latency", emulated(cluster(4), lanes=4)), mels(model, 5)
    drawn = engine.generate([mel], 0, temperature=0.0)[0]
    np.testing.assert_array_equal(engine.expected(drawn, mel).argmax(-1), drawn)
    np.testing.assert_array_equal(engine.generate([mel], 2, temperature=1e-30)[0], drawn)


def test_nothing_comes_of_nothing(emulated: Emulator) -> None:
    model = network(**SMALL)
    engine = CudaEngine(model, "fp32", "latency", emulated(cluster(4)))
    assert engine.generate([], 0) == []
    assert engine.generate(mels(model, 0), 0)[0].shape == (0,)
    assert engine.expected(np.zeros(0, np.int16), mels(model, 0)[0]).shape == (0, 24)


def test_a_cluster_too_large_for_the_gpu_is_halved(emulated: Emulator) -> None:
    class Small(Emulated):
        def compile(self, plan: Plan) -> Emulated | None:
            return super().compile(plan) if plan.blocks <= 4 else None

    device = emulated(HOPPER)
    engine = CudaEngine(network(**SMALL), "fp32", "latency", Small(device.libraries, HOPPER))
    assert engine.plan.blocks == 4


def test_wrong_input_is_told(emulated: Emulator) -> None:
    model = network(**SMALL)
    engine = CudaEngine(model, "fp32", "latency", emulated(cluster(4)))
    with pytest.raises(M2MError, match=r"\(2, 79\) came, \(frames, 10\) was wanted"):
        engine.generate([np.zeros((2, 79), np.float32)], 0)
    for temperature in (-1.0, float("nan"), float("inf")):
        with pytest.raises(M2MError, match="temperature"):
            engine.generate(mels(model, 1), 0, temperature=temperature)
    with pytest.raises(M2MError, match="5 samples came with 1 frames"):
        engine.expected(np.zeros(5, np.int16), mels(model, 1)[0])
    with pytest.raises(M2MError, match="codes below 24"):
        engine.expected(np.full(6, 24), mels(model, 1)[0])
    with pytest.raises(M2MError, match="device 'cuda:x' came"):
        CudaEngine(model, device="cuda:x")


def test_the_vocoder_falls_back_or_fails_as_it_is_asked_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cuda_device, "available", lambda index=0: "there is no NVIDIA GPU")
    model = network(**SMALL | {"residual": 16, "skip": 32, "classes": 32})
    with pytest.raises(M2MError, match="CUDA cannot be used: there is no NVIDIA GPU"):
        make_engine(model, WaveNetOptions(engine="cuda"), "cpu")
    assert not isinstance(make_engine(model, WaveNetOptions(), "cpu"), CudaEngine)
    assert capsys.readouterr().err == ""
    assert not isinstance(make_engine(model, WaveNetOptions(), "cuda:0"), CudaEngine)
    assert "WaveNet renders on the CPU: CUDA cannot be used: there is no NVIDIA GPU." in capsys.readouterr().err


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_balanced_draws_what_latency_draws(emulated: Emulator, precision: Precision) -> None:
    """However many streams there are, and so however many blocks share them."""
    model = network(**SMALL | {"layers": 2})
    device = emulated(replace(cluster(4), processors=8), lanes=4)
    latency, balanced = (CudaEngine(model, precision, regime, device) for regime in ("latency", "balanced"))
    assert balanced.side_by_side == 32
    given, shapes = mels(model, *([1] * 17)), []
    wanted = latency.generate(given, 5, 2)
    for count in (2, 3, 8, 9, 17):
        plan = balanced.loaded(count).plan
        shapes.append((plan.blocks, plan.streams))
        for got, want in zip(balanced.generate(given[:count], 5, 2), wanted[:count], strict=True):
            np.testing.assert_array_equal(got, want)
    assert shapes == [(4, 1), (4, 2), (1, 1), (1, 2), (1, 4)]


def test_a_cluster_with_too_little_room_makes_way_for_fewer_blocks(emulated: Emulator) -> None:
    class Crowded(Emulated):
        def compile(self, plan: Plan) -> Emulated | None:
            made = super().compile(plan)
            if made and plan.blocks == 4:
                made.clusters -= 1
            return made

    device = Crowded(emulated().libraries, replace(cluster(4), processors=8))
    engine = CudaEngine(network(**SMALL), "fp32", "balanced", device)
    assert [engine.loaded(count).plan.blocks for count in (1, 2, 3)] == [4, 4, 1]
    assert engine.loaded(3) is engine.loaded(8)


def test_the_segments_of_a_piece_decide(emulated: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    model, device = network(**SMALL), emulated(replace(HOPPER, processors=16))
    engine = CudaEngine(model, "fp16", "segments", device)
    assert engine.about["regime"] == "segments"
    assert engine.for_segments(2) is engine.for_segments(64) is engine
    one = engine.for_segments(1)
    assert isinstance(one, CudaEngine)
    assert one.plan.roles
    older = CudaEngine(model, "fp16", "segments", emulated(replace(AMPERE, processors=16)))
    assert older.for_segments(1) is older
    many = engine.for_segments(65)
    assert many is engine.for_segments(1000)
    assert isinstance(many, CudaEngine)
    assert many.plan.tensor
    monkeypatch.setattr(
        vocoder,
        "CudaEngine",
        lambda model, precision, regime, _, **more: CudaEngine(model, precision, regime, device, **more),
    )
    made = make_engine(model, WaveNetOptions(engine="cuda", regime="segments"))
    assert made.about == engine.about
    auto = CudaEngine(model, "fp16", "auto", device)
    assert auto.for_segments(1000) is auto
