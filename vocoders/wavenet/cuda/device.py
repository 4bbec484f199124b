"""A GPU as the CUDA engine sees it: memory, the kernels of cuda/wavenet.cu compiled for it, and launches of them.

Kernels are compiled when they are first needed, by NVRTC through NVIDIA's cuda-core, for this GPU and these sizes, and kept in
cuda-core's cache on disk. Nothing of it is imported, and no context is made, before an engine is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, Plan

SOURCES = Path(__file__).parent
INSTALL = "pip install 'm2m[cuda]'"
INSTALL_12 = "pip install 'cuda-bindings[all]<13' beside a torch for the CPU or CUDA 12"  # compiles for Volta too
MODULES = ("cuda.core", "cuda.bindings.driver", "cuda.bindings.nvrtc")
DRIVERS = {12: 525, 13: 580}  # the oldest for what an NVRTC of this major makes
LARGE_CLUSTERS = ((9, 0), (10, 0), (10, 3))  # data-centre GPUs, whose clusters may have 16 blocks where others' have 8
CACHE_BYTES = 64 << 20  # of compiled kernels; one takes about 100 kB


class CudaError(Exception):
    """A call that failed; the name of what came back."""


class Memory(Protocol):
    """Memory of a device, freed when nobody holds it any more."""

    @property
    def handle(self) -> Any:
        """Its address."""


class Kernels(Protocol):
    """cuda/wavenet.cu compiled for a plan.

    clusters: that run side by side.
    """

    clusters: int

    def launch(self, name: str, grid: int, *arguments: Any) -> None:
        """Run kernel `name`: wavenet on `grid` clusters of the plan's blocks, the others on `grid` blocks of PLAIN threads."""


class Device(Protocol):
    """What the engine needs of a GPU; the tests have one that is none."""

    limits: DeviceLimits

    def memory(self, size: int) -> Memory:
        """So many bytes, zeroed."""

    def write(self, memory: Memory, array: NDArray[Any]) -> None:
        """Copy an array to the beginning of a device's memory.

        array: contiguous, of any shape.
        """

    def read(self, memory: Memory, array: NDArray[Any]) -> None:
        """Wait for what was launched, and fill an array from the beginning of a device's memory.

        array: contiguous, of any shape.
        """

    def compile(self, plan: Plan) -> Kernels | None:
        """Kernels for a plan, or None where the device cannot run a single cluster of it."""


PLAIN = 128  # threads of a block that shares nothing


