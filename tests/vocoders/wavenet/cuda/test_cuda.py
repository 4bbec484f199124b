"""The CUDA engine without a GPU: its own kernel source on the CPU against the network, and compiled for three architectures.

Between the engine and the driver stands `Device`; here it is a library that g++ makes of the kernel and of cuda/emulator.h, which
says how threads, barriers, clusters and tensor cores are emulated. Where there is a GPU, the last tests run on it.
"""

import ctypes
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from wavenets import in_parallel, mels, network

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.cuda import engine as cuda_engine
from m2m.vocoders.wavenet.cuda.device import PLAIN, SOURCES, available, compiled, describe
from m2m.vocoders.wavenet.cuda.engine import CudaEngine
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, make_plan, pack, to_numbers
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.torch_engine import TorchEngine
from m2m.vocoders.wavenet.vocoder import WaveNetOptions, make_engine

HERE = Path(__file__).parent
KERNELS = ("wavenet", "upsample", "upsample_last")
SMALL = {  # two rounds of dilations, hops that nothing divides, bands and classes that are no multiple of 16
    "layers": 5,
    "dilation_cycle": 3,
    "residual": 16,
    "skip": 32,
    "classes": 24,
    "upsample": ((5, 3), (4, 2)),
    "mel": MelSpec(hop_length=6, n_mels=10),
}
HOPPER, AMPERE, VOLTA = (
    DeviceLimits((9, 0), 227 << 10, 16),
    DeviceLimits((8, 0), 163 << 10),
    DeviceLimits((7, 0), 96 << 10),
)


class Emulated:
    """A GPU on the CPU. order: in which threads get their turns, 0 forward, 1 backward, else shuffled."""

    def __init__(self, libraries, limits, order=0, threads=32, lanes=2, sources=SOURCES):
        self.libraries, self.limits, self.order = libraries, limits, order
        self.threads, self.lanes, self.sources = threads, lanes, sources
        self.launches = []

    def memory(self, size):
        return Buffer(np.zeros(size + 128, np.uint8))

    def write(self, memory, array):
        ctypes.memmove(memory.handle, array.ctypes.data, array.nbytes)

    def read(self, memory, array):
        ctypes.memmove(array.ctypes.data, memory.handle, array.nbytes)

    def compile(self, plan):
        constants = plan.constants | {"THREADS": self.threads, "LANES": self.lanes}
        flags = [
            "-std=c++17",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
            f"-I{HERE}",
            f"-I{self.sources}",
        ]
        flags += [f"-D{name}={value}" for name, value in constants.items()]
        target = self.libraries / f"{abs(hash((*flags, self.sources)))}.so"
        if not target.exists():
            subprocess.run(["g++", *flags, HERE / "emulate.cpp", "-o", target], check=True)
        self.library, self.plan = ctypes.CDLL(str(target)), plan
        return self

    def launch(self, name, grid, *arguments):
        self.launches.append((name, grid))
        values = [np.array(argument) for argument in arguments]
        pointers = (ctypes.c_void_p * len(values))(*(value.ctypes.data for value in values))
        plain = name != "wavenet"
        threads, shared = (PLAIN, 0) if plain else (self.threads, self.plan.shared)
        assert self.library.emulate(KERNELS.index(name), grid, threads, shared, self.order, pointers), "deadlock"


class Buffer:
    def __init__(self, array):
        self.array = array
        self.handle = -(-array.ctypes.data // 128) * 128


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    if not shutil.which("g++"):
        pytest.skip("no g++ to compile the emulation with")
    folder = tmp_path_factory.mktemp("emulated")
    return lambda limits=VOLTA, **options: Emulated(folder, limits, **options)


def cluster(blocks):
    return replace(HOPPER, cluster=blocks)


# --- the kernel against the network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "limits", "regime", "order"),
    [
        (SMALL, cluster(4), "latency", 0),
        (SMALL, cluster(4), "latency", 1),
        (SMALL, cluster(4), "latency", 2),
        (SMALL | {"output": "mol", "mixtures": 3}, cluster(16), "latency", 2),
        (SMALL | {"output": "gaussian", "layers": 1}, VOLTA, "latency", 0),
        (SMALL, VOLTA, "throughput", 1),
        (SMALL | {"condition_on_notes": True, "excitation": EXCITATION_VERSION, "layers": 2}, cluster(2), "latency", 1),
    ],
)
def test_float32_is_the_network(emulated, sizes, limits, regime, order):
    model = network(**sizes)
    given = mels(model, 4, 2)
    engine, plain = CudaEngine(model, "fp32", regime, emulated(limits, order=order)), TorchEngine(model)
    assert engine.plan.blocks == (limits.cluster if regime == "latency" else 1)
    drawn, wanted = engine.generate(given, 2**40 + 7, 3), plain.generate(given, 2**40 + 7, 3)
    for got, want in zip(drawn, wanted, strict=True):
        assert got.dtype == want.dtype
        if model.config.output == "mulaw":
            np.testing.assert_array_equal(got, want)
            assert len(np.unique(got)) > 4
        else:  # what was drawn is heard by the next samples: differences of a rounding grow
            np.testing.assert_allclose(got, want, atol=2e-3)
    expected = engine.expected(wanted[0], given[0])
    np.testing.assert_allclose(expected, in_parallel(model, wanted[0], given[0]), atol=1e-5)


