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
    for name in ("sampling.h", "upsample.h", "layout.h"):
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


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("wait(signals + layer, i % 2);", ""),  # the chain's
        ("wait(signals + layer + 1, i % 2);\n                UNROLL", "UNROLL"),  # the skip sum's
        ("wait(signals + signal, i % 2);", "(void)i;"),  # of the layers after it
        ("wait(b.signals + LOGITS, i % 2);", ""),
        ("if (warp == 0 && b.lane == 0) arrive(b.signals + LOGITS, ENDS * 4);", ""),
        ("arrive(signals + layer, layer ? WIDE * SIZE : 0);", "arrive(signals + layer, layer ? WIDE : 0);"),
        ("arrive(signals + signal, K * SIZE);", "arrive(signals + signal, K * SIZE), arrive(signals + signal);"),
    ],
)
def test_the_emulation_sees_a_store_that_nobody_waits_for(
    emulated: Emulator, tmp_path: Path, text: str, instead: str
) -> None:
    """Other samples, or a launch that does not end: a wait, an arrival or expected bytes are missing."""
    for name in ("wavenet.cu", "sampling.h", "upsample.h", "layout.h"):
        shutil.copy(SOURCES / name, tmp_path)
    source = (SOURCES / "specialised.h").read_text()
    assert source.count(text) == 1
    (tmp_path / "specialised.h").write_text(source.replace(text, instead))
    model = network(**SMALL)
    (mel,) = mels(model, 2)
    wanted = TorchEngine(model).generate([mel], 0)[0]

    def right(order: int) -> bool:
        engine = CudaEngine(model, "fp32", "specialised", emulated(cluster(4), order=order, sources=tmp_path))
        try:
            return np.array_equal(engine.generate([mel], 0)[0], wanted)
        except AssertionError:  # the launch did not end
            return False

    assert not all(right(order) for order in range(3))