class CudaDevice:
    """GPU `index`. Raises M2MError where CUDA cannot be used, see `available`."""

    def __init__(self, index: int = 0) -> None:
        if reason := available(index):
            raise M2MError(f"CUDA cannot be used: {reason}.")
        from cuda.core import Device as CoreDevice

        self.index = index
        with self.working():
            device = CoreDevice(index)
            properties = device.properties
            capability = (int(device.compute_capability.major), int(device.compute_capability.minor))
            cluster = 1
            if capability >= (9, 0) and properties.cluster_launch:
                cluster = 16 if capability in LARGE_CLUSTERS else 8
            shared, processors = properties.max_shared_memory_per_block_optin, properties.multiprocessor_count
            self.limits = DeviceLimits(capability, int(shared), cluster, int(processors))
            self.name = str(device.name)
            self.stream = device.create_stream()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Make the GPU current in this thread. Raises M2MError, one sentence, for what fails within."""
        from cuda.core import Device as CoreDevice

        try:
            CoreDevice(self.index).set_current()
            yield
        except (M2MError, MemoryError):
            raise
        except Exception as error:  # the classes of CUDA's errors are private to cuda-core
            told = " ".join(str(error).split())
            raise M2MError(
                f"the GPU failed ({told[:300]}): try again, with fewer streams, or use engine=cpu."
            ) from error

    def memory(self, size: int) -> Memory:
        """So many bytes, zeroed."""
        from cuda.core import Device as CoreDevice

        with self.working():
            buffer = CoreDevice(self.index).allocate(max(size, 1), stream=self.stream)
            buffer.fill(0, stream=self.stream)
            return buffer

    def write(self, memory: Memory, array: NDArray[Any]) -> None:
        """Copy an array to the beginning of a device's memory.

        array: contiguous, of any shape.
        """
        from cuda.bindings import driver

        if array.nbytes:
            with self.working():
                _checked(driver.cuMemcpyHtoDAsync(int(memory.handle), array.ctypes.data, array.nbytes, self._stream))
                self.stream.sync()  # the array is the caller's again

    def read(self, memory: Memory, array: NDArray[Any]) -> None:
        """Wait for what was launched, and fill an array from the beginning of a device's memory.

        array: contiguous, of any shape.
        """
        from cuda.bindings import driver

        with self.working():
            if array.nbytes:
                _checked(driver.cuMemcpyDtoHAsync(array.ctypes.data, int(memory.handle), array.nbytes, self._stream))
            self.stream.sync()

    @property
    def _stream(self) -> int:
        return int(self.stream.handle)

    def compile(self, plan: Plan) -> Kernels | None:
        """Kernels for a plan, or None where the GPU cannot run a single cluster of it."""
        with self.working():
            kernels = _CudaKernels(self, plan, compiled(plan.constants, self.limits.capability))
            return kernels if kernels.clusters else None


class _CudaKernels:
    def __init__(self, device: CudaDevice, plan: Plan, code: Any) -> None:
        from cuda.bindings import driver
        from cuda.core import LaunchConfig

        self.device, self.code = device, code
        self.by_name = {name: code.get_kernel(name) for name in ("wavenet", "upsample", "upsample_last")}
        self.config = lambda grid: LaunchConfig(
            grid=grid, cluster=plan.blocks if plan.blocks > 1 else None, block=plan.threads, shmem_size=plan.shared
        )
        self.plain = lambda grid: LaunchConfig(grid=grid, block=PLAIN)
        main = self.by_name["wavenet"]
        attributes = driver.CUfunction_attribute
        wanted = {attributes.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: plan.shared}
        if plan.blocks > 8:
            wanted[attributes.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 1
        for attribute, value in wanted.items():
            _checked(driver.cuKernelSetAttribute(attribute, value, main.handle, driver.CUdevice(device.index)))
        self.clusters = device.limits.processors
        if plan.blocks > 1:
            self.clusters = main.occupancy.max_active_clusters(self.config(1), stream=device.stream)

    def launch(self, name: str, grid: int, *arguments: Any) -> None:
        """Run a kernel; see `Kernels`."""
        from cuda.core import launch

        config = self.config if name == "wavenet" else self.plain
        with self.device.working():
            launch(self.device.stream, config(grid), self.by_name[name], *arguments)


def source() -> str:
    """The kernels in one piece: what is included stands where it is, since the cache on disk looks at one text only."""
    text = (SOURCES / "wavenet.cu").read_text(encoding="utf-8")
    for name in ("device.h", "sampling.h", "upsample.h", "layout.h", "specialised.h", "mbarrier.h"):
        text = text.replace(f'#include "{name}"\n', (SOURCES / name).read_text(encoding="utf-8"))
    return text.replace("#pragma once\n", "")


def compiled(constants: dict[str, int], capability: tuple[int, int]) -> Any:
    """The kernels for these constants and a compute capability, from the cache on disk or from NVRTC; needs no GPU.

    A GPU newer than NVRTC gets PTX, which its driver compiles. Raises M2MError for one that is too old for it.
    """
    from cuda.core import Program, ProgramOptions
    from cuda.core.utils import FileStreamProgramCache

    known = architectures()
    number = 10 * capability[0] + capability[1]
    if number < min(known):
        older_nvrtc = f"{INSTALL_12}, " if number >= 70 else ""
        raise M2MError(
            f"the GPU has compute capability {capability[0]}.{capability[1]}, the installed NVRTC compiles for {min(known) / 10} "
            f"and later: {older_nvrtc}or use engine=cpu."
        )
    arch, target = (f"sm_{number}", "cubin") if number in known else (f"compute_{max(known)}", "ptx")
    options = ProgramOptions(
        std="c++17", arch=arch, define_macro=[(name, str(value)) for name, value in constants.items()]
    )
    try:
        cache = FileStreamProgramCache(cache_folder(), max_size_bytes=CACHE_BYTES)
    except OSError:  # a home that cannot be written to: it takes seconds longer each time
        cache = None
    return Program(source(), "c++", options).compile(target, cache=cache)


def cache_folder() -> Path:
    """Where compiled kernels are kept: m2m/cuda in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "m2m" / "cuda"


