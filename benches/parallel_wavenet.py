"""Parallel WaveNet: how fast a student is, and how near its sound comes to the truth.

    python benches/parallel_wavenet.py speed                                    # random weights of the default size
    python benches/parallel_wavenet.py speed --model models/parallel-wavenet-16k
    python benches/parallel_wavenet.py quality DATA griffin-lim wavenet=models/wavenet-mulaw-16k \
        parallel-wavenet=models/parallel-wavenet-16k --teacher models/wavenet-gaussian-16k

`speed`: samples a second of the student from mel to audio, conditioning and noise included, in PyTorch and by the kernel, on one
core and on all; of the kernel of WaveNet, of the reference's size; and of a loop over its samples in plain PyTorch, float32. The
best of `--repeats`, by the clock or, on a machine that others use, by processor time (`--cpu-time`; of all cores, a core's
share). `of a product`: the share of the rate at which a core multiplies two matrices in PyTorch, float32, that a core gets to.
M2M_CPU=avx2 has all of them do without AVX-512.

`quality`, from the true mels of a data set's files, means over files and instruments:

    constant-Q   the paper's measure: Pearson's correlation over time, mean of 84 semitones (the paper's WaveNet: 0.854)
    mel          mean absolute error of the log-mel, nepers
    floor        dB of full scale, the median RMS of 8 ms frames that are silent in the original (below -72 dB) within a quarter
                 of a second of music, where the noise of µ-law comes and goes
    NLL, KL      of --teacher: nats a sample of the true audio (with a harmonic excitation: of its difference from the audio,
                 docs/wavenet.md); and of each student from it, the distillation's divergence
"""

from __future__ import annotations

import m2m  # noqa: F401 - before torch, which M2M_CPU limits

# isort: split
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import numpy as np
import torch
from shared import (
    best,
    cpu_time_option,
    headline,
    json_option,
    multiply_adds,
    open_split,
    product_rate,
    true_mel,
    write_json,
)

from m2m.core.audio import mu_law_decode, mu_law_encode
from m2m.core.cpu.libraries import processors
from m2m.core.mel import Mel, MelSpec, log_mel
from m2m.core.mel_measures import log_mel_error
from m2m.core.plugins import registry
from m2m.core.system.processor import has_bf16
from m2m.dataset.shards import ShardReader
from m2m.evaluation.bench.results import markdown
from m2m.evaluation.measures.constant_q import constant_q_correlation
from m2m.training.losses.nll import nll
from m2m.vocoders.parallel_wavenet import torch_engine
from m2m.vocoders.parallel_wavenet.cpu import engine as student_engine
from m2m.vocoders.parallel_wavenet.engine import BlockEngine
from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig, load_student
from m2m.vocoders.parallel_wavenet.vocoder import BLOCK
from m2m.vocoders.wavenet.cpu.engine import GROUP, CpuEngine
from m2m.vocoders.wavenet.cpu.engine import available as wavenet_kernels
from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig, load_wavenet
from m2m.vocoders.wavenet.torch_engine import TorchEngine

SILENT, NEAR = 10 ** (-72 / 20), 31  # of full scale; frames of 8 ms
PRECISIONS: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
Make = Callable[[Mel, np.ndarray], np.ndarray]  # from a mel and its original


@click.group()
def main() -> None:
    """Measure Parallel WaveNet."""


