"""Training WaveNet: what it hears of a data set, that it learns, and that a run stops and goes on without a trace."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from m2m.core.audio import mu_law_decode, mu_law_encode
from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec, log_mel
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.mel_measures import log_mel_error
from m2m.core.system.run_config import load_run
from m2m.dataset.shards import ShardReader
from m2m.training.ema import EMA
from m2m.training.loop import STATE
from m2m.training.segments import TrainingSegment
from m2m.training.wavenet import PRESETS, WaveNetRun, WaveNetTask, train
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.network import load_wavenet

INSTRUMENTS = {"grand-piano": 0, "trumpet": 56}
SMALL: dict[str, object] = {
    "instruments": INSTRUMENTS,
    "model.layers": 6,
    "model.dilation_cycle": 6,
    "model.residual": 16,
    "model.skip": 16,
    "model.classes": 64,
    "sequence": 8,
    "validation_segments": 1,
    "validation_seconds": 0.05,
    "loop.batch_size": 2,
    "loop.warmup": 1,
    "loop.threads": 1,
}


def small(**values: object) -> WaveNetRun:
    return load_run(WaveNetRun, None, SMALL | {name.replace("__", "."): value for name, value in values.items()})


def mel_model(folder: Path, instruments: dict[str, int]) -> Path:
    torch.manual_seed(0)
    config = Mel2MelConfig(hidden=8, instruments=instruments)
    save_model(folder, "mel2mel", config, Mel2Mel(config), "")
    return folder


# --- batches ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_step(data: Path) -> None:
    task, again, other = (WaveNetTask(small(loop__seed=seed), data) for seed in (1, 1, 2))
    samples, features = task.batch(5)
    assert samples.shape == (2, 2 + 8 * 128)
    assert features.shape == (2, 8 + 2, 80)
    again.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(task.batch(5), again.batch(5), strict=True))
    assert not torch.equal(task.batch(5)[1], task.batch(6)[1])
    assert not torch.equal(task.batch(5)[1], other.batch(5)[1])


@pytest.mark.parametrize("output", ["mulaw", "gaussian", "mol"])
def test_samples_and_features_are_of_the_same_time(data: Path, output: str) -> None:
    """The mel of a window's samples is the window's mel, where no frame reaches beyond it."""
    task = WaveNetTask(small(model__output=output, model__classes=256, sequence=30), data)
    samples, features = task.segment(TrainingSegment(task.train, 1, "trumpet", 40, 30))
    wave = mu_law_decode(samples) if output == "mulaw" else samples
    assert wave.dtype == np.float32
    assert np.abs(wave[2:] - task.train.audio(1, "trumpet", 40 * 128, 70 * 128)).max() < 0.02
    heard = np.exp(log_mel(wave[2:], MelSpec()))[5:-5]
    assert np.abs(heard - np.exp(features[6:-6])).max() < 0.02 * heard.max()


def test_with_a_comb_the_samples_are_what_it_lacks(data: Path) -> None:
    """Sound again, they have the true mel, and are near to the comb; any stretch is that part of the whole."""
    task = WaveNetTask(small(model__excitation=EXCITATION_VERSION, model__output="gaussian"), data)
    samples, features = task.segment(TrainingSegment(task.train, 1, "grand-piano", 40, 30))
    assert samples.shape == (2 + 30 * 128,)
    assert features.shape == (30 + 2, 80 + 128)
    heard = torch.from_numpy(features[1:-1])
    sound = task.model.to_sound(torch.from_numpy(samples[2:]), heard).numpy()
    excitation = task.model.to_sound(torch.zeros(30 * 128), heard).numpy()
    true = task.wave(TrainingSegment(task.train, 1, "grand-piano", 40, 30))
    found, wanted = (np.exp(log_mel(x, MelSpec()))[5:-5] for x in (sound, true))
    assert np.abs(found - wanted).max() < 0.2 * wanted.max()
    assert 0 < np.square(sound - excitation).sum() < 0.1 * np.square(sound).sum()
    part, _ = task.segment(TrainingSegment(task.train, 1, "grand-piano", 50, 10))
    assert np.allclose(part, samples[10 * 128 : 2 + 20 * 128], atol=1e-4)


def test_reconciled_what_is_learned_has_truer_magnitudes(data: Path) -> None:
    at, errors = TrainingSegment(ShardReader(data, "train"), 1, "grand-piano", 40, 30), []
    for iterations in (0, 4):
        task = WaveNetTask(
            small(model__excitation=EXCITATION_VERSION, model__output="gaussian", griffin_lim_iterations=iterations),
            data,
        )
        samples, features = task.segment(at)
        sound = task.model.to_sound(torch.from_numpy(samples[2:]), torch.from_numpy(features[1:-1])).numpy()
        errors.append(log_mel_error(*(log_mel(x, MelSpec())[5:-5] for x in (sound, task.wave(at)))))
        part, _ = task.segment(replace(at, start=50, frames=10))
        assert np.allclose(part, samples[10 * 128 : 2 + 20 * 128], atol=1e-4)
    assert errors[1] < 0.9 * errors[0]


def test_with_a_comb_classes_are_of_what_it_lacks(data: Path) -> None:
    values, classes = (
        WaveNetTask(small(model__excitation=EXCITATION_VERSION, model__output=output, model__classes=256), data).batch(
            3
        )[0]
        for output in ("gaussian", "mulaw")
    )
    assert (torch.from_numpy(mu_law_decode(classes.numpy())) - values).abs().max() < 0.02


def test_beyond_a_piece_is_silence(data: Path) -> None:
    task = WaveNetTask(small(), data)
    last = task.train.frames(0, "trumpet")
    samples, features = task.segment(TrainingSegment(task.train, 0, "trumpet", last - 2, 5))
    assert samples.shape == (2 + 5 * 128,)
    assert (samples[2 + 2 * 128 :] == 32).all()
    assert (features[3:] == np.float32(MelSpec().silence)).all()
    samples, features = task.segment(TrainingSegment(task.train, 0, "trumpet", 0, 4))
    assert (samples[:2] == 32).all()
    assert (features[0] == np.float32(MelSpec().silence)).all()
    assert np.array_equal(features[1:], task.train.mel(0, "trumpet", 0, 5))


def test_the_roll_stands_beside_the_mel_and_is_sometimes_missing(data: Path) -> None:
    task = WaveNetTask(small(model__condition_on_notes=True, without_notes=0.5, loop__batch_size=16), data)
    features = task.batch(0)[1]
    assert features.shape == (16, 10, 80 + 176)
    assert set((features[..., 80:].abs().sum((1, 2)) > 0).tolist()) == {True, False}
    roll = task.segment(TrainingSegment(task.train, 0, "trumpet", 30, 8))[1][:, 80:]
    sounding = task.train.notes(0, "trumpet")
    keys = {int(n[2]) for n in sounding if n[0] * 125 < 38 and n[1] * 125 > 30}
    assert set((roll[1:-1, 88:].max(0) > 0).nonzero()[0] + 21) == keys


def test_predicted_mels_are_mixed_in(data: Path, tmp_path: Path) -> None:
    folder = mel_model(tmp_path / "m", {"trumpet": 56, "grand-piano": 0})
    task = WaveNetTask(small(mel_model=str(folder), mel_model_share=0.5, loop__batch_size=8), data)
    assert torch.equal(task.batch(2)[1], task.batch(2)[1])
    true = task.segment(TrainingSegment(task.train, 1, "trumpet", 100, 8))
    predicted = task.segment(TrainingSegment(task.train, 1, "trumpet", 100, 8, predicted=True))
    assert np.array_equal(true[0], predicted[0])
    assert predicted[1].shape == true[1].shape
    # The same frames of one prediction of the whole, but for what the model hears from further away.
    from m2m.core.score import from_rows

    model = task.mel_model
    assert model is not None
    whole = model.predict(from_rows(task.train.notes(1, "trumpet")), model.timbre.weight[0].numpy(), 200)
    assert np.abs(whole[99:109] - predicted[1]).max() < 1e-3


def test_a_mel_model_must_fit(data: Path, tmp_path: Path) -> None:
    folder = mel_model(tmp_path / "m", {"grand-piano": 0})
    with pytest.raises(M2MError, match="was not trained on trumpet"):
        WaveNetTask(small(mel_model=str(folder)), data)
    with pytest.raises(M2MError, match="lead 8 leaves nothing of sequence 8"):
        WaveNetTask(small(lead=8), data)


def test_the_loss_leaves_the_lead_out(data: Path) -> None:
    task = WaveNetTask(small(lead=7), data)
    batch = task.batch(0)
    loss = task.loss(batch)
    each = -torch.log_softmax(task.model(*batch), -1).gather(-1, batch[0][:, 2:, None])[..., 0]
    assert loss.item() == pytest.approx(each[:, 7 * 128 :].mean().item(), abs=1e-5)


def test_the_presets_are_configs() -> None:
    assert load_run(WaveNetRun, None, {"loop.steps": 3}).loop.average == 0.999  # one value leaves the others
    paper = load_run(WaveNetRun, None, PRESETS["paper"])
    assert paper.sequence * 128 == 16_384
    assert (paper.loop.batch_size, paper.loop.steps) == (4, 1_000_000)
    assert paper.loop.average == 0


# --- training ---------------------------------------------------------------------------------------------------------


def test_it_learns_a_tone(data: Path, tmp_path: Path) -> None:
    """From ln 64 = 4.16 nats a sample; validation is of a piece that it has not heard."""
    run = small(loop__steps=60, loop__learning_rate=0.01, loop__average=0.9, loop__validate_every=60)
    figures = train(run, data, tmp_path / "run", resume=False)
    assert figures["nll"] < 2.5
    assert figures["nll"] == pytest.approx((figures["nll/grand-piano"] + figures["nll/trumpet"]) / 2)
    model, _ = load_wavenet(tmp_path / "run" / "best")
    assert model.config == run.model


@pytest.mark.parametrize("output", ["gaussian", "mol"])
def test_continuous_outputs_learn_too(data: Path, output: str) -> None:
    task = WaveNetTask(small(model__output=output), data)
    optimiser = torch.optim.Adam(task.model.parameters(), lr=0.005)
    losses = []
    for step in range(40):
        with torch.autocast("cpu", torch.bfloat16):
            loss = task.loss(task.batch(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 1


def test_a_run_stopped_and_resumed_is_the_run_that_never_stopped(data: Path, tmp_path: Path) -> None:
    every: dict[str, Any] = {"loop__steps": 6, "loop__average": 0.9, "loop__decay": 0, "model__layers": 2}
    every |= {"sound_seconds": 0.01}
    train(small(**every), data, tmp_path / "whole", resume=False)
    train(small(**every | {"loop__steps": 4}), data, tmp_path / "parts", resume=False)
    train(small(**every), data, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / STATE) for name in ("whole", "parts"))
    assert any(name.startswith("average/") for name in whole)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_a_run_begins_with_the_weights_of_another(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of its sizes without being told; where the output is another one, with what both have."""
    train(small(loop__steps=1), data, tmp_path / "first", False)
    start = tmp_path / "first" / "best"
    sizes = {name: value for name, value in SMALL.items() if not name.startswith("model.")}
    capsys.readouterr()
    begun = sizes | {"start": str(start), "loop.steps": 1, "loop.learning_rate": 1e-9}
    train(load_run(WaveNetRun, None, begun), data, tmp_path / "same", False)
    first, same = (load_wavenet(folder)[0] for folder in (start, tmp_path / "same" / "best"))
    assert first.config == same.config
    assert all(torch.allclose(w, same.state_dict()[name], atol=1e-6) for name, w in first.state_dict().items())
    assert "random" not in capsys.readouterr().err

    train(load_run(WaveNetRun, None, begun | {"model.output": "gaussian"}), data, tmp_path / "other", False)
    assert "begun at random: input_prev.weight, input_cur.weight" in capsys.readouterr().err
    other = load_wavenet(tmp_path / "other" / "best")[0]
    assert other.config.output == "gaussian"
    assert torch.allclose(first.layers[5].cur.weight, other.layers[5].cur.weight, atol=1e-6)

    capsys.readouterr()
    train(load_run(WaveNetRun, None, begun | {"model.excitation": EXCITATION_VERSION}), data, tmp_path / "comb", False)
    said = capsys.readouterr().err
    assert "upsample.0.weight, upsample.0.bias, upsample.1.weight" in said  # one without the other means nothing
    assert "layers" not in said

    start.rename(tmp_path / "gone")
    train(load_run(WaveNetRun, tmp_path / "same" / "run.json", {"loop.steps": 2}), data, tmp_path / "same", True)
    with pytest.raises(M2MError, match="began from .*best and goes on from its own checkpoint, not from random"):
        train(load_run(WaveNetRun, None, sizes | {"loop.steps": 3}), data, tmp_path / "same", True)
    with pytest.raises(M2MError, match="not a model folder"):
        train(small(start=str(tmp_path / "none")), data, tmp_path / "run", False)


