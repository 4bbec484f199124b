"""The bench of the CUDA engine: what it asks of nv-wavenet, and how long its runs are."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shared
import wavenet_cuda
from wavenet_cuda import NV_MODES, NV_SECONDS, measure_nv_wavenet, nv_samples, nv_sizes, samples_a_second

from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

RATES = [  # streams, and samples a second on an H200, of each row that is measured unless others are asked for
    *3 * [(1, 31_000), (8, 126_000)],
    *2 * [(4_224, 15_080_000), (16_896, 13_400_000)],
    *[(2_112, 2_850_000), (8_448, 2_850_000)],
]
READY, AGREEMENT = 2.0, 6.0  # seconds: compiling each of 6 engines, and the network in float64 on a CPU


class Paced:
    """An engine that takes the time of its pace, by a clock of its own."""

    def __init__(self, rate: float) -> None:
        self.rate, self.now = rate, 0.0

    def clock(self) -> float:
        return self.now

    def generate(self, mels: list[np.ndarray], seed: int) -> list[np.ndarray]:
        lengths = [128 * len(mel) for mel in mels]
        self.now += sum(lengths) / self.rate
        return [np.empty(length, np.uint8) for length in lengths]


def test_all_rows_take_less_than_90_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for streams, rate in RATES:
        engine = Paced(rate)
        monkeypatch.setattr(wavenet_cuda, "best", partial(shared.best, clock=engine.clock))
        mels = [np.empty((wavenet_cuda.PROBE, 1), np.float32)] * streams
        assert samples_a_second(engine, mels, 2.0) == pytest.approx(rate)
        taken.append(engine.now)
    assert min(taken) > 1.0
    assert sum(taken) + 6 * READY + AGREEMENT + NV_SECONDS < 90


def program(folder: Path, does: str) -> str:
    path = folder / "nv_wavenet_perf"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


def test_nv_wavenets_figure_is_read(tmp_path: Path) -> None:
    rows = measure_nv_wavenet(WaveNet(WaveNetConfig()), program(tmp_path, "echo Sample rate: 50.5 kHz"), 132)
    assert len(rows) == 12
    assert [(row["regime"], row["streams"], row["samples/s"]) for row in rows[3:5]] == [
        ("dual block", 1, 50_500.0),
        ("dual block", 66, 66 * 50_500.0),
    ]


def test_a_mode_that_does_not_end_leaves_the_others_their_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(wavenet_cuda, "NV_SECONDS", 0.3)
    monkeypatch.setattr(wavenet_cuda, "NV_TIMEOUT", 0.1)
    assert measure_nv_wavenet(WaveNet(WaveNetConfig()), program(tmp_path, "exec sleep 600"), 132) == []
    assert "nv-wavenet, manyblock, 528 streams: no time is left" in capsys.readouterr().out


@pytest.mark.parametrize("mode", NV_MODES)
@pytest.mark.parametrize("processors", [80, 108, 132])
def test_nv_wavenet_is_asked_for_what_it_can_do(mode: int, processors: int) -> None:
    config = WaveNetConfig()
    for streams, a_block in nv_sizes(mode, processors):
        assert 1 <= a_block <= 4
        assert streams // a_block <= (66 if NV_MODES[mode] == "dual block" and processors == 132 else processors)
        assert 1024 <= nv_samples(config, streams) <= 16384
        assert nv_samples(config, streams) * streams * 2 * config.residual * config.layers < 1 << 31
    assert nv_samples(config, 1_000) <= 838
