"""The CUDA engine on a GPU, where there is one, against the network."""

from typing import Any

import numpy as np
import pytest
from emulated_gpu import SMALL
from wavenets import in_parallel, mels, network

from m2m.vocoders.wavenet.cuda import device as cuda_device
from m2m.vocoders.wavenet.cuda.device import available
from m2m.vocoders.wavenet.cuda.engine import CudaEngine
from m2m.vocoders.wavenet.cuda.plan import Precision, Regime
from m2m.vocoders.wavenet.torch_engine import TorchEngine

gpu = pytest.mark.skipif(bool(available()), reason=f"no GPU: {available()}")


def _needs_clusters(regime: Regime) -> None:
    if regime == "specialised" and cuda_device.CudaDevice().limits.cluster == 1:
        pytest.skip("this GPU has no clusters")


@gpu
@pytest.mark.parametrize("regime", ["latency", "specialised", "balanced", "throughput"])
@pytest.mark.parametrize("sizes", [SMALL, SMALL | {"output": "mol", "mixtures": 3}, {}])
def test_a_gpu_is_the_network(sizes: dict[str, Any], regime: Regime) -> None:
    _needs_clusters(regime)
    model = network(**sizes)
    given = mels(model, 12, 3)
    engine = CudaEngine(model, "fp32", regime)
    wanted = TorchEngine(model).generate(given, 3)
    np.testing.assert_allclose(engine.expected(wanted[0], given[0]), in_parallel(model, wanted[0], given[0]), atol=1e-4)
    for got, want in zip(engine.generate(given, 3), wanted, strict=True):
        np.testing.assert_allclose(got, want, atol=0 if model.config.output == "mulaw" else 2e-3)


@gpu
@pytest.mark.parametrize("regime", ["latency", "specialised", "balanced", "throughput"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_gpu_in_half_precision_is_near_and_repeats_itself(precision: Precision, regime: Regime) -> None:
    if precision == "bf16" and cuda_device.CudaDevice().limits.capability < (8, 0):
        pytest.skip("this GPU has no bf16")
    _needs_clusters(regime)
    model = network()
    given = mels(model, 8, *range(1, 40))
    engine = CudaEngine(model, precision, regime)
    samples = np.random.default_rng(2).integers(0, 256, 8 * 128)
    truth = in_parallel(model, samples, given[0])
    error = engine.expected(samples, given[0]) - truth
    assert error.std() < (0.01 if precision == "fp16" else 0.08) * truth.std()
    together = engine.generate(given, 5)
    for i in (0, 7, 39):
        np.testing.assert_array_equal(engine.generate([given[i]], 5, i)[0], together[i])


@gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_gpu_draws_the_same_in_every_shape_of_the_balanced_regime(precision: Precision) -> None:
    model = network()
    latency, balanced = (CudaEngine(model, precision, regime) for regime in ("latency", "balanced"))
    given = mels(model, *([2] * balanced.side_by_side))
    wanted = latency.generate(given[:1], 5)[0]
    shapes = {}
    for count in (1, 8, 16, 32, 63, 132, 264, balanced.side_by_side):
        plan = balanced.loaded(count).plan
        shapes[plan.blocks, plan.streams] = count
    for count in shapes.values():
        np.testing.assert_array_equal(balanced.generate(given[:count], 5)[0], wanted)