@main.command()
@click.option("--model", type=click.Path(path_type=Path), help="folder of a student; random weights without")
@click.option("--seconds", default=10.0, show_default=True, help="of audio in a run")
@click.option("--streams", default=1, show_default=True, help="mels side by side")
@click.option("--repeats", default=3, show_default=True)
@click.option("--device", default="cpu", show_default=True)
@click.option("--compiled", is_flag=True, help="also through torch.compile")
@cpu_time_option
@json_option
def speed(
    model: Path | None,
    seconds: float,
    streams: int,
    repeats: int,
    device: str,
    compiled: bool,
    cpu_time: bool,
    json_path: Path | None,
) -> None:
    """The student's engines, WaveNet's kernel, and a loop over samples."""
    torch.manual_seed(0)
    student = load_student(model)[0] if model else Student(StudentConfig()).eval().requires_grad_(False)
    spec, draw = student.config.mel, np.random.default_rng(0)
    clock = time.process_time if cpu_time else time.perf_counter
    shape = (round(seconds * spec.frame_rate), spec.n_mels)
    mels = [Mel(draw.uniform(spec.silence, 0, shape).astype(np.float32), spec) for _ in range(streams)]
    plain = WaveNet(WaveNetConfig(mel=spec)).eval().requires_grad_(False)
    limit = product_rate(clock)
    sizes = f"{student.config.flows} layers of {student.config.residual} channels"
    click.echo(headline(cpu_time, f"{streams} streams, {sizes}, {device}\n"))
    click.echo(f"{'':36} {'cores':>5} {'samples/s':>12} {'x real time':>11} {'x loop':>8} {'of a product':>12}")
    rows: list[dict[str, Any]] = []

    def add(name: str, network: torch.nn.Module, threads: int, samples: float, run: Callable[[], object]) -> None:
        torch.set_num_threads(threads)
        least, _ = best(run, repeats, clock)
        rate = samples / (least / threads if cpu_time else least)
        share = rate * multiply_adds(network) / limit / threads
        rows.append({"engine": name, "cores": threads, "samples/s": rate, "of a product": share})
        real, loops = rate / spec.sample_rate, rate / rows[0]["samples/s"]
        click.echo(f"{name:36} {threads:5} {rate:12,.0f} {real:11.2f} {loops:8.1f} {share:12.2f}")

    loop, short = TorchEngine(plain, device, torch.float32), [mel.values[:4] for mel in mels]
    add("WaveNet, a loop in PyTorch, fp32", plain, 1, streams * 4 * spec.hop_length, lambda: loop.generate(short, 0))
    if wavenet_kernels():
        kernel, group = CpuEngine(plain, "int8"), [mels[0].values[:125]] * GROUP
        samples = GROUP * 125 * spec.hop_length
        add(
            f"WaveNet, the kernel, int8, {GROUP} streams",
            plain,
            1,
            samples,
            lambda: kernel.generate(group, 0, threads=1),
        )
    for threads in dict.fromkeys((1, processors())):
        for name, engine in engines(student, device, threads, compiled):
            block = round(BLOCK["cuda" if device.startswith("cuda") else "cpu"] * spec.frame_rate)
            list(engine.stream([Mel(mel.values[: 2 * block], spec) for mel in mels], 0, block))  # warms up
            run = partial(lambda engine, block: list(engine.stream(mels, 0, block)), engine, block)
            add(f"student, {name}", student, threads, streams * shape[0] * spec.hop_length, run)
    write_json(json_path, rows)


def engines(student: Student, device: str, threads: int, compiled: bool) -> Iterator[tuple[str, BlockEngine]]:
    """Each way to run a student, by name."""
    for precision in PRECISIONS if has_bf16(device) else PRECISIONS[:1]:
        for through in (False, True) if compiled else (False,):
            name = f"PyTorch, {precision}{', compiled' if through else ''}"
            yield name, torch_engine.TorchEngine(student, device, precision, through)
    if device == "cpu" and student_engine.available():
        for kernels in student_engine.BITS:
            yield f"the kernel, {kernels}", student_engine.CpuEngine(student, kernels, threads)


@main.command()
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.argument("vocoders", nargs=-1, required=True, metavar="NAME[=FOLDER]...")
@click.option("--teacher", type=click.Path(exists=True, path_type=Path), help="a WaveNet with a continuous output")
@click.option("--split", default="test", show_default=True, type=click.Choice(["test", "validation"]))
@click.option("--seconds", default=30.0, show_default=True, help="of each file and instrument")
@click.option("--files", type=click.IntRange(1), help="only the first so many")
@json_option
def quality(
    data: Path,
    vocoders: tuple[str, ...],
    teacher: Path | None,
    split: str,
    seconds: float,
    files: int | None,
    json_path: Path | None,
) -> None:
    """One table of vocoders, from true mels."""
    test = open_split(data, split, files)
    names, frames = list(test.instruments), int(seconds * test.config.mel.frame_rate)
    makers: dict[str, Make] = {"µ-law alone": lambda _, wave: mu_law_decode(mu_law_encode(wave))}
    makers |= {given: maker(given) for given in vocoders}
    results: dict[str, dict[str, list[float]]] = {name: {} for name in makers}
    for index, name in ((index, name) for index in range(len(test)) for name in names):
        mel = true_mel(test, index, name, frames)
        true = test.audio(index, name, 0, mel.samples)
        for made_by, make in makers.items():
            for figure, value in distance(true, make(mel, true)[: len(true)], mel.spec).items():
                results[made_by].setdefault(figure, []).append(value)
                results[made_by].setdefault(f"{figure}/{name}", []).append(value)
    means = {made_by: {figure: mean(values) for figure, values in found.items()} for made_by, found in results.items()}
    click.echo(f"{split}, {len(test)} files x {len(names)} instruments, first {seconds:g} s\n")
    rows = [[m, f"{f['constant-Q']:.3f}", f"{f['mel']:.3f}", f"{f['floor']:.1f}"] for m, f in means.items()]
    click.echo(markdown(["vocoder", "constant-Q", "mel, nepers", "floor, dB"], rows))
    if teacher:
        students = [Path(given.partition("=")[2]) for given in vocoders if given.startswith("parallel-wavenet=")]
        means["teacher"] = distances(data, test, names, teacher, students)
        click.echo("\n" + "\n".join(f"{name}: {value:.3f}" for name, value in means["teacher"].items()))
    write_json(json_path, means)


