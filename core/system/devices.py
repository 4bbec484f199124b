"""Which device computes: "cpu", "cuda", "cuda:1", .., or "auto" for the best there is."""

from __future__ import annotations

from m2m.core.errors import M2MError

DEVICES = ("cpu", "cuda", "mps", "xpu")


def choose_device(name: str) -> str:
    """A torch device that can be used, by its name or "auto". Raises M2MError where there is none of that name."""
    if name == "cpu":
        return name
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.partition(":")[0] not in DEVICES:
        raise M2MError(f"there is no device {name!r}; give 'cpu', 'cuda' or 'cuda:1', or 'auto' for the best there is.")
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        reason = str(error).splitlines()[0]
        raise M2MError(
            f"device {name!r} cannot be used: {reason}; give 'cpu', or 'auto' for the best there is."
        ) from error
    return name
