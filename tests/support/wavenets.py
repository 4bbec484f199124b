"""WaveNets with random weights, mels for them, and what they say of given samples: for the tests of every engine."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig


def network(seed: int = 0, **sizes: Any) -> WaveNet:
    """Random weights that keep every layer busy and the distribution neither flat nor certain."""
    model, draw = WaveNet(WaveNetConfig(**sizes)), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            inputs = weight[0].numel() if weight.dim() > 1 else 100
            weight.copy_(torch.randn(weight.shape, generator=draw) / inputs**0.5)
        if model.config.output == "mulaw":
            model.end.weight *= 3
    return model


def mels(model: WaveNet, *lengths: int) -> list[NDArray[np.float32]]:
    draw = np.random.default_rng(1)
    return [draw.uniform(-11.5, 0.0, (n, model.n_features)).astype(np.float32) for n in lengths]


def in_parallel(
    model: WaveNet, samples: NDArray[np.integer[Any]], mel: NDArray[np.float32], dtype: torch.dtype = torch.float64
) -> NDArray[np.float64]:
    """The network as it is trained, on given samples: what is expected of each, (samples, outputs) float64."""
    twin = WaveNet(model.config).to(dtype)
    twin.load_state_dict(model.state_dict())
    given = torch.from_numpy(samples).to(torch.int64 if model.config.output == "mulaw" else dtype)
    with torch.inference_mode():
        given = torch.cat([twin.silence(1, 2).to(given.dtype), given[None]], dim=1)
        return twin(given, torch.from_numpy(mel)[None].to(dtype))[0].double().numpy()
