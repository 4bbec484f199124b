"""A WaveNet's weights in the layout of NVIDIA's nv-wavenet: for comparing with it, and for those who run it.

nv-wavenet (github.com/NVIDIA/nv-wavenet) computes the same network from arrays of float32 that its `nvWavenetInfer` takes. A
matrix of (rows, columns) is column-major: column after column.

    setEmbeddings     embedPrev, embedCur   (R, A)    a column a class
    setLayerWeights   Wprev, Wcur           (2 R, R)  tanh's rows, then the sigmoid's
                      Bh                    (2 R,)
                      Wres, Bres            (R, R), (R,)
                      Wskip, Bskip          (S, R), (S,)
    setOutWeights     Wzs, Bzs              (A, S), (A,)   relu before and after
                      Wza, Bza              (A, A), (A,)
    setInputs         Lh                    (2 R, batch, layers, samples): conditioning without Bh

What must agree beside the arrays: construct it with tanhEmbed=false, since our embedding passes no tanh, and with maxDilation =
2 ** (dilation_cycle - 1). It begins at class 128 whatever A is, so the first samples are the same with 256 classes. Its last
layer has a residual that nobody reads; here that is zero. Its selectors are uniform numbers: sampling.py's `uniforms`, the
first of each two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.vocoders.wavenet.network import WaveNet

Array = NDArray[np.float32]


@dataclass(frozen=True)
class LayerWeights:
    """The arguments of `setLayerWeights` after the layer's number, each flat and column-major."""

    Wprev: Array
    Wcur: Array
    Bh: Array
    Wres: Array
    Bres: Array
    Wskip: Array
    Bskip: Array


@dataclass(frozen=True)
class NvWaveNetWeights:
    """The arguments of `setEmbeddings`, of `setLayerWeights` for each layer, and of `setOutWeights`."""

    embeddings: tuple[Array, Array]
    layers: list[LayerWeights]
    out: tuple[Array, Array, Array, Array]


def export(model: WaveNet) -> NvWaveNetWeights:
    """A network's weights for nv-wavenet. Raises M2MError for one whose output is no µ-law class."""
    if model.config.output != "mulaw":
        raise M2MError(f"the WaveNet's output is {model.config.output}; nv-wavenet has mulaw only.")
    residual = model.config.residual
    layers = []
    for layer in model.stack:
        res = (np.zeros(residual**2, np.float32), np.zeros(residual, np.float32))
        if layer.res is not None:
            res = _columns(layer.res.weight), _columns(layer.res.bias)
        layers.append(
            LayerWeights(
                *(_columns(layer.prev.weight), _columns(layer.cur.weight), _columns(layer.bias)),
                *res,
                *(_columns(layer.skip.weight), _columns(layer.skip.bias)),
            )
        )
    return NvWaveNetWeights(
        embeddings=(_columns(model.embed_prev.weight.T), _columns(model.embed_cur.weight.T)),
        layers=layers,
        out=(
            *(_columns(model.out.weight), _columns(model.out.bias)),
            *(_columns(model.end.weight), _columns(model.end.bias)),
        ),
    )


@torch.inference_mode()
def conditioning(model: WaveNet, features: Array) -> Array:
    """Lh of one stream.

    features: (frames, n_features) float32, as `Conditioned.features_of` has them.

    Returns (2 R * layers * samples,) float32, column-major.
    """
    given = torch.from_numpy(features)[None].to(model.end.weight)
    u = model.conditioning(given)[0]  # (samples, n_mels)
    return np.concatenate([layer.cond(u)[:, None].cpu().float().numpy() for layer in model.stack], axis=1).ravel()


def _columns(weight: torch.Tensor) -> Array:
    """Column after column."""
    return weight.detach().cpu().float().numpy().ravel(order="F")
