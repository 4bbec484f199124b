"""Which device computes."""

import pytest
import torch

from m2m.core.errors import M2MError
from m2m.core.system.devices import choose_device


def test_auto_is_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, wanted in ((False, "cpu"), (True, "cuda")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert choose_device("auto") == wanted
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["warp", "meta", ""])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(M2MError, match=f"^there is no device '{name}'; give 'cpu', 'cuda' or 'cuda:1', or 'auto'"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda:63", "xpu"])
def test_a_device_that_is_not_here(name: str) -> None:
    with pytest.raises(M2MError, match=f"^device '{name}' cannot be used: .*; give 'cpu', or 'auto'") as caught:
        choose_device(name)
    assert "\n" not in str(caught.value)
