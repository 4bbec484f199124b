"""The emulated GPU shows a race: else no test on it could fail for one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from emulated_gpu import SMALL, Emulator, cluster
from wavenets import mels, network

from m2m.vocoders.wavenet.cuda.device import SOURCES
from m2m.vocoders.wavenet.cuda.engine import CudaEngine
from m2m.vocoders.wavenet.torch_engine import TorchEngine


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("sync();  // the fetched values are in shared memory", ""),
        ("sync();\n        b.embed();", "b.embed();"),
        ("arrive(), wait();\n        b.hidden_layer();", "b.hidden_layer();"),
    ],
)
def test_the_emulation_sees_a_race(emulated: Emulator, tmp_path: Path, text: str, instead: str) -> None:
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
