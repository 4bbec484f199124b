"""The bench of the CUDA kernels' code: which instructions it counts."""

import pytest
from wavenet_cuda_code import stage


def test_a_stage_is_what_stands_between_its_wait_and_its_store() -> None:
    code = ["MOV", "SYNCS.PHASECHK.TRANS64.TRYWAIT", "LDS.128", "FFMA", "STAS.64", "SYNCS.PHASECHK", "STAS.128"]
    assert stage(code, "SYNCS.PHASECHK", "STAS") == 2
    with pytest.raises(StopIteration):
        stage(code, "UCGABAR_WAIT", "STAS")
