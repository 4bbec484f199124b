"""The CUDA device: kernels compiled for GPUs that are not here, and what is said where CUDA cannot be used."""

import sys
from importlib import metadata
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

TURING = DeviceLimits((7, 5), 64 << 10, 1, 68)  # the oldest that NVRTC 13 compiles for


@compiler
@pytest.mark.parametrize(
    ("limits", "precision", "regime"),
    [
        (VOLTA, "fp16", "throughput"),
        (VOLTA, "fp32", "latency"),
        (TURING, "fp16", "throughput"),
        (TURING, "fp32", "latency"),
        (AMPERE, "bf16", "throughput"),
        (HOPPER, "fp16", "latency"),
        (HOPPER, "fp16", "specialised"),
        (HOPPER, "bf16", "specialised"),
        (HOPPER, "fp32", "specialised"),
        (HOPPER, "fp16", "balanced"),
        (HOPPER, "fp16", "throughput"),
    ],
)
def test_the_reference_network_compiles(
    limits: DeviceLimits, precision: Precision, regime: Regime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plan = make_plan(WaveNetConfig(), precision, regime, limits)
    if 10 * limits.capability[0] + limits.capability[1] < min(cuda_device.architectures()):
        with pytest.raises(M2MError, match="compute capability 7.0"):  # NVRTC 13 has left Volta behind
            compiled(plan.constants, limits.capability)
        return
    code = bytes(compiled(plan.constants, limits.capability).code)
    assert code.startswith(b"\x7fELF")
    for name in KERNELS:
        assert b".text." + name.encode() in code


@compiler
def test_kernels_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    constants = make_plan(WaveNetConfig(**SMALL), "fp32", "latency", AMPERE).constants
    first = bytes(compiled(constants, (8, 0)).code)
    (entry,) = (file for file in (tmp_path / "m2m" / "cuda").rglob("*") if file.is_file())
    entry.write_bytes(b"what was kept")
    assert bytes(compiled(constants, (8, 0)).code) == b"what was kept"
    monkeypatch.setattr(cuda_device, "source", lambda original=cuda_device.source: original() + "// another\n")
    assert bytes(compiled(constants, (8, 0)).code)[:4] == first[:4] == b"\x7fELF"
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/none")  # cannot be written to
    assert bytes(compiled(constants, (8, 0)).code)[:4] == b"\x7fELF"


@compiler
def test_a_gpu_that_nvrtc_has_left_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_device, "architectures", lambda: [75, 80, 90])
    with pytest.raises(M2MError, match="compute capability 7.0, the installed NVRTC compiles for 7.5 and later"):
        compiled({}, (7, 0))

    with pytest.raises(M2MError, match=r"pip install 'cuda-bindings\[all\]<13' .* or use engine=cpu"):
        compiled({}, (7, 0))
    with pytest.raises(M2MError, match="compute capability 6.1, .* 7.5 and later: or use engine=cpu"):
        compiled({}, (6, 1))


def test_what_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.core", None)  # an import of it fails, whatever is installed
    reason = "cuda.core cannot be loaded, pip install 'm2m[cuda]'"
    assert reason in available() == describe()
    with pytest.raises(
        M2MError, match=r"^CUDA cannot be used: cuda.core.* cannot be loaded, pip install 'm2m\[cuda\]'\.$"
    ):
        CudaEngine(network(**SMALL))


def _nvrtc_is_gone() -> NoReturn:
    raise M2MError("gone")


@pytest.mark.parametrize(
    ("driver", "nvrtc", "reason"),
    [
        (13, 13, ""),
        (13, 12, ""),
        (12, 12, ""),
        (12, 13, "the NVIDIA driver is for CUDA 12, and NVRTC 13 wants driver 580 or later: update it, or pip install"),
        (11, 12, "the NVIDIA driver is for CUDA 11, and NVRTC 12 wants driver 525 or later: update it"),
        (13, None, "NVRTC, which compiles the CUDA kernel, cannot be loaded, pip install 'm2m[cuda]'"),
    ],
)
def test_nvrtc_and_the_driver_must_agree(
    driver: int, nvrtc: int | None, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_device, "_loads", lambda module: True)
    monkeypatch.setattr(cuda_device, "_devices", lambda: ["NVIDIA H100, compute capability 9.0"])
    monkeypatch.setattr(cuda_device, "_driver", lambda: driver)
    monkeypatch.setattr(cuda_device, "nvrtc_major", _nvrtc_is_gone if nvrtc is None else lambda: nvrtc)
    assert available().startswith(reason)
    assert bool(available()) == bool(reason)


@compiler
def test_bindings_and_nvrtc_are_of_one_major() -> None:
    assert cuda_device.nvrtc_major() == int(metadata.version("cuda-bindings").partition(".")[0])


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
    monkeypatch.setattr(cuda_device, "_driver", cuda_device.nvrtc_major)
    monkeypatch.setattr(cuda_device, "_devices", list)
    assert available() == "there is no NVIDIA GPU"
    monkeypatch.setattr(cuda_device, "_devices", lambda: ["NVIDIA H100, compute capability 9.0"])
    assert available(1) == "there is no GPU 1, the last is 0"
    assert describe() == "cuda:0: NVIDIA H100, compute capability 9.0"
