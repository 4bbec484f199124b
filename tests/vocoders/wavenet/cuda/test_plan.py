"""The plan of a network on a GPU: sizes, and the weights in the kernel's order."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from emulated_gpu import AMPERE, HOPPER, SMALL, VOLTA, cluster

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.cuda.plan import DeviceLimits, Precision, Regime, make_plan, pack, to_numbers
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig


def test_the_reference_network_fits() -> None:
    """Shared memory is filled but never more than there is; on Hopper all that a sample waits for is on the chip."""
    config = WaveNetConfig()
    for limits in (VOLTA, AMPERE, HOPPER):
        for precision in ("fp32", "fp16", "bf16"):
            for regime in ("latency", "throughput"):
                if precision == "bf16" and limits is VOLTA:
                    continue
                plan = make_plan(config, precision, regime, limits)
                assert limits.shared - 2048 < plan.shared <= limits.shared
    one_stream: tuple[Regime, ...] = ("latency", "specialised")
    for regime in one_stream:
        hopper = make_plan(config, "fp16", regime, HOPPER)
        assert hopper.blocks == 16
        assert hopper.total - hopper.resident < hopper.table_rows * config.residual  # but a part of one embedding
        assert limits.shared - 2048 < hopper.shared <= HOPPER.shared
    assert [make_plan(config, "fp16", "throughput", limits).streams for limits in (VOLTA, AMPERE, HOPPER)] == [
        16,
        16,
        32,
    ]


def test_the_plan_and_the_weights_agree() -> None:
    cases: tuple[dict[str, Any], ...] = ({}, {"output": "mol"}, SMALL)
    regimes: tuple[tuple[DeviceLimits, Regime], ...] = ((cluster(8), "latency"), (AMPERE, "throughput"))
    for sizes in cases:
        model = WaveNet(WaveNetConfig(**sizes))
        for limits, regime in regimes:
            plan = make_plan(model.config, "fp16", regime, limits)
            assert pack(model, plan)[0].shape == (plan.blocks, plan.total)


def test_bfloat16_is_rounded_as_pytorch_rounds() -> None:
    x = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    rounded = to_numbers(x, "bf16").astype(np.uint32) << 16
    np.testing.assert_array_equal(rounded.view(np.float32), torch.from_numpy(x).bfloat16().float().numpy())


@pytest.mark.parametrize(
    ("sizes", "precision", "limits", "words"),
    [
        ({}, "int8", HOPPER, "precision 'int8' came, the CUDA engine has fp32, fp16, bf16"),
        ({}, "fp32", DeviceLimits((6, 1), 48 << 10), "compute capability 6.1.*wants compute capability 7.0"),
        ({}, "bf16", VOLTA, "bf16 wants compute capability 8.0 or more"),
        ({"skip": 16384}, "fp16", VOLTA, "16384 skip channels.* needs .* KiB of shared memory at fp16, the GPU has"),
    ],
)
def test_what_does_not_fit_is_told(
    sizes: dict[str, Any], precision: Precision, limits: DeviceLimits, words: str
) -> None:
    for regime in ("latency", "throughput"):
        with pytest.raises(M2MError, match=words):
            make_plan(WaveNetConfig(**sizes), precision, regime, limits)


@pytest.mark.parametrize(
    ("streams", "shape"),
    [
        *((1, (16, 1)), (8, (16, 1)), (9, (8, 1)), (16, (8, 1)), (17, (4, 1)), (33, (4, 1)), (34, (4, 2))),
        *((63, (4, 2)), (67, (1, 1)), (132, (1, 1)), (133, (1, 2)), (265, (1, 4)), (528, (1, 4)), (5000, (1, 4))),
    ],
)
def test_the_fewer_streams_the_more_blocks_share_one(streams: int, shape: tuple[int, int]) -> None:
    """All run side by side where there is room; of what gives that, the shape whose streams are the fastest."""
    plan = make_plan(WaveNetConfig(), "fp16", "balanced", replace(HOPPER, processors=132), streams)
    assert (plan.blocks, plan.streams) == shape
    older = make_plan(WaveNetConfig(), "fp16", "balanced", replace(AMPERE, processors=108), streams)
    assert older.blocks == 1
    assert older.streams == (1 if streams <= 108 else 2 if streams <= 216 else 4)


def test_a_specialised_block_stores_words_of_32_bits() -> None:
    """The fewer channels there are, the fewer blocks share them; and where there are no clusters, none do."""

    def blocks(sizes: dict[str, Any], precision: Precision) -> int:
        return make_plan(WaveNetConfig(**sizes), precision, "specialised", HOPPER).blocks

    assert blocks({"residual": 16}, "fp32") == 16
    assert blocks({"residual": 16}, "fp16") == blocks({"residual": 48}, "fp16") == 8
    with pytest.raises(M2MError, match="compute capability 8.0.*wants clusters"):
        make_plan(WaveNetConfig(), "fp16", "specialised", AMPERE)