@pytest.mark.parametrize("regime", ["latency", "throughput"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_near(emulated, precision, regime):
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


@pytest.mark.parametrize(("precision", "regime"), [("fp32", "latency"), ("fp16", "throughput")])
def test_a_stream_is_the_same_alone_among_others_and_in_blocks(emulated, monkeypatch, precision, regime):
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


def test_weights_that_do_not_fit_are_read_where_they_lie(emulated):
    """What is in shared memory and what is not makes no difference."""
    model = network(**SMALL | {"output": "mol", "mixtures": 4})
    engine = CudaEngine(model, "fp16", "latency", emulated(DeviceLimits((8, 0), 10 << 10)))
    whole = CudaEngine(model, "fp16", "latency", emulated(AMPERE))
    assert 0 < engine.plan.resident < engine.plan.total == whole.plan.resident
    for temperature in (0.0, 0.7):
        np.testing.assert_array_equal(
            *(e.generate(mels(model, 3), 1, temperature=temperature)[0] for e in (engine, whole))
        )


def test_expected_of_what_was_drawn_is_what_it_was_drawn_from(emulated):
    model = network(**SMALL)
    engine, (mel,) = CudaEngine(model, "bf16", "latency", emulated(cluster(4), lanes=4)), mels(model, 5)
    drawn = engine.generate([mel], 0, temperature=0.0)[0]
    np.testing.assert_array_equal(engine.expected(drawn, mel).argmax(-1), drawn)
    np.testing.assert_array_equal(engine.generate([mel], 2, temperature=1e-30)[0], drawn)


def test_nothing_comes_of_nothing(emulated):
    model = network(**SMALL)
    engine = CudaEngine(model, "fp32", "latency", emulated(cluster(4)))
    assert engine.generate([], 0) == []
    assert engine.generate(mels(model, 0), 0)[0].shape == (0,)
    assert engine.expected(np.zeros(0, np.int16), mels(model, 0)[0]).shape == (0, 24)


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("sync();  // the fetched values are in shared memory", ""),
        ("sync();\n        b.embed();", "b.embed();"),
        ("arrive(), wait();\n        b.hidden_layer();", "b.hidden_layer();"),
    ],
)
def test_the_emulation_sees_a_race(emulated, tmp_path, text, instead):
    """Else the tests above could not fail for one."""
    for name in ("sampling.h", "upsample.h"):
        shutil.copy(SOURCES / name, tmp_path)
    source = (SOURCES / "wavenet.cu").read_text()
    assert source.count(text) == 1
    (tmp_path / "wavenet.cu").write_text(source.replace(text, instead))
    model = network(**SMALL)
    (mel,) = mels(model, 2)
    wanted = TorchEngine(model).generate([mel], 0)[0]
    devices = [emulated(cluster(4), order=order, sources=tmp_path) for order in range(3)]
    found = [CudaEngine(model, "fp32", "latency", device).generate([mel], 0)[0] for device in devices]
    assert not all(np.array_equal(wave, wanted) for wave in found)


# --- compiled for GPUs that are not here ------------------------------------------------------------------------------

try:
    cuda_device.architectures()
    nvrtc_is_there = True
except (ImportError, M2MError):
    nvrtc_is_there = False
compiler = pytest.mark.skipif(not nvrtc_is_there, reason="NVRTC is not installed: pip install 'm2m[cuda]'")


