"""The student's noise, and its engine against the network."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_student import SPEC, mel, student

from m2m.core.errors import M2MError
from m2m.core.mel import Mel
from m2m.core.plugins import doctor
from m2m.core.system.processor import has_bf16
from m2m.vocoders.parallel_wavenet import engine as engine_module
from m2m.vocoders.parallel_wavenet import torch_engine
from m2m.vocoders.parallel_wavenet.cpu.engine import available
from m2m.vocoders.parallel_wavenet.engine import BlockEngine, white_noise
from m2m.vocoders.parallel_wavenet.network import StudentConfig
from m2m.vocoders.parallel_wavenet.torch_engine import TorchEngine
from m2m.vocoders.parallel_wavenet.vocoder import ParallelWaveNet, ParallelWaveNetOptions

KINDS = st.sampled_from(["gaussian", "logistic"])


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**40), st.integers(1, 50), st.integers(0, 49), KINDS)
def test_noise_is_a_function_of_seed_and_sample(seed: int, first: int, count: int, skipped: int, kind: str) -> None:
    whole = white_noise(seed, first, count, kind)
    skipped = min(skipped, count - 1)
    assert whole.shape == (count,)
    assert whole.dtype == np.float32
    assert np.array_equal(white_noise(seed, first + skipped, count - skipped, kind), whole[skipped:])


@pytest.mark.parametrize(("kind", "std", "kurtosis"), [("gaussian", 1.0, 3.0), ("logistic", np.pi / np.sqrt(3), 4.2)])
def test_noise_is_white_and_of_its_kind(kind: str, std: float, kurtosis: float) -> None:
    noise = white_noise(3, 0, 200_000, kind).astype(np.float64)
    assert np.isfinite(noise).all()
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(std, rel=0.02)
    assert (noise**4).mean() / noise.var() ** 2 == pytest.approx(kurtosis, rel=0.05)
    for lag in (1, 2, 3, 4):
        assert abs((noise[lag:] * noise[:-lag]).mean()) / noise.var() < 0.01
    assert not np.array_equal(noise[:100], white_noise(4, 0, 100, kind))


def test_the_rarest_words_make_finite_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in (0, 2**32 - 1):
        monkeypatch.setattr(
            engine_module, "philox", lambda counter, key, word=word: np.full(counter.shape, word, np.uint32)
        )
        for kind in ("gaussian", "logistic"):
            assert np.isfinite(white_noise(0, 0, 8, kind)).all()


def render(made: BlockEngine, values: np.ndarray, frames: int, seed: int = 5) -> np.ndarray:
    return np.concatenate([block for (block,) in made.stream([Mel(values, SPEC)], seed, frames)])


@pytest.mark.parametrize("noise", ["gaussian", "logistic"])
@pytest.mark.parametrize("upsample", [((4, 2), (8, 4)), ((16, 2), (4, 4)), ((24, 8),)])
def test_blocks_are_the_network_at_once(noise: str, upsample: Any) -> None:
    model = student(noise=noise, upsample=upsample)
    values = mel(11)
    drawn = model(
        torch.from_numpy(white_noise(5, 0, 88, noise)).double()[None], torch.from_numpy(values).double()[None]
    )
    for frames in (1, 2, 4, 11, 20):
        wave = render(TorchEngine(model), values, frames)
        assert wave.shape == (88,)
        assert np.abs(wave - drawn.samples[0].numpy()).max() < 1e-6


def test_streamed_equals_whole_in_float32() -> None:
    made = TorchEngine(
        student(StudentConfig(flows=(10, 10), residual=16, skip=16, mel=SPEC, upsample=((4, 2), (8, 4)))).float()
    )
    values = mel(400)
    whole = render(made, values, 400)
    assert np.abs(render(made, values, 31) - whole).max() < 1e-5
    assert np.abs(whole).max() > 0.01


@pytest.mark.skipif(not has_bf16("cpu"), reason="this processor has no bfloat16 arithmetic")
def test_bfloat16_is_near() -> None:
    model = student().float()
    exact, near = (render(TorchEngine(model, precision=p), mel(40), 8) for p in ("fp32", "bf16"))  # type: ignore[arg-type]
    assert 0 < np.abs(exact - near).std() < 0.02 * exact.std()


def test_the_doctor_hears_of_its_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = doctor.load({"kind": "vocoder", "name": "parallel-wavenet"})
    assert told["engine"] == (f"the C++ kernel for {available()[0]}" if available() else "PyTorch on the CPU")
    assert told["slower"] == "PyTorch sees no GPU"


def test_bfloat16_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_engine, "has_bf16", lambda device: False)
    made: list[Callable[[], object]] = [
        lambda: TorchEngine(student(), precision="bf16"),
        lambda: ParallelWaveNet(ParallelWaveNetOptions(precision="bf16")),
    ]
    for make in made:
        with pytest.raises(M2MError, match=r"no bfloat16 arithmetic.*use precision=fp32\.$"):
            make()


def test_an_unknown_precision_is_told() -> None:
    with pytest.raises(M2MError, match="precision 'int8' came, PyTorch does fp32, bf16"):
        TorchEngine(student(), precision="int8")  # type: ignore[arg-type]
