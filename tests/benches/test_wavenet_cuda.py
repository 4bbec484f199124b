"""The bench of the CUDA engine: what it asks of nv-wavenet, and how long its runs are."""

import pytest
from wavenet_cuda import NV_MODES, nv_samples, nv_sizes

from m2m.vocoders.wavenet.network import WaveNetConfig


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
