"""How near an engine of WaveNet comes to its network in float64, and the network of the benches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, load_wavenet


def network(model: str | None) -> WaveNet:
    """A trained network, or one of the reference's size with random weights."""
    if model:
        return load_wavenet(Path(model))[0]
    torch.manual_seed(0)
    random = WaveNet(WaveNetConfig())
    with torch.no_grad():
        for weight in random.parameters():
            weight.normal_(0, (weight[0].numel() if weight.dim() > 1 else 100) ** -0.5)
        random.end.weight *= 3  # neither flat nor certain
    return random


def agreement(model: WaveNet, mel: np.ndarray, samples: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Of an engine's logits (samples, classes), teacher-forced: against the network in float64, nats a sample."""
    twin = WaveNet(model.config).double()
    twin.load_state_dict(model.state_dict())
    found = torch.from_numpy(logits).double()
    with torch.inference_mode():
        given = torch.cat([twin.silence(2), torch.from_numpy(samples).long()])[None]
        truth = twin(given, torch.from_numpy(mel).double()[None])[0]
    p, q = truth.log_softmax(-1), found.log_softmax(-1)
    at = torch.arange(len(samples)), torch.from_numpy(samples).long()
    return {
        "largest difference of logits": float((found - truth).abs().max()),
        "KL": float((p.exp() * (p - q)).sum(-1).mean()),
        "loss of likelihood": float((p[at] - q[at]).mean()),
    }
