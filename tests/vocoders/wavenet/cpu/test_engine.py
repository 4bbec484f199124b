"""The CPU kernel against the network in float64, for every instruction set that this machine has and each precision."""

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import HANGS
from forks import Forks
from wavenets import in_parallel, mels, network

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.cpu import engine as cpu_engine
from m2m.vocoders.wavenet.cpu.engine import BITS, CpuEngine, available
from m2m.vocoders.wavenet.torch_engine import TorchEngine

built = pytest.mark.skipif(not available(), reason="the kernel was not built: no C++ compiler at installation")
instruction_sets = pytest.mark.parametrize("instructions", available())
precisions = pytest.mark.parametrize("precision", BITS)

SMALL: dict[str, Any] = {"layers": 7, "dilation_cycle": 5, "residual": 32, "skip": 48, "classes": 64}
ODD: dict[str, Any] = {  # nothing divides anything: windows, bands, a hop that blocks of samples do not fill
    "layers": 4,
    "residual": 16,
    "skip": 16,
    "classes": 80,
    "upsample": ((5, 3), (8, 4)),
    "mel": MelSpec(hop_length=12, n_mels=20),
}


@built
@instruction_sets
@pytest.mark.parametrize(
    "sizes", [SMALL, ODD, SMALL | {"output": "gaussian"}, SMALL | {"output": "mol", "mixtures": 5}]
)
def test_float32_is_the_network(sizes: dict[str, Any], instructions: str) -> None:
    model = network(**sizes)
    given = mels(model, 3, 1)
    engine, plain = CpuEngine(model, "fp32", instructions), TorchEngine(model)
    drawn, wanted = engine.generate(given, 2**40 + 7, 3), plain.generate(given, 2**40 + 7, 3)
    for got, want in zip(drawn, wanted, strict=True):
        assert got.dtype == want.dtype
        if model.config.output == "mulaw":
            np.testing.assert_array_equal(got, want)
        else:  # the next samples depend on what was drawn: rounding errors grow
            np.testing.assert_allclose(got, want, atol=2e-3)
    expected = engine.expected(wanted[0], given[0])
    np.testing.assert_allclose(expected, in_parallel(model, wanted[0], given[0]), atol=1e-5)


@built
@instruction_sets
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_low_precision_is_near(precision: str, instructions: str) -> None:
    """bf16: no further off than PyTorch's. int8: 5 % of the logits' spread, which costs less than 0.01 nats."""
    model = network(**SMALL)
    mel = mels(model, 4)[0]
    samples = np.random.default_rng(2).integers(0, 64, 4 * 128)
    truth = in_parallel(model, samples, mel)
    error = CpuEngine(model, precision, instructions).expected(samples, mel) - truth
    plain = in_parallel(model, samples, mel, torch.bfloat16) - truth
    allowed = plain.std() if precision == "bf16" else 0.05 * truth.std()
    assert error.std() < allowed
    log_p, log_q = (torch.from_numpy(x).log_softmax(-1) for x in (truth, truth + error))
    assert float((log_p.exp() * (log_p - log_q)).sum(-1).mean()) < (1e-3 if precision == "bf16" else 0.01)


@built
@instruction_sets
@precisions
def test_a_stream_is_the_same_alone_among_others_and_in_blocks(precision: str, instructions: str) -> None:
    model = network(**SMALL)
    engine, given = CpuEngine(model, precision, instructions), mels(model, 2, 0, 3, 1, 2, 2, 1, 1, 2, 1, 3)
    together = engine.generate(given, 5, threads=2)
    assert [len(x) for x in together] == [len(mel) * 128 for mel in given]
    blocks = list(engine.stream(given, 5, threads=1, frames=1))
    for i, mel in enumerate(given):
        np.testing.assert_array_equal(engine.generate([mel], 5, i)[0], together[i])
        np.testing.assert_array_equal(np.concatenate([block[i] for block in blocks]), together[i])
    assert not np.array_equal(engine.generate(given[:1], 5, 1)[0], together[0])
    assert not np.array_equal(engine.generate(given[:1], 6)[0], together[0])


@built
def test_streams_may_be_named_one_by_one() -> None:
    model = network(**SMALL)
    engine, given = CpuEngine(model, "fp32"), mels(model, 1, 3, 2)
    for mel, drawn in zip(given, engine.generate(given, 5, [7, 7, 0]), strict=True):
        number = 0 if mel is given[-1] else 7
        np.testing.assert_array_equal(engine.generate([mel], 5, number)[0], drawn)


@built
@precisions
def test_expected_of_what_was_drawn_is_what_it_was_drawn_from(precision: str) -> None:
    model = network(**ODD)
    engine, (mel,) = CpuEngine(model, precision), mels(model, 20)
    drawn = engine.generate([mel], 0, temperature=0.0)[0]
    np.testing.assert_array_equal(engine.expected(drawn, mel).argmax(-1), drawn)
    np.testing.assert_array_equal(engine.generate([mel], 1, temperature=0.0)[0], drawn)
    np.testing.assert_array_equal(engine.generate([mel], 2, temperature=1e-30)[0], drawn)


