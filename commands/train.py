"""Training: `train mel2mel`, `wavenet`, `parallel-wavenet`, `transcriber`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import click

from m2m.commands.terminal import Choice, Command, output_options, pairs, print_json
from m2m.core.choices import Distribution, Noise, Preset
from m2m.training.losses.mel import LOSSES
from m2m.training.losses.student import NAMES, only


@click.group()
def train() -> None:
    """Train a model."""


def run_options(default: str) -> Callable[[Command], Command]:
    """What every `train` command takes, for `_train`: the data, the run's folder and config, and single values."""
    options: list[Callable[[Any], Any]] = [
        click.argument("data", type=click.Path(path_type=Path)),
        click.option(
            "-o", "--output", type=click.Path(path_type=Path), help=f"The folder of the run.  [default: {default}]"
        ),
        click.option(
            "--config", type=click.Path(path_type=Path), help="A YAML or TOML file (or the run.json of an earlier run)."
        ),
        click.option(
            "--steps", type=click.IntRange(1), help="How long; with --resume, a run can be made longer or shorter."
        ),
        click.option("--device", help="cpu or cuda."),
        pairs("--set", "values", "Any field of the config, such as loop.batch_size=32."),
        click.option(
            "--resume",
            is_flag=True,
            help="Continue the run in the output folder; its config stays, but for what is given here.",
        ),
    ]

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _train(run_type: Any, train: Callable[..., Any], name: str, chosen: dict[str, Any], given: dict[str, Any]) -> None:
    """Run a training: `chosen` are a command's own fields (None: not chosen), `given` what `run_options` were given."""
    from m2m.core.system.run_config import RUN, load_run

    folder = given["output"] or Path("runs") / name
    config = given["config"]
    if given["resume"] and config is None and (folder / RUN).exists():
        config = folder / RUN
    fields = {**chosen, "loop.steps": given["steps"], "loop.device": given["device"]}
    fields = {field: value for field, value in fields.items() if value is not None}
    run = load_run(run_type, config, fields | given["values"])
    if figures := train(run, given["data"], folder, given["resume"]):  # of several processes, one has them
        print_json({"run": str(folder), "validation": figures})


@train.command("mel2mel")
@run_options("runs/mel2mel-CONDITIONER")
@click.option("--conditioner", metavar="NAME", help="film, concat, or one that you have installed.")
@click.option("--encoder", metavar="NAME", help="onsets-frames-decay, onsets-frames, or one that you have installed.")
@pairs("--conditioner-opt", "conditioner_options", "An option of the conditioner, see `m2m plugins info`.")
@pairs("--encoder-opt", "encoder_options", "An option of the encoder.")
@click.option("--loss", type=click.Choice(list(LOSSES)), help="What is minimised.")
@click.option(
    "--start", metavar="FOLDER", help="A Mel2Mel whose weights the run begins with.  [default: random weights]"
)
@output_options
def train_mel2mel(
    conditioner: str | None, encoder: str | None, loss: str | None, start: str | None, **given: Any
) -> None:
    """Train Mel2Mel on a data set."""
    from m2m.core.plugins import registry
    from m2m.training.mel2mel import Mel2MelRun
    from m2m.training.mel2mel import train as run_training

    chosen = {"model.conditioner": conditioner, "model.encoder": encoder, "loss": loss, "start": start}
    for kind in ("conditioner", "encoder"):
        chosen |= {f"model.{kind}_options.{name}": value for name, value in given[f"{kind}_options"].items()}
    _train(Mel2MelRun, run_training, f"mel2mel-{conditioner or registry.default('conditioner')}", chosen, given)


@train.command("wavenet")
@run_options("runs/wavenet-OUTPUT")
@click.option(
    "--preset",
    type=Choice(get_args(Preset), old={"comb": "harmonic"}),
    help="harmonic: with a harmonic excitation from the score, hours on a CPU; paper: days on a GPU.",
)
@click.option(
    "--distribution",
    type=click.Choice(get_args(Distribution)),
    help="Of a sample: 256 classes, a Gaussian, or a mixture of logistics.",
)
@click.option(
    "--start",
    metavar="MODEL",
    help="A WaveNet with whose weights the run begins, those that fit.  [default: random ones]",
)
@click.option("--mel-model", metavar="FOLDER", help="A Mel2Mel whose predicted mels are mixed in.")
@output_options
def train_wavenet(
    preset: Preset | None, distribution: str | None, start: str | None, mel_model: str | None, **given: Any
) -> None:
    """Train WaveNet on a data set."""
    from m2m.training.wavenet import PRESETS, WaveNetRun
    from m2m.training.wavenet import train as run_training

    chosen = {
        **(PRESETS[preset] if preset else {}),
        "model.output": distribution,
        "start": start,
        "mel_model": mel_model,
    }
    _train(WaveNetRun, run_training, f"wavenet-{distribution or 'mulaw'}", chosen, given)


@train.command("parallel-wavenet")
@run_options("runs/parallel-wavenet")
@click.option(
    "--teacher", metavar="FOLDER", help="A WaveNet with a continuous output.  [default: none, learn from audio alone]"
)
@click.option("--noise", type=click.Choice(get_args(Noise)), help="ClariNet's flows, or Parallel WaveNet's.")
@click.option(
    "--losses",
    metavar="NAMES",
    help=f"Of {','.join(NAMES)}: these and no others (weights: --set losses.kl=0.1).",
)
@click.option(
    "--start",
    metavar="MODEL",
    help="A student with whose weights the run begins, those that fit.  [default: random ones]",
)
@click.option("--mel-model", metavar="FOLDER", help="A Mel2Mel whose predicted mels are mixed in.")
@output_options
def train_parallel_wavenet(
    teacher: str | None, noise: str | None, losses: str | None, start: str | None, mel_model: str | None, **given: Any
) -> None:
    """Train Parallel WaveNet, a student of a WaveNet that renders without a sample loop."""
    from m2m.training.parallel_wavenet import StudentRun
    from m2m.training.parallel_wavenet import train as run_training

    chosen: dict[str, object] = {"teacher": teacher, "model.noise": noise, "start": start, "mel_model": mel_model}
    chosen |= only(losses) if losses else {}
    _train(StudentRun, run_training, "parallel-wavenet", chosen, given)


@train.command("transcriber")
@run_options("runs/transcriber")
@click.option(
    "--start",
    metavar="MODEL",
    help="An onsets-frames model with whose weights the run begins.  [default: random weights]",
)
@output_options
def train_transcriber(start: str | None, **given: Any) -> None:
    """Train a transcriber, audio to notes, on a data set."""
    from m2m.training.transcriber import TranscriberRun
    from m2m.training.transcriber import train as run_training

    _train(TranscriberRun, run_training, "transcriber", {"start": start}, given)
