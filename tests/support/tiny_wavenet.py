"""A WaveNet small enough to be computed by hand, and mels for it."""

from typing import Any

import numpy as np
import torch

from m2m.core.mel import MelSpec
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

SPEC = MelSpec(n_mels=6, hop_length=8)
TINY = WaveNetConfig(
    layers=5, dilation_cycle=3, residual=4, skip=8, classes=16, mixtures=3, upsample=((4, 2), (8, 4)), mel=SPEC
)


def tiny(**changes: Any) -> WaveNet:
    model = WaveNet(WaveNetConfig.model_validate(TINY.model_dump() | changes)).double()
    return model.eval().requires_grad_(False)


def mel(frames: int, features: int = 6, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).random((frames, features)) * -11.5).astype(np.float32)


def random_samples(model: WaveNet, count: int) -> np.ndarray:
    draw_ = np.random.default_rng(3)
    mulaw = model.config.output == "mulaw"
    return draw_.integers(0, model.config.classes, count) if mulaw else draw_.uniform(-1, 1, count)


def teacher_forced(model: WaveNet, samples: np.ndarray, features: np.ndarray) -> np.ndarray:
    given = torch.cat([model.silence(1, 2), torch.from_numpy(samples)[None]], dim=1)
    return model(given, torch.from_numpy(features)[None].double())[0].numpy()


def by_hand(model: WaveNet, samples: np.ndarray, features: np.ndarray) -> np.ndarray:
    """The definition, sample by sample in float64: what nv-wavenet computes, and nothing of PyTorch's."""
    c, w = model.config, {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    u = features.astype(np.float64)
    u[:, : c.mel.n_mels] = 1 - 2 * u[:, : c.mel.n_mels] / c.mel.silence
    for i, (window, stride) in enumerate(c.upsample):
        kernel, crop = w[f"upsample.{i}.weight"], (window - stride) // 2
        out = np.tile(w[f"upsample.{i}.bias"], ((len(u) - 1) * stride + window, 1))
        for frame, values in enumerate(u):
            for k in range(window):
                out[frame * stride + k] += values @ kernel[:, :, k]
        u = out[crop : len(out) - crop]
    silence = c.classes // 2 if c.output == "mulaw" else 0.0
    y = [silence, silence, *samples]
    kept: list[list[np.ndarray]] = [[] for _ in range(c.layers)]  # the inputs of each layer
    found = []
    for t in range(len(samples)):
        before, current = y[t], y[t + 1]
        if c.output == "mulaw":
            x = w["embed_prev.weight"][before] + w["embed_cur.weight"][current]
        else:
            x = w["input_prev.weight"][:, 0] * before + w["input_cur.weight"][:, 0] * current + w["input_cur.bias"]
        skip = np.zeros(c.skip)
        for layer in range(c.layers):
            name, back = f"layers.{layer}", t - 2 ** (layer % c.dilation_cycle)
            past = kept[layer][back] if back >= 0 else np.zeros(c.residual)
            kept[layer].append(x)
            h = w[f"{name}.prev.weight"] @ past + w[f"{name}.cur.weight"] @ x + w[f"{name}.bias"]
            h = h + w[f"{name}.cond.weight"] @ u[t]
            z = np.tanh(h[: c.residual]) / (1 + np.exp(-h[c.residual :]))
            skip += w[f"{name}.skip.weight"] @ z + w[f"{name}.skip.bias"]
            if layer < c.layers - 1:
                x = x + w[f"{name}.res.weight"] @ z + w[f"{name}.res.bias"]
        hidden = np.maximum(w["out.weight"] @ np.maximum(skip, 0) + w["out.bias"], 0)
        found.append(w["end.weight"] @ hidden + w["end.bias"])
    return np.stack(found)
