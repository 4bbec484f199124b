"""Runs that begin with the weights of another model."""

from pathlib import Path

import pytest
import torch
from training_runs import WAVENET, tiny_wavenet

from m2m.core.errors import M2MError
from m2m.core.system.run_config import load_run
from m2m.training.wavenet import WaveNetRun, train
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.network import load_wavenet


def test_a_run_begins_with_the_weights_of_another(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its sizes, which need not be given; with another output, with the weights that match."""
    train(tiny_wavenet(loop__steps=1), data, tmp_path / "first", False)
    start = tmp_path / "first" / "best"
    sizes = {name: value for name, value in WAVENET.items() if not name.startswith("model.")}
    capsys.readouterr()
    options = sizes | {"start": str(start), "loop.steps": 1, "loop.learning_rate": 1e-9}
    train(load_run(WaveNetRun, None, options), data, tmp_path / "same", False)
    first, same = (load_wavenet(folder)[0] for folder in (start, tmp_path / "same" / "best"))
    assert first.config == same.config
    assert all(torch.allclose(w, same.state_dict()[name], atol=1e-6) for name, w in first.state_dict().items())
    assert "random" not in capsys.readouterr().err

    train(load_run(WaveNetRun, None, options | {"model.output": "gaussian"}), data, tmp_path / "other", False)
    assert "begun at random: input_prev.weight, input_cur.weight" in capsys.readouterr().err
    other = load_wavenet(tmp_path / "other" / "best")[0]
    assert other.config.output == "gaussian"
    fifth = "layers.5.cur.weight"
    assert torch.allclose(first.state_dict()[fifth], other.state_dict()[fifth], atol=1e-6)

    capsys.readouterr()
    train(
        load_run(WaveNetRun, None, options | {"model.excitation": EXCITATION_VERSION}),
        data,
        tmp_path / "excitation",
        False,
    )
    said = capsys.readouterr().err
    assert "upsample.0.weight, upsample.0.bias, upsample.1.weight" in said  # one without the other means nothing
    assert "layers" not in said

    start.rename(tmp_path / "gone")
    train(load_run(WaveNetRun, tmp_path / "same" / "run.json", {"loop.steps": 2}), data, tmp_path / "same", True)
    with pytest.raises(M2MError, match="began from .*best and goes on from its own checkpoint, not from random"):
        train(load_run(WaveNetRun, None, sizes | {"loop.steps": 3}), data, tmp_path / "same", True)
    with pytest.raises(M2MError, match="not a model folder"):
        train(tiny_wavenet(start=str(tmp_path / "none")), data, tmp_path / "run", False)