def architectures() -> list[int]:
    """What the installed NVRTC compiles for: 70, 75, .. Raises M2MError where it cannot be loaded."""
    try:
        from cuda.bindings import nvrtc

        return [int(number) for number in _checked(nvrtc.nvrtcGetSupportedArchs())]
    except Exception as error:
        raise M2MError(
            f"NVRTC, which compiles the CUDA kernel, cannot be loaded: {INSTALL}, or use engine=cpu."
        ) from error


def nvrtc_major() -> int:
    """The installed NVRTC's major version. Raises M2MError where it cannot be loaded."""
    try:
        from cuda.bindings import nvrtc

        return int(_checked(nvrtc.nvrtcVersion())[0])
    except Exception as error:
        raise M2MError(
            f"NVRTC, which compiles the CUDA kernel, cannot be loaded: {INSTALL}, or use engine=cpu."
        ) from error


def available(index: int = 0) -> str:
    """Why GPU `index` cannot be used, in half a sentence; "" where it can. Makes no context."""
    missing = [name for name in MODULES if not _loads(name)]
    if missing:
        return f"{', '.join(missing)} cannot be loaded, {INSTALL}"
    try:
        devices, driver = _devices(), _driver()
    except CudaError as error:
        return f"the NVIDIA driver does not work ({error})"
    except Exception:  # what cuda-core's loader of libraries raises is its own
        return "there is no NVIDIA driver"
    if not devices:
        return "there is no NVIDIA GPU"
    if index >= len(devices):
        return f"there is no GPU {index}, the last is {len(devices) - 1}"
    return _nvrtc_lacks(driver)


def _nvrtc_lacks(driver: int) -> str:
    """Why NVRTC cannot be used beside a driver for CUDA's major `driver`, in half a sentence; "" where it can."""
    try:
        nvrtc = nvrtc_major()
    except M2MError:
        return f"NVRTC, which compiles the CUDA kernel, cannot be loaded, {INSTALL}"
    if driver >= nvrtc:
        return ""
    older_nvrtc = f", or {INSTALL_12}" if nvrtc == 13 and driver == 12 else ""
    wanted = f"{DRIVERS[nvrtc]} or later" if nvrtc in DRIVERS else "a later one"
    return f"the NVIDIA driver is for CUDA {driver}, and NVRTC {nvrtc} wants driver {wanted}: update it{older_nvrtc}"


def describe() -> str:
    """One line: the GPUs that the CUDA engine can use, or why it can use none. Makes no context."""
    return available() or "; ".join(f"cuda:{i}: {device}" for i, device in enumerate(_devices()))


_lock = threading.Lock()


def _devices() -> list[str]:
    """Each GPU's name and compute capability."""
    from cuda.bindings import driver

    with _lock:
        _checked(driver.cuInit(0))
    found = []
    for i in range(_checked(driver.cuDeviceGetCount())):
        device, kinds = _checked(driver.cuDeviceGet(i)), driver.CUdevice_attribute
        name = _checked(driver.cuDeviceGetName(128, device)).split(b"\0")[0].decode(errors="replace")
        major = _checked(driver.cuDeviceGetAttribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device))
        minor = _checked(driver.cuDeviceGetAttribute(kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device))
        found.append(f"{name}, compute capability {major}.{minor}")
    return found


def _driver() -> int:
    """The major version of CUDA that the driver is for."""
    from cuda.bindings import driver

    return int(_checked(driver.cuDriverGetVersion())) // 1000


def _loads(module: str) -> bool:
    try:
        import_module(module)
    except Exception:  # a broken installation raises what it likes
        return False
    return True


def _checked(result: tuple[Any, ...]) -> Any:
    """What a call of the driver or of NVRTC gave, less its status. Raises CudaError where that is no success."""
    status, *values = result
    if int(status):
        raise CudaError(status.name)
    return values[0] if len(values) == 1 else values if values else None


def scalars(*values: Any) -> list[Any]:
    """A kernel's arguments: addresses of memory for memory, numbers as their NumPy types."""
    return [
        np.uint64(value.handle if value else 0) if hasattr(value, "handle") or value is None else value
        for value in values
    ]