@built
@pytest.mark.parametrize("conditioning", [{"condition_on_notes": True}, {"excitation": EXCITATION_VERSION}])
def test_the_score_stands_beside_the_mel(conditioning: dict[str, Any]) -> None:
    model = network(**SMALL, **conditioning)
    given = mels(model, 2)
    np.testing.assert_array_equal(CpuEngine(model).generate(given, 0)[0], TorchEngine(model).generate(given, 0)[0])


@built
def test_nothing_comes_of_nothing() -> None:
    model = network(**SMALL)
    engine = CpuEngine(model)
    assert engine.generate([], 0) == []
    assert engine.generate(mels(model, 0), 0)[0].shape == (0,)
    assert engine.expected(np.zeros(0, np.int16), mels(model, 0)[0]).shape == (0, 64)


@built
def test_inputs_and_threads_may_be_shared() -> None:
    model = network(**SMALL)
    engine, given = CpuEngine(model), mels(model, 2, 2)
    before = [mel.copy() for mel in given]
    first, second = engine.stream(given, 0, frames=1), engine.stream(given, 0, frames=1)  # two sessions, interleaved
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left, right)
    np.testing.assert_array_equal(given, before)
    reordered: Any = np.asfortranarray(given[0]).astype(np.float64)
    np.testing.assert_array_equal(engine.generate([reordered], 0)[0], engine.generate(given[:1], 0)[0])


SHORT_OF_THREADS = """
import ctypes, resource
import numpy as np
from wavenets import mels, network
from m2m.vocoders.wavenet.cpu.engine import CpuEngine

model = network(layers=2, residual=16, skip=16, classes=16)
engine, given = CpuEngine(model), mels(model, *[3] * 4)
alone = engine.generate(given, 0, threads=1)
libc, attributes, stack = ctypes.CDLL(None), ctypes.create_string_buffer(256), 1 << 30
libc.pthread_attr_init(attributes)
assert libc.pthread_attr_setstacksize(attributes, ctypes.c_size_t(stack)) == 0
assert libc.pthread_setattr_default_np(attributes) == 0
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 3 * stack // 2,) * 2)  # room for the stack of one more thread, not of two
np.testing.assert_array_equal(engine.generate(given, 0, threads=4), alone)
"""


@built
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "pthread_setattr_default_np"), reason="the C library is not glibc")
def test_where_threads_run_short_those_there_are_do_all(forks: Forks, tmp_path: Path) -> None:
    support = str(Path(__file__).parents[3] / "support")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([support, os.environ.get("PYTHONPATH", "")])}
    done = forks.run("-c", SHORT_OF_THREADS, cwd=tmp_path, env=environment, timeout=HANGS)
    assert (done.returncode, done.stderr) == (0, "")


@built
def test_an_interruption_is_heard() -> None:
    model = network(layers=20, residual=64, skip=256)
    engine, given = CpuEngine(model, "fp32", "generic"), mels(model, *[5000] * 4)
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        began = time.process_time()
        with pytest.raises(KeyboardInterrupt):
            engine.generate(given, 0)
        assert time.process_time() - began < 10  # of about 160 s, on each processor
    finally:
        signal.signal(signal.SIGALRM, previous)


# --- what cannot be ---------------------------------------------------------------------------------------------------


@built
def test_what_does_not_fit_is_told() -> None:
    model = network(**SMALL)
    engine = CpuEngine(model)
    with pytest.raises(M2MError, match=r"\(2, 79\) came, \(frames, 80\) was wanted"):
        engine.generate([np.zeros((2, 79), np.float32)], 0)
    for temperature in (-1.0, float("nan"), float("inf")):
        with pytest.raises(M2MError, match="temperature"):
            engine.generate(mels(model, 1), 0, temperature=temperature)
    with pytest.raises(M2MError, match="127 samples came with 1 frames"):
        engine.expected(np.zeros(127, np.int16), mels(model, 1)[0])
    with pytest.raises(M2MError, match="codes below 64"):
        engine.expected(np.full(128, 64), mels(model, 1)[0])


@pytest.mark.parametrize("name", ["residual", "skip", "classes"])
def test_sizes_that_the_kernel_does_not_do_are_told(name: str) -> None:
    with pytest.raises(M2MError, match=f"{name} is 24, the CPU kernel wants a multiple of 16"):
        CpuEngine(network(**SMALL | {name: 24}))


def test_an_unknown_precision_is_told() -> None:
    with pytest.raises(M2MError, match="precision 'fp8' came, the CPU kernel does fp32, bf16, int8"):
        CpuEngine(network(**SMALL), "fp8")


def test_a_kernel_that_was_not_built_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_engine, "library", lambda name: None)
    assert available() == []
    with pytest.raises(M2MError, match="was not built.*C\\+\\+ compiler.*engine=torch"):
        CpuEngine(network(**SMALL))


def test_a_library_that_is_not_there_is_none() -> None:
    assert cpu_engine.library("of-no-processor") is None