def test_sounds_for_tensorboard(data: Path) -> None:
    task = WaveNetTask(small(sound_seconds=0.05, model__layers=2), data)
    sounds = task.sounds()
    assert set(sounds) == set(INSTRUMENTS)
    for wave, rate in sounds.values():
        assert rate == 16_000
        assert wave.shape == (6 * 128,)
        assert np.abs(wave).max() <= 1
    assert WaveNetTask(small(), data).sounds() == {}


def test_the_command(data: Path, here: Callable[..., Any]) -> None:
    values = {name: value for name, value in SMALL.items() if name != "instruments"} | {"model.layers": 1}
    single = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    missing = here("train", "wavenet", str(data), *single, "--steps", "1")
    assert missing.returncode == 1
    assert "the data set has no electric-piano (4)" in missing.stderr
    config = Path("run.toml")
    config.write_text("instruments = {trumpet = 56}\nsequence = 99\n")
    shared = ["train", "wavenet", str(data), "-o", "run", "--preset", "paper", *single]
    done = here(*shared, "--config", str(config), "--distribution", "gaussian", "--steps", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["run"] == "run"
    assert result["validation"].keys() == {"nll", "nll/trumpet"}
    about = json.loads(Path("run/run.json").read_text())
    assert (about["kind"], about["sequence"], about["model"]["output"]) == ("wavenet", 8, "gaussian")
    assert about["loop"]["schedule"] == "halving"
    assert here(*shared, "--steps", "2", "--resume").returncode == 0
    assert load_wavenet(Path("run/best"))[0].config.output == "gaussian"


# --- the average ------------------------------------------------------------------------------------------------------


def test_the_average_is_exponential_and_lent_for_a_while() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    ema = EMA(model, 0.5)
    wanted = model.weight.item()
    for step, value in enumerate((1.0, 3.0, -2.0), start=1):
        model.weight.data.fill_(value)
        ema.update(step)
        keep = min(0.5, (1 + step) / (10 + step))
        wanted = keep * wanted + (1 - keep) * value
    before = model.weight
    with ema:
        assert model.weight.item() == pytest.approx(wanted)
    assert model.weight is before
    assert model.weight.item() == -2
    assert ema.tensors["weight"].item() == pytest.approx(wanted)


def test_no_average_is_the_weights_themselves() -> None:
    model = torch.nn.Linear(1, 1)
    ema = EMA(model, 0)
    ema.update(1)
    with ema:
        assert ema.tensors == {}


@pytest.mark.parametrize("output", ["mulaw", "gaussian"])
def test_noise_disturbs_what_is_heard_and_not_what_is_told(data: Path, output: str) -> None:
    task = WaveNetTask(small(model__output=output, model__classes=256, noise=6.0), data)
    samples, _ = task.batch(0)
    heard = task._with_noise(samples)
    if output == "gaussian":
        heard, samples = (torch.from_numpy(mu_law_encode(x.numpy())) for x in (heard, samples))
    apart = (heard - samples).double()
    assert heard.min() >= 0
    assert heard.max() <= 255
    assert 0.3 < apart.square().mean().sqrt() < 6
    assert apart.abs().max() <= 6 * 5
    assert torch.equal(WaveNetTask(small(), data)._with_noise(samples), samples)
