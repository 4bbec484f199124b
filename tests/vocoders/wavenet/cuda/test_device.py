"""The CUDA device: kernels compiled for GPUs that are not here, and what is said where CUDA cannot be used."""

from pathlib import Path
from typing import NoReturn

import pytest
from emulated_gpu import AMPERE, HOPPER, KERNELS, SMALL, VOLTA
from wavenets import network

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.cuda.device import available, compiled, describe
from m2m.vocoders.wavenet.cuda.engine import CudaEngine
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, Precision, Regime, make_plan
from m2m.vocoders.wavenet.network import WaveNetConfig

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
def test_the_reference_network_compiles(
    limits: DeviceLimits, precision: Precision, regime: Regime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = make_plan(WaveNetConfig(), precision, regime, limits)
    code = bytes(compiled(plan.constants, limits.capability).code)
    assert code.startswith(b"\x7fELF")
    for name in KERNELS:
        assert b".text." + name.encode() in code


@compiler
def test_kernels_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_gpu_that_nvrtc_has_left_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "architectures", lambda: [75, 80, 90])
    with pytest.raises(M2MError, match="compute capability 7.0, the installed NVRTC compiles for 7.5 and later"):
        compiled({}, (7, 0))


def test_missing_packages_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "_installed", lambda name: name != "cuda-core")
    assert available() == describe() == "cuda-core not installed, pip install 'm2m[cuda]'"
    with pytest.raises(M2MError, match=r"^CUDA cannot be used: cuda-core not installed, pip install 'm2m\[cuda\]'\.$"):
        CudaEngine(network(**SMALL))


@compiler
def test_a_missing_driver_or_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, reason in (
        (cuda_device.CudaError("CUDA_ERROR_NO_DEVICE"), "the NVIDIA driver does not work (CUDA_ERROR_NO_DEVICE)"),
        (OSError("libcuda.so.1"), "there is no NVIDIA driver"),
    ):

        def devices(error: Exception = error) -> NoReturn:
            raise error

        monkeypatch.setattr(cuda_device, "_devices", devices)
        assert available() == reason
    monkeypatch.setattr(cuda_device, "_devices", list)
    assert available() == "there is no NVIDIA GPU"
    monkeypatch.setattr(cuda_device, "_devices", lambda: ["NVIDIA H100, compute capability 9.0"])
    assert available(1) == "there is no GPU 1, the last is 0"
    assert describe() == "cuda:0: NVIDIA H100, compute capability 9.0"