@compiler
@pytest.mark.parametrize(
    ("limits", "precision", "regime"),
    [
        (VOLTA, "fp16", "throughput"),
        (VOLTA, "fp32", "latency"),
        (AMPERE, "bf16", "throughput"),
        (HOPPER, "fp16", "latency"),
        (HOPPER, "fp16", "throughput"),
    ],
)
def test_the_reference_network_compiles(limits, precision, regime, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = make_plan(WaveNetConfig(), precision, regime, limits)
    code = bytes(compiled(plan.constants, limits.capability).code)
    assert code.startswith(b"\x7fELF")
    for name in KERNELS:
        assert b".text." + name.encode() in code


@compiler
def test_kernels_are_compiled_once(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    constants = make_plan(WaveNetConfig(**SMALL), "fp32", "latency", VOLTA).constants
    first = bytes(compiled(constants, (7, 0)).code)
    (entry,) = (file for file in (tmp_path / "m2m" / "cuda").rglob("*") if file.is_file())
    entry.write_bytes(b"what was kept")
    assert bytes(compiled(constants, (7, 0)).code) == b"what was kept"
    monkeypatch.setattr(cuda_device, "source", lambda original=cuda_device.source: original() + "// another\n")
    assert bytes(compiled(constants, (7, 0)).code)[:4] == first[:4] == b"\x7fELF"
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")  # cannot be written to
    assert bytes(compiled(constants, (7, 0)).code)[:4] == b"\x7fELF"


@compiler
def test_a_gpu_that_nvrtc_has_left_behind_is_told(monkeypatch):
    monkeypatch.setattr(cuda_device, "architectures", lambda: [75, 80, 90])
    with pytest.raises(M2MError, match="compute capability 7.0, the installed NVRTC compiles for 7.5 and later"):
        compiled({}, (7, 0))


# --- the plan ---------------------------------------------------------------------------------------------------------


def test_the_reference_network_fits():
    """Shared memory is filled but never more than there is; on Hopper all that a sample waits for is on the chip."""
    config = WaveNetConfig()
    for limits in (VOLTA, AMPERE, HOPPER):
        for precision in ("fp32", "fp16", "bf16"):
            for regime in ("latency", "throughput"):
                if precision == "bf16" and limits is VOLTA:
                    continue
                plan = make_plan(config, precision, regime, limits)
                assert limits.shared - 2048 < plan.shared <= limits.shared
    hopper = make_plan(config, "fp16", "latency", HOPPER)
    assert hopper.blocks == 16
    assert hopper.total - hopper.resident < hopper.table_rows * config.residual  # but a part of one embedding
    assert [make_plan(config, "fp16", "throughput", limits).streams for limits in (VOLTA, AMPERE, HOPPER)] == [
        16,
        16,
        32,
    ]


def test_the_plan_and_the_weights_agree():
    for sizes in ({}, {"output": "mol"}, SMALL):
        model = WaveNet(WaveNetConfig(**sizes))
        for limits, regime in ((cluster(8), "latency"), (AMPERE, "throughput")):
            plan = make_plan(model.config, "fp16", regime, limits)
            assert pack(model, plan)[0].shape == (plan.blocks, plan.total)


def test_bfloat16_is_rounded_as_pytorch_rounds():
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    rounded = to_numbers(x, "bf16").astype(np.uint32) << 16
    np.testing.assert_array_equal(rounded.view(np.float32), torch.from_numpy(x).bfloat16().float().numpy())


@pytest.mark.parametrize(
    ("sizes", "precision", "limits", "words"),
    [
        ({}, "int8", HOPPER, "precision 'int8' came, the CUDA engine has fp32, fp16, bf16"),
        ({}, "fp32", DeviceLimits((6, 1), 48 << 10), "compute capability 6.1.*wants compute capability 7.0"),
        ({}, "bf16", VOLTA, "bf16 wants compute capability 8.0 or more"),
        ({"skip": 16384}, "fp16", VOLTA, "16384 skip channels.* needs .* KiB of shared memory at fp16, the GPU has"),
    ],
)
def test_what_does_not_fit_is_told(sizes, precision, limits, words):
    for regime in ("latency", "throughput"):
        with pytest.raises(M2MError, match=words):
            make_plan(WaveNetConfig(**sizes), precision, regime, limits)


def test_a_cluster_too_large_for_the_gpu_is_halved(emulated):
    class Small(Emulated):
        def compile(self, plan):
            return super().compile(plan) if plan.blocks <= 4 else None

    device = emulated(HOPPER)
    engine = CudaEngine(network(**SMALL), "fp32", "latency", Small(device.libraries, HOPPER))
    assert engine.plan.blocks == 4


# --- what cannot be ---------------------------------------------------------------------------------------------------


def test_wrong_input_is_told(emulated):
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


def test_missing_packages_are_told(monkeypatch):
    monkeypatch.setattr(cuda_device, "_installed", lambda name: name != "cuda-core")
    assert available() == describe() == "cuda-core not installed, pip install 'm2m[cuda]'"
    with pytest.raises(M2MError, match=r"^CUDA cannot be used: cuda-core not installed, pip install 'm2m\[cuda\]'\.$"):
        CudaEngine(network(**SMALL))


@compiler
def test_a_missing_driver_or_gpu_is_told(monkeypatch):
    for error, reason in (
        (cuda_device.CudaError("CUDA_ERROR_NO_DEVICE"), "the NVIDIA driver does not work (CUDA_ERROR_NO_DEVICE)"),
        (OSError("libcuda.so.1"), "there is no NVIDIA driver"),
    ):

        def devices(error=error):
            raise error

        monkeypatch.setattr(cuda_device, "_devices", devices)
        assert available() == reason
    monkeypatch.setattr(cuda_device, "_devices", list)
    assert available() == "there is no NVIDIA GPU"
    monkeypatch.setattr(cuda_device, "_devices", lambda: ["NVIDIA H100, compute capability 9.0"])
    assert available(1) == "there is no GPU 1, the last is 0"
    assert describe() == "cuda:0: NVIDIA H100, compute capability 9.0"


def test_the_vocoder_falls_back_or_fails_as_it_is_asked_to(monkeypatch, capsys):
    monkeypatch.setattr(cuda_device, "available", lambda index=0: "there is no NVIDIA GPU")
    model = network(**SMALL | {"residual": 16, "skip": 32, "classes": 32})
    with pytest.raises(M2MError, match="CUDA cannot be used: there is no NVIDIA GPU"):
        make_engine(model, WaveNetOptions(engine="cuda"), "cpu")
    assert not isinstance(make_engine(model, WaveNetOptions(), "cpu"), CudaEngine)
    assert capsys.readouterr().err == ""
    assert not isinstance(make_engine(model, WaveNetOptions(), "cuda:0"), CudaEngine)
    assert "WaveNet renders on the CPU: CUDA cannot be used: there is no NVIDIA GPU." in capsys.readouterr().err


# --- on a GPU, where there is one -------------------------------------------------------------------------------------

gpu = pytest.mark.skipif(bool(available()), reason=f"no GPU: {available()}")


@gpu
@pytest.mark.parametrize("regime", ["latency", "throughput"])
@pytest.mark.parametrize("sizes", [SMALL, SMALL | {"output": "mol", "mixtures": 3}, {}])
def test_a_gpu_is_the_network(sizes, regime):
    model = network(**sizes)
    given = mels(model, 12, 3)
    engine = CudaEngine(model, "fp32", regime)
    wanted = TorchEngine(model).generate(given, 3)
    np.testing.assert_allclose(engine.expected(wanted[0], given[0]), in_parallel(model, wanted[0], given[0]), atol=1e-4)
    for got, want in zip(engine.generate(given, 3), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=0 if model.config.output == "mulaw" else 2e-3)


@gpu
@pytest.mark.parametrize("regime", ["latency", "throughput"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_gpu_in_half_precision_is_near_and_repeats_itself(precision, regime):
    if precision == "bf16" and cuda_device.CudaDevice().limits.capability < (8, 0):
        pytest.skip("this GPU has no bf16")
    model = network()
    given = mels(model, 8, *range(1, 40))
    engine = CudaEngine(model, precision, regime)
    samples = np.random.default_rng(2).integers(0, 256, 8 * 128)
    truth = in_parallel(model, samples, given[0])
    error = engine.expected(samples, given[0]) - truth
    assert error.std() < (0.01 if precision == "fp16" else 0.08) * truth.std()
    together = engine.generate(given, 5)
    for i in (0, 7, 39):
        np.testing.assert_array_equal(engine.generate([given[i]], 5, i)[0], together[i])
