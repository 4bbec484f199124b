"""What this machine's processor can do, and a lesser one to stand in for it.

`M2M_CPU=avx2` has our kernels, PyTorch and oneDNN behave as on a processor with AVX2 alone, which most laptops have. PyTorch
reads its part when it is loaded: `stand_in` comes before that.
"""

from __future__ import annotations

import os
import sys

from m2m.core.errors import M2MError

VARIABLE = "M2M_CPU"
STAND_INS = {"avx2": ("avx2", "generic")}  # what the variable may be -> the instruction sets that kernels may use then
LIBRARIES = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def stand_in() -> None:
    """Limit PyTorch and oneDNN as M2M_CPU says, unless PyTorch is loaded already."""
    if os.environ.get(VARIABLE) in STAND_INS and "torch" not in sys.modules:
        os.environ.update(LIBRARIES)


def limited_to() -> str:
    """The processor that stands in for this one, "" for none. Raises M2MError where M2M_CPU names one that none knows."""
    name = os.environ.get(VARIABLE, "")
    if name and name not in STAND_INS:
        raise M2MError(f"{VARIABLE} is {name!r}; it may be {' or '.join(STAND_INS)}, or not be set.")
    return name


def allows(instruction_set: str) -> bool:
    """Whether kernels for an instruction set may be used, as far as M2M_CPU says. Raises M2MError as `limited_to` does."""
    name = limited_to()
    return not name or instruction_set in STAND_INS[name]


def has_bf16(device: str) -> bool:
    """Whether a device multiplies bfloat16 itself; where it does not, PyTorch's emulation is slower than float32.

    device: a torch device. Raises M2MError as `limited_to` does.
    """
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and allows("avx512_bf16") and bool(torch.cpu._is_avx512_bf16_supported())
