"""Weights in nv-wavenet's layout give our logits by its semantics, which are written out here from its documentation."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig
from m2m.vocoders.wavenet.nv_wavenet import NvWaveNetWeights, conditioning, export

R, S, A, LAYERS, MAX_DILATION = 8, 12, 16, 5, 4
CONFIG: dict[str, Any] = {
    "layers": LAYERS,
    "dilation_cycle": 3,
    "residual": R,
    "skip": S,
    "classes": A,
    "upsample": ((4, 2), (8, 4)),
    "mel": MelSpec(n_mels=6, hop_length=8),
}


def nv_wavenet(
    weights: NvWaveNetWeights, lh: NDArray[np.float32], samples: NDArray[np.integer[Any]]
) -> NDArray[np.float64]:
    """What its reference expects of each sample: both embeddings, a residual in every layer, relu of the skip sum in the last."""

    def matrix(flat: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float64]:
        return flat.astype(np.float64).reshape(rows, columns, order="F")

    embed_prev, embed_cur = (matrix(table, R, A) for table in weights.embeddings)
    zs, bzs, za, bza = weights.out
    heard = lh.astype(np.float64).reshape(2 * R, 1, LAYERS, -1, order="F")
    y = [A // 2, A // 2, *samples]
    xs, found = np.zeros((len(samples), LAYERS + 1, R)), []
    for t in range(len(samples)):
        xs[t, 0] = embed_prev[:, y[t]] + embed_cur[:, y[t + 1]]
        skip, dilation = np.zeros(S), 1
        for layer, w in enumerate(weights.layers):
            past = xs[t - dilation, layer] if t >= dilation else np.zeros(R)
            h = (
                matrix(w.Wprev, 2 * R, R) @ past
                + matrix(w.Wcur, 2 * R, R) @ xs[t, layer]
                + w.Bh
                + heard[:, 0, layer, t]
            )
            z = np.tanh(h[:R]) / (1 + np.exp(-h[R:]))
            xs[t, layer + 1] = matrix(w.Wres, R, R) @ z + w.Bres + xs[t, layer]
            skip = matrix(w.Wskip, S, R) @ z + skip + w.Bskip
            dilation = dilation * 2 if dilation * 2 <= MAX_DILATION else 1
        hidden = np.maximum(matrix(zs, A, S) @ np.maximum(skip, 0) + bzs, 0)
        found.append(matrix(za, A, A) @ hidden + bza)
    return np.stack(found)


def test_exported_weights_give_our_logits() -> None:
    torch.manual_seed(0)
    model = WaveNet(WaveNetConfig(**CONFIG))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.4)
    draw = np.random.default_rng(0)
    samples = draw.integers(0, A, 5 * 8)
    mel = draw.uniform(-11.5, 0, (5, 6)).astype(np.float32)
    given = torch.cat([model.silence(2), torch.from_numpy(samples)])[None]
    with torch.inference_mode():
        ours = model.double()(given, torch.from_numpy(mel).double()[None])[0].numpy()
    theirs = nv_wavenet(export(model), conditioning(model, mel), samples)
    assert np.ptp(ours) > 1
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


def test_it_has_classes_only() -> None:
    with pytest.raises(M2MError, match="output is gaussian; nv-wavenet has mulaw only"):
        export(WaveNet(WaveNetConfig(**CONFIG | {"output": "gaussian"})))
