"""Training the student of Parallel WaveNet: its batches, its teacher, and distillation as whole runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training_runs import INSTRUMENTS
from training_runs import STUDENT as SMALL
from training_runs import tiny_student as small

from m2m.core.checkpoint import save_model
from m2m.core.errors import M2MError
from m2m.core.mel import MelSpec, log_mel
from m2m.core.mel_measures import log_mel_error
from m2m.core.system.run_config import load_run
from m2m.training.distributed import Group
from m2m.training.losses.student import DISTANCES, only
from m2m.training.parallel_wavenet import StudentRun, StudentTask, train
from m2m.training.pieces import TrainingSegment
from m2m.training.state import STATE
from m2m.vocoders.parallel_wavenet.network import load_student
from m2m.vocoders.shared.conditioning import EXCITATION_VERSION
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

TEACHER = WaveNetConfig(layers=4, dilation_cycle=4, residual=8, skip=8, classes=8, output="gaussian", mixtures=3)


def teacher(folder: Path, **changes: Any) -> str:
    torch.manual_seed(0)
    config = WaveNetConfig.model_validate(TEACHER.model_dump() | changes)
    save_model(folder, "wavenet", config, WaveNet(config), "")
    return str(folder)


def test_a_batch_is_a_function_of_seed_and_step(data: Path, tmp_path: Path) -> None:
    folder = teacher(tmp_path / "t")
    task, again, other = (StudentTask(small(loop__seed=seed, teacher=folder), data) for seed in (1, 1, 2))
    noise, wave, features, conditioning, switch = task.batch(5)
    assert noise.shape == wave.shape == (2, 16 * 128)
    assert features.shape == conditioning.shape == (2, 16 + 2, 80)
    assert switch.tolist() == [1, 1]
    again.batch(3)
    assert all(torch.equal(a, b) for a, b in zip(task.batch(5), again.batch(5), strict=True))
    for index in (0, 1, 2):
        assert not torch.equal(task.batch(5)[index], task.batch(6)[index])
        assert not torch.equal(task.batch(5)[index], other.batch(5)[index])


def test_processes_share_a_batch(data: Path) -> None:
    batch = StudentTask(small(), data).batch(0)
    shares = [Group(rank, 2, "cpu").share(batch) for rank in (0, 1)]
    for whole, *parts in zip(batch, *shares, strict=True):
        assert torch.equal(torch.stack(parts, dim=1).flatten(0, 1), whole)


def test_teacher_and_student_may_be_conditioned_differently(data: Path, tmp_path: Path) -> None:
    folder = teacher(tmp_path / "t", upsample=((128, 128),))
    task = StudentTask(small(teacher=folder, model__condition_on_notes=True), data)
    _, _, features, conditioning, _ = task.batch(0)
    assert features.shape == (2, 16 + 2, 80 + 176)
    assert conditioning.shape == (2, 16, 80)
    assert torch.isfinite(task.loss(task.batch(0)))


def test_the_excitation_of_a_segment_is_of_its_time(data: Path) -> None:
    task = StudentTask(small(model__excitation=EXCITATION_VERSION, sequence=30), data)
    wave, features, _ = task.segment(TrainingSegment(task.train, 1, "grand-piano", 40, 30))
    assert features.shape == (32, 80 + 128)
    excitation = task.student.to_sound(torch.zeros(30 * 128), torch.from_numpy(features[1:-1])).numpy()
    spectra = [np.abs(np.fft.rfft(x * np.hanning(len(x)))) for x in (wave[:1500], excitation[:1500])]
    assert abs(int(spectra[0].argmax()) - int(spectra[1].argmax())) <= 1
    assert log_mel_error(log_mel(excitation, MelSpec())[4:-4], features[5:-5, :80]) < 0.5
    _, blind, _ = task.segment(TrainingSegment(task.train, 1, "grand-piano", 40, 30, notes=False))
    assert np.array_equal(blind[:, :80], features[:, :80])
    assert not np.allclose(blind[:, 80:], features[:, 80:], atol=0.1)


def test_a_student_begins_with_its_teachers_upsampling(data: Path, tmp_path: Path) -> None:
    task = StudentTask(small(teacher=teacher(tmp_path / "t")), data)
    assert task.teacher is not None
    for name, tensor in task.teacher.upsample.state_dict().items():
        assert torch.equal(tensor, task.student.upsample.state_dict()[name])


def test_teacher_and_student_draw_the_same_samples(data: Path, tmp_path: Path) -> None:
    """With an excitation or without: else they could not be compared."""
    with pytest.raises(M2MError, match="the teacher has an excitation and the student has none.*model.excitation=2"):
        StudentTask(small(teacher=teacher(tmp_path / "t", excitation=EXCITATION_VERSION)), data)
    with pytest.raises(M2MError, match="the student has an excitation and the teacher has none.*model.excitation=0"):
        StudentTask(small(teacher=teacher(tmp_path / "deaf"), model__excitation=EXCITATION_VERSION), data)
    task = StudentTask(small(teacher=tmp_path / "t", model__excitation=EXCITATION_VERSION), data)
    assert torch.isfinite(task.loss(task.batch(0)))


def test_a_teacher_must_fit(data: Path, tmp_path: Path) -> None:
    with pytest.raises(M2MError, match="has µ-law classes, a continuous output was wanted"):
        StudentTask(small(teacher=teacher(tmp_path / "m", output="mulaw")), data)
    with pytest.raises(M2MError, match="different mels: fmin"):
        StudentTask(small(teacher=teacher(tmp_path / "f", mel=MelSpec(fmin=30.0))), data)
    with pytest.raises(M2MError, match="not a model folder"):
        StudentTask(small(teacher=str(tmp_path / "none")), data)


def test_each_loss_can_be_switched_off(data: Path, tmp_path: Path) -> None:
    folder = teacher(tmp_path / "t")
    for names, parts in {
        "kl": {"kl", "scale"},
        "stft": {"stft"},
        "frames,power": {"frames", "power"},
        "kl,adversarial": {"kl", "scale", "adversarial", "discriminator"},
    }.items():
        run = load_run(StudentRun, None, SMALL | {"teacher": folder} | only(names))
        task = StudentTask(run, data)
        loss = task.loss(task.batch(0))
        assert task.details().keys() == parts
        weights = {"kl": run.losses.kl, "scale": 4 * run.losses.kl, "discriminator": 1.0, "adversarial": 1.0}
        weights |= dict.fromkeys(DISTANCES, 1.0)
        assert loss.item() == pytest.approx(
            sum(weights[name] * part for name, part in task.details().items()), rel=1e-4
        )
    with pytest.raises(M2MError, match="there is no loss 'l1'; there are kl, stft"):
        only("kl,l1")
    with pytest.raises(M2MError, match="nothing is to be learned"):
        StudentTask(load_run(StudentRun, None, SMALL | only("kl")), data)


def test_the_adversary_becomes_active_later(data: Path) -> None:
    task = StudentTask(small(adversary_after=3), data)
    assert [task.batch(step)[4].tolist() for step in (2, 3)] == [[0, 0], [1, 1]]
    task.loss(task.batch(2)).backward()
    assert all(not p.grad.any() for p in task.model.discriminator.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize(("noise", "output"), [("gaussian", "gaussian"), ("logistic", "mol"), ("gaussian", "mol")])
def test_a_student_comes_nearer_to_its_teacher(data: Path, tmp_path: Path, noise: str, output: str) -> None:
    run = small(teacher=teacher(tmp_path / "t", output=output), model__noise=noise)
    run = load_run(StudentRun, None, json.loads(run.model_dump_json()) | only("kl"))
    task = StudentTask(run, data)
    before = task.validate()
    assert before.keys() == {"stft", "mel", "kl", "stft/grand-piano", "stft/trumpet"}
    optimiser = torch.optim.Adam(task.model.parameters(), lr=0.01)
    for step in range(30):
        torch.manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16):
            loss = task.loss(task.batch(step))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert task.validate()["kl"] < before["kl"] - 0.3


def test_it_learns_from_audio_alone(data: Path, tmp_path: Path) -> None:
    untrained = StudentTask(small(), data).validate()
    figures = train(
        small(loop__steps=40, loop__learning_rate=0.01, loop__average=0.9, loop__validate_every=40),
        data,
        tmp_path / "r",
        False,
    )
    assert figures["stft"] < 0.7 * untrained["stft"]
    assert "kl" not in figures
    model, _ = load_student(tmp_path / "r" / "best")
    assert model.config.flows == (4, 4)


def test_a_run_stopped_and_resumed_is_the_run_that_never_stopped(data: Path, tmp_path: Path) -> None:
    folder = teacher(tmp_path / "t", output="mol")
    every: dict[str, Any] = {"loop__steps": 6, "loop__average": 0.9, "loop__decay": 0, "teacher": folder}
    every |= {"losses__adversarial": 1.0, "model__noise": "logistic", "losses__kl": 1.0}
    train(small(**every), data, tmp_path / "whole", resume=False)
    train(small(**every | {"loop__steps": 4}), data, tmp_path / "parts", resume=False)
    train(small(**every), data, tmp_path / "parts", resume=True)
    whole, parts = (load_file(tmp_path / name / STATE) for name in ("whole", "parts"))
    assert any("discriminator" in name for name in whole)
    assert not any("teacher" in name for name in whole)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_sounds_for_tensorboard(data: Path) -> None:
    sounds = StudentTask(small(), data).sounds()
    assert set(sounds) == set(INSTRUMENTS)
    for wave, rate in sounds.values():
        assert rate == 16_000
        assert wave.shape == (6 * 128,)
        assert np.isfinite(wave).all()
    assert StudentTask(small(sound_seconds=0), data).sounds() == {}


def test_the_command(data: Path, tmp_path: Path, here: Callable[..., Any]) -> None:
    values = {name: value for name, value in SMALL.items() if name != "instruments"}
    single = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    config = Path(tmp_path / "run.toml")
    config.write_text("instruments = {trumpet = 56}\n")
    shared = ["train", "parallel-wavenet", str(data), "-o", "run", "--config", str(config), *single]
    bad = here(*shared, "--steps", "1", "--teacher", str(tmp_path / "none"))
    assert bad.returncode == 1
    assert "not a model folder" in bad.stderr
    assert len(bad.stderr.splitlines()) == 1
    done = here(*shared, "--steps", "1", "--teacher", teacher(tmp_path / "t"), "--losses", "kl,stft")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["validation"].keys() == {"stft", "mel", "kl", "stft/trumpet"}
    about = json.loads(Path("run/run.json").read_text())
    assert (about["kind"], about["losses"]["frames"], about["model"]["flows"]) == ("parallel-wavenet", 0, [4, 4])
    assert here("train", "parallel-wavenet", str(data), "-o", "run", "--steps", "2", "--resume").returncode == 0
    assert "distilled from" in Path("run/best/README.md").read_text()
    assert load_student(Path("run/best"))[0].config.residual == 8
