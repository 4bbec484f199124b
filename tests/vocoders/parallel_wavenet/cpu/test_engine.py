"""The student's CPU kernel against the network in float64, for every instruction set that this machine has."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_student import SPEC, mel, student

from m2m.core.errors import M2MError
from m2m.core.mel import Mel, MelSpec
from m2m.core.score import note_array
from m2m.vocoders.parallel_wavenet.cpu import engine as cpu_engine
from m2m.vocoders.parallel_wavenet.cpu.engine import CpuEngine, available
from m2m.vocoders.parallel_wavenet.engine import BlockEngine, white_noise
from m2m.vocoders.parallel_wavenet.network import StudentConfig
from m2m.vocoders.parallel_wavenet.torch_engine import TorchEngine
from m2m.vocoders.parallel_wavenet.vocoder import ParallelWaveNet, ParallelWaveNetOptions, make_engine
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION

built = pytest.mark.skipif(not available(), reason="the kernel was not built: no C++ compiler at installation")
instruction_sets = pytest.mark.parametrize("instructions", available())

SMALL = StudentConfig(flows=(7, 4), dilation_cycle=6, residual=32, skip=16, upsample=((4, 2), (8, 4)), mel=SPEC)
ODD: dict[str, Any] = {"flows": (1, 3, 2), "dilation_cycle": 2, "residual": 16, "skip": 48, "noise": "logistic"}


def render(made: BlockEngine, values: np.ndarray, frames: int, seed: int = 5) -> np.ndarray:
    return np.concatenate([block for (block,) in made.stream([Mel(values, SPEC)], seed, frames)])


def in_parallel(model: Any, values: np.ndarray, seed: int = 5) -> np.ndarray:
    """The network at once, in float64."""
    noise = white_noise(seed, 0, 8 * len(values), model.config.noise)
    drawn = model(torch.from_numpy(noise).double()[None], torch.from_numpy(values).double()[None])
    wave: np.ndarray = drawn.samples[0].numpy()
    return wave


@built
@instruction_sets
@pytest.mark.parametrize("sizes", [{}, ODD])
def test_float32_is_the_network(sizes: dict[str, Any], instructions: str) -> None:
    """Within a millionth of float64's peak, -120 dB; blocks need not be pieces, nor reach as far back."""
    model, values = student(SMALL, **sizes), mel(61)
    truth = in_parallel(model, values)
    assert np.abs(truth).max() > 0.1
    for frames in (1, 3, 16, 61, 70):
        for threads in (1, 3):
            wave = render(CpuEngine(model, threads=threads, instructions=instructions), values, frames)
            assert np.abs(wave - truth).max() < 1e-6 * np.abs(truth).max()


@built
@instruction_sets
def test_blocks_and_threads_change_no_bit(instructions: str) -> None:
    model, values = student(SMALL), mel(50)
    whole = render(CpuEngine(model, threads=1, instructions=instructions), values, 50)
    for frames, threads in ((1, 1), (7, 4), (50, 2)):
        assert np.array_equal(
            render(CpuEngine(model, threads=threads, instructions=instructions), values, frames), whole
        )


@built
def test_a_long_block_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    made, values = CpuEngine(student(SMALL)), mel(50)
    whole = render(made, values, 50)
    monkeypatch.setattr(cpu_engine, "CALL", 100)
    assert np.array_equal(render(made, values, 50), whole)


@built
def test_streams_of_one_engine_are_apart() -> None:
    made, mels = CpuEngine(student(SMALL)), [Mel(mel(frames, frames), SPEC) for frames in (9, 4, 6)]
    together = [np.concatenate(blocks) for blocks in zip(*made.stream(mels, 5, 3), strict=True)]
    first, second = made.stream(mels[:1], 5, 3), made.stream(mels[:1], 5, 3)  # two at once, block by block
    for (left,), (right,) in zip(first, second, strict=True):
        assert np.array_equal(left, right)
    for alone, wave in zip(mels, together, strict=True):
        assert np.array_equal(render(made, alone.values, 3), wave)


@built
def test_the_excitation_is_read() -> None:
    spec = MelSpec(n_mels=80)
    config = StudentConfig(flows=(3,), residual=16, skip=16, excitation=EXCITATION_VERSION, mel=spec)
    values = np.random.default_rng(0).uniform(-11.5, 0, (12, 80)).astype(np.float32)
    made = Mel(values, spec, note_array([(0.0, 0.05, 60, 127)]))
    plain, kernel = (
        np.concatenate([block for (block,) in engine.stream([made], 1, 4)])
        for engine in (TorchEngine(student(config).float()), CpuEngine(student(config).float()))
    )
    assert np.abs(plain - kernel).max() < 1e-5 * np.abs(plain).max()


@built
@instruction_sets
def test_int8_is_near(instructions: str) -> None:
    """Its error is less than a hundredth of what the flows make of these large random weights."""
    model, values = student(SMALL), mel(60)
    truth = in_parallel(model, values)
    error = render(CpuEngine(model, "int8", instructions=instructions), values, 8) - truth
    assert 0 < error.std() < 0.01 * truth.std()


@built
@instruction_sets
def test_int8_overflows_nowhere(instructions: str) -> None:
    """Where all weights are as large as they can be, and agree, sums are the largest that there are."""
    model, values = student(SMALL), mel(20)
    with torch.no_grad():
        for flow in model.stack:
            for layer in flow.stack:
                for weight in (layer.prev.weight, layer.cur.weight, layer.cond.weight, layer.skip.weight):
                    weight.copy_(weight[:, :1].sign() * 0.02)
    truth = in_parallel(model, values)
    error = render(CpuEngine(model, "int8", instructions=instructions), values, 8) - truth
    assert error.std() < 0.005 * truth.std()


@built
def test_int8_is_for_what_an_excitation_lacks() -> None:
    by_itself = ParallelWaveNetOptions()
    alone = StudentConfig(flows=(2,), residual=16, skip=16)
    beside = StudentConfig(flows=(2,), residual=16, skip=16, excitation=EXCITATION_VERSION)
    chosen = [make_engine(student(config), by_itself).about["precision"] for config in (alone, beside)]
    assert chosen == ["fp32", "int8"]
    assert make_engine(student(beside), ParallelWaveNetOptions(precision="fp32")).about["precision"] == "fp32"


def test_what_the_kernel_does_not_do_is_told() -> None:
    for name in ("residual", "skip"):
        with pytest.raises(M2MError, match=f"{name} is 24, the CPU kernel wants a multiple of 16"):
            CpuEngine(student(SMALL, **{name: 24}))
    with pytest.raises(M2MError, match="precision 'bf16' came, the CPU kernel does fp32, int8"):
        CpuEngine(student(SMALL), "bf16")
    assert cpu_engine.library("of-no-processor") is None


def test_where_the_kernel_cannot_run_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cpu_engine, "library", lambda name: None)
    made = ParallelWaveNet()
    said = [line for line in capsys.readouterr().err.splitlines() if "PyTorch" in line]
    assert len(said) == 1
    assert "was not built" in said[0]
    assert isinstance(made.engine, TorchEngine)
    with pytest.raises(M2MError, match="was not built.*C\\+\\+ compiler.*engine=torch"):
        ParallelWaveNet(ParallelWaveNetOptions(engine="cpu"))