def maker(given: str) -> Make:
    """A vocoder by NAME, or by NAME=FOLDER with other weights than those that ship."""
    name, _, folder = given.partition("=")
    vocoder = registry.create("vocoder", name, options={"model": folder} if folder else None)
    return lambda mel, _: vocoder.synthesize(mel)


def distance(true: np.ndarray, wave: np.ndarray, spec: MelSpec) -> dict[str, float]:
    """How far a wave is from the original."""
    return {
        "constant-Q": float(np.nanmean(constant_q_correlation(true, wave, spec.sample_rate))),
        "mel": log_mel_error(log_mel(wave, spec), log_mel(true, spec)),
        "floor": floor(true, wave, spec.hop_length),
    }


def mean(values: list[float]) -> float:
    """Of those that are numbers; NaN where none is."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else np.nan


def floor(true: np.ndarray, wave: np.ndarray, hop: int) -> float:
    """Median level of frames that are silent in the original and near music, dB; NaN where there are none."""
    level, made = (np.sqrt(np.square(x[: len(x) // hop * hop].reshape(-1, hop)).mean(1)) for x in (true, wave))
    music = np.convolve(level > 10 * SILENT, np.ones(2 * NEAR + 1))[NEAR:][: len(level)] > 0
    chosen = made[(level < SILENT) & music]
    return float(20 * np.log10(np.median(chosen) + 1e-9)) if len(chosen) else np.nan


@torch.inference_mode()
def distances(data: Path, test: ShardReader, names: list[str], teacher: Path, students: list[Path]) -> dict[str, float]:
    """The teacher's NLL of two seconds from the middle of each file, and each student's divergence from it."""
    from m2m.training.losses.student import Losses
    from m2m.training.parallel_wavenet import StudentRun, StudentTask
    from m2m.training.pieces import TrainingSegment
    from m2m.training.wavenet import WaveNetRun, WaveNetTask

    network, _ = load_wavenet(teacher)
    shared: dict[str, Any] = {"teacher": teacher, "instruments": dict(test.instruments), "losses": Losses()}
    tasks = {}
    for folder in students:
        student, _ = load_student(folder)
        task = StudentTask(StudentRun(model=student.config, **shared), data)
        task.model.student = student
        tasks[f"{folder}, KL from the teacher"] = student, task
    found: dict[str, list[float]] = {}
    frames, lead = round(2 * test.config.mel.frame_rate), 48 * test.config.mel.hop_length
    teaching = WaveNetTask(WaveNetRun(model=network.config, instruments=shared["instruments"]), data)
    teaching.model = network
    for index, name in ((index, name) for index in range(len(test)) for name in names):
        at = TrainingSegment(test, index, name, max(0, (test.frames(index, name) - frames) // 2), frames)
        true, conditioning = (torch.from_numpy(part)[None] for part in teaching.segment(at))
        each = nll(network(true, conditioning), true[:, 2:], network.config.output)[:, lead:]
        found.setdefault("teacher, NLL", []).append(each.mean().item())
        for figure, (student, task) in tasks.items():
            _, features, teachers = (torch.from_numpy(x)[None] for x in task.segment(at))
            drawn = student(task.noise(np.random.default_rng(index), 1, frames * test.config.mel.hop_length), features)
            kl = task.divergence(drawn, teachers)[0][:, lead:]
            found.setdefault(figure, []).append(kl.mean().item())
    return {name: float(np.mean(values)) for name, values in found.items()}


if __name__ == "__main__":
    main()
