"""Training WaveNet: what it is given of a data set, that it learns, and that a run stops and goes on without a trace."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import INSTRUMENTS, WAVENET, same_tensors, tiny_wavenet

from m2m.core.audio import mu_law_decode, mu_law_encode
from m2m.core.mel import MelSpec, log_mel
from m2m.core.mel_measures import log_mel_error
from m2m.core.system.run_config import load_run
from m2m.dataset.shards import ShardReader
from m2m.training.pieces import TrainingSegment
from m2m.training.state import STATE
from m2m.training.wavenet import PRESETS, WaveNetRun, WaveNetTask, train
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.network import load_wavenet

# Batches.


def test_a_batch_is_a_function_of_seed_and_step(data: Path) -> None:
    task, again, other = (WaveNetTask(tiny_wavenet(loop__seed=seed), data) for seed in (1, 1, 2))
    samples, features = task.batch(5)
    assert samples.shape == (2, 2 + 8 * 128)
    assert features.shape == (2, 8 + 2, 80)
    again.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(task.batch(5), again.batch(5), strict=True))
    assert not torch.equal(task.batch(5)[1], task.batch(6)[1])
    assert not torch.equal(task.batch(5)[1], other.batch(5)[1])


def test_with_an_excitation_the_samples_are_what_it_lacks(data: Path) -> None:
    """As sound they have the true mel and are near the excitation; a part of the segment has that part of the samples."""
    task = WaveNetTask(tiny_wavenet(model__excitation=EXCITATION_VERSION, model__output="gaussian"), data)
    samples, features = task.segment(TrainingSegment(task.train, 1, "grand-piano", 40, 30))
    assert samples.shape == (2 + 30 * 128,)
    assert features.shape == (30 + 2, 80 + 128)
    conditioning = torch.from_numpy(features[1:-1])
    sound = task.model.to_sound(torch.from_numpy(samples[2:]), conditioning).numpy()
    excitation = task.model.to_sound(torch.zeros(30 * 128), conditioning).numpy()
    true = task.wave(TrainingSegment(task.train, 1, "grand-piano", 40, 30))
    found, wanted = (np.exp(log_mel(x, MelSpec()))[5:-5] for x in (sound, true))
    assert np.abs(found - wanted).max() < 0.2 * wanted.max()
    assert 0 < np.square(sound - excitation).sum() < 0.1 * np.square(sound).sum()
    part, _ = task.segment(TrainingSegment(task.train, 1, "grand-piano", 50, 10))
    assert np.allclose(part, samples[10 * 128 : 2 + 20 * 128], atol=1e-4)


def test_griffin_lim_makes_magnitudes_of_what_is_learned_truer(data: Path) -> None:
    at, errors = TrainingSegment(ShardReader(data, "train"), 1, "grand-piano", 40, 30), []
    for iterations in (0, 4):
        task = WaveNetTask(
            tiny_wavenet(
                model__excitation=EXCITATION_VERSION, model__output="gaussian", griffin_lim_iterations=iterations
            ),
            data,
        )
        samples, features = task.segment(at)
        sound = task.model.to_sound(torch.from_numpy(samples[2:]), torch.from_numpy(features[1:-1])).numpy()
        errors.append(log_mel_error(*(log_mel(x, MelSpec())[5:-5] for x in (sound, task.wave(at)))))
        part, _ = task.segment(replace(at, start=50, frames=10))
        assert np.allclose(part, samples[10 * 128 : 2 + 20 * 128], atol=1e-4)
    assert errors[1] < 0.9 * errors[0]


def test_with_an_excitation_classes_are_of_what_it_lacks(data: Path) -> None:
    values, classes = (
        WaveNetTask(
            tiny_wavenet(model__excitation=EXCITATION_VERSION, model__output=output, model__classes=256), data
        ).batch(3)[0]
        for output in ("gaussian", "mulaw")
    )
    assert (torch.from_numpy(mu_law_decode(classes.numpy())) - values).abs().max() < 0.02


def test_the_loss_leaves_the_lead_out(data: Path) -> None:
    task = WaveNetTask(tiny_wavenet(lead=7), data)
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


# Training.


def test_it_learns_a_tone(data: Path, tmp_path: Path) -> None:
    """From ln 64 = 4.16 nats a sample; validation is of a piece that it was not trained on."""
    run = tiny_wavenet(loop__steps=60, loop__learning_rate=0.01, loop__average=0.9, loop__validate_every=60)
    figures = train(run, data, tmp_path / "run", resume=False)
    assert figures["nll"] < 2.5
    assert figures["nll"] == pytest.approx((figures["nll/grand-piano"] + figures["nll/trumpet"]) / 2)
    model, _ = load_wavenet(tmp_path / "run" / "best")
    assert model.config == run.model


@pytest.mark.parametrize("output", ["gaussian", "mol"])
def test_continuous_outputs_learn_too(data: Path, output: str) -> None:
    task = WaveNetTask(tiny_wavenet(model__output=output), data)
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
    train(tiny_wavenet(**every), data, tmp_path / "whole", resume=False)
    train(tiny_wavenet(**every | {"loop__steps": 4}), data, tmp_path / "parts", resume=False)
    train(tiny_wavenet(**every), data, tmp_path / "parts", resume=True)
    assert any(name.startswith("average/") for name in load_file(tmp_path / "whole" / STATE))
    same_tensors(tmp_path / "whole" / STATE, tmp_path / "parts" / STATE)


def test_the_instruments_are_the_data_sets(data: Path, tmp_path: Path) -> None:
    values = {name: value for name, value in WAVENET.items() if name != "instruments"}
    train(load_run(WaveNetRun, None, values | {"loop.steps": 1}), data, tmp_path / "run", resume=False)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["instruments"] == INSTRUMENTS


def test_sounds_for_tensorboard(data: Path) -> None:
    task = WaveNetTask(tiny_wavenet(sound_seconds=0.05, model__layers=2), data)
    sounds = task.sounds()
    assert set(sounds) == set(INSTRUMENTS)
    for wave, rate in sounds.values():
        assert rate == 16_000
        assert wave.shape == (6 * 128,)
        assert np.abs(wave).max() <= 1
    assert WaveNetTask(tiny_wavenet(), data).sounds() == {}


def test_the_command(data: Path, here: Callable[..., Any]) -> None:
    values = {name: value for name, value in WAVENET.items() if name != "instruments"} | {"model.layers": 1}
    single = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    named = ("--set", 'instruments={"electric-piano": 4}')
    missing = here("train", "wavenet", str(data), *single, *named, "--steps", "1")
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


@pytest.mark.parametrize("output", ["mulaw", "gaussian"])
def test_noise_is_added_to_the_past_and_not_to_what_is_predicted(data: Path, output: str) -> None:
    task = WaveNetTask(tiny_wavenet(model__output=output, model__classes=256, noise=6.0), data)
    samples, _ = task.batch(0)
    noisy = task._with_noise(samples)
    if output == "gaussian":
        noisy, samples = (torch.from_numpy(mu_law_encode(x.numpy())) for x in (noisy, samples))
    apart = (noisy - samples).double()
    assert noisy.min() >= 0
    assert noisy.max() <= 255
    assert 0.3 < apart.square().mean().sqrt() < 6
    assert apart.abs().max() <= 6 * 5
    assert torch.equal(WaveNetTask(tiny_wavenet(), data)._with_noise(samples), samples)
