"""A student small enough for autograd's Jacobian, and mels for it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from m2m.core.mel import MelSpec
from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig

SPEC = MelSpec(n_mels=6, hop_length=8)
TINY = StudentConfig(flows=(3, 4), dilation_cycle=3, residual=4, skip=4, upsample=((4, 2), (8, 4)), mel=SPEC)


def student(config: StudentConfig = TINY, **changes: Any) -> Student:
    """Random weights, large enough that means and scales depend on the past."""
    torch.manual_seed(0)
    made = Student(StudentConfig.model_validate(config.model_dump() | changes)).double()
    with torch.no_grad():
        for flow in made.stack:
            flow.end.weight.mul_(10)
    return made.eval().requires_grad_(False)


def mel(frames: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, 6)) * -11.5).astype(np.float32)


def features(frames: int) -> Tensor:
    return torch.from_numpy(mel(frames))[None].double()
