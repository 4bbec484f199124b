"""The `m2m` command. Thin: a command reads its arguments, imports what it needs, calls it; so `--help` is instant.

Standard output carries results only; notes, progress and errors go to standard error. A failure that its reader can
mend is one line and exit code 1, wrong usage is 2, Ctrl-C is 130. M2M_DEBUG=1 shows tracebacks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from m2m import __version__
from m2m.core import progress
from m2m.core.errors import M2MDeprecationWarning, explain

Command = TypeVar("Command", bound=Callable[..., Any])
LEAVE_SECONDS = 2.0
_verbose = False


def talk(command: Command) -> Command:
    """Give a command `-q` and `-v`; the group has them too, so they may stand before or after the command's name.

    And while it runs, standard output carries nothing but its results.
    """

    def set_quiet(_: click.Context, __: click.Parameter, on: bool) -> None:
        progress.quiet |= on

    def set_verbose(_: click.Context, __: click.Parameter, on: bool) -> None:
        global _verbose
        _verbose |= on

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        with progress.results_only():
            return command(*args, **kwargs)

    flag: dict[str, Any] = {"is_flag": True, "expose_value": False}
    talking: Any = guarded
    talking = click.option("-v", "--verbose", callback=set_verbose, help="Say more on standard error.", **flag)(talking)
    talking = click.option("-q", "--quiet", callback=set_quiet, help="Say nothing but errors.", **flag)(talking)
    return cast("Command", talking)


def _pairs(flag: str, name: str, help: str, what: str = "NAME=VALUE") -> Callable[[Command], Command]:
    """A repeatable option KEY=VALUE, which the command gets as a dictionary."""

    def split(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
        for pair in given:
            if "=" not in pair:
                raise click.BadParameter(f"{pair!r} came, {what} was wanted.")
        return dict(pair.split("=", 1) for pair in given)

    return click.option(flag, name, multiple=True, callback=split, metavar=what, help=help)


def put(text: str) -> None:
    """A line of the result, on standard output."""
    click.echo(text, file=progress.results())


def note(text: str, verbose: bool = False) -> None:
    """A line on standard error, unless --quiet; with `verbose` only under --verbose."""
    if _verbose or not verbose:
        progress.say(text)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--plugins",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your plugins.toml: defaults, options, components switched off.  [default: M2M_PLUGINS, else ./plugins.toml]",
)
@talk
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli(plugins: Path | None) -> None:
    """Render scores as music with neural networks; every stage is a plugin."""
    if plugins is not None:
        os.environ["M2M_PLUGINS"] = str(plugins.absolute())  # worker processes read it too


@cli.group()
def plugins() -> None:
    """List the installed components, look into one, check one, write a new one."""


def _kind(help: str) -> Callable[[Command], Command]:
    return click.option("--kind", type=click.Choice(["encoder", "conditioner", "vocoder", "transcriber"]), help=help)


@plugins.command("list")
@_kind("Only this kind.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
@talk
def list_plugins(kind: str | None, as_json: bool) -> None:
    """List encoders, conditioners and vocoders, importing none of them."""
    from m2m.core import registry

    found = registry.components(kind)
    if as_json:
        _print_json([vars(component) for component in found])
        return
    defaults = {(k, registry.default(k)) for k in registry.KINDS}
    rows = [("KIND", "NAME", "STATUS", "PACKAGE", "SUMMARY")]
    for c in found:
        star = "*" if (c.kind, c.name) in defaults else ""
        rows.append((c.kind, c.name + star, c.status, f"{c.distribution} {c.version}", c.note or c.summary))
    _print_table(rows)
    note("* is the default; `m2m plugins info NAME` shows options")


@plugins.command("info")
@click.argument("name")
@_kind("Needed where two kinds share the name.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@talk
def plugin_info(name: str, kind: str | None, as_json: bool) -> None:
    """Show one component and its options; loads it."""
    from m2m.core import registry
    from m2m.core.options import describe

    component = registry.find(kind, name)
    loaded = registry.load(component.kind, name)
    options = describe(loaded.Options)
    if as_json:
        _print_json(vars(component) | {"api_version": loaded.API_VERSION, "options": [vars(o) for o in options]})
        return
    put(f"{component}: {component.summary}")
    put(f"{component.target}, API version {loaded.API_VERSION}  {component.url}".rstrip())
    put("\nOptions:" if options else "\nIt has no options.")
    _print_table(
        [(f"  {o.name}", o.type, "required" if o.required else f"= {o.default}", o.description) for o in options]
    )


@plugins.command("new")
@click.argument("name")
@click.option("--kind", type=click.Choice(["vocoder", "conditioner", "encoder"]), required=True, help="What it is.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path(), help="Where its folder is made.  [default: here]"
)
@talk
def new_plugin(name: str, kind: str, output: Path) -> None:
    """Write a package for a plugin: complete, installable, with tests that pass."""
    from m2m.core import scaffold

    folder = scaffold.new_plugin(name, kind, output)
    put(str(folder))
    note(f"next: pip install -e '{folder}[test]' && m2m plugins check {name}")


@plugins.command("check")
@click.argument("name")
@_kind("Needed where two kinds share the name.")
@_pairs("--opt", "options", "An option that it is set up with, see `m2m plugins info`.")
@click.option(
    "--timeout", default=120.0, show_default=True, type=click.FloatRange(1), help="Seconds that a test may take."
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@talk
def check_plugin(name: str, kind: str | None, options: dict[str, str], timeout: float, as_json: bool) -> None:
    """Check whether a component keeps its contract; the exit code is 1 if not."""
    from m2m.core import registry, testing

    component = registry.find(kind, name)
    checks = []
    for check in testing.check(component.kind, name, options, timeout):
        checks.append(check)
        if not as_json:
            put(f"{check.status:7} {check.seconds:5.1f} s  {check.name.replace('_', ' ')}: {check.text}")
    failed = sum(check.status == "failed" for check in checks)
    if as_json:
        _print_json(vars(component) | {"kept": not failed, "checks": [vars(check) for check in checks]})
    else:
        done = sum(check.status == "passed" for check in checks)
        put(f"{component}: {done} passed, {failed} failed, {len(checks) - done - failed} skipped")
    if failed:
        raise SystemExit(1)


def _limit(command: Command) -> Command:
    """Give a command `--limit`, see core/midi.py."""
    return _pairs(
        "--limit",
        "limits",
        "Read scores beyond the usual size: notes (100000), seconds (7200), polyphony (256), tracks (256).",
        "NAME=NUMBER",
    )(command)


@cli.command()
@click.argument("scores", nargs=-1, required=True, metavar="SCORE.mid...")
@click.option(
    "-o",
    "--output",
    default="{stem}.wav",
    show_default=True,
    metavar="FILE",
    help="A file (.wav, .flac, .ogg, .mp3), a template of {stem}, {timbre}, {vocoder}, {conditioner} and {seed}, or - for "
    "standard output.",
)
@click.option(
    "--timbre",
    help="A name ('trumpet'), a mixture ('trumpet:0.7,church-organ:0.3') or a path in seconds "
    "('0:grand-piano,30:vibraphone', with ';' between its points '0:trumpet; 8:map@0.2,-0.5').  "
    "[default: each track's own program]",
)
@_pairs("--map", "programs", "The timbre of all tracks of a General MIDI program, 0 to 127.", "PROGRAM=TIMBRE")
@click.option("--vocoder", metavar="NAME", help="Mel to audio, see `m2m plugins list`.")
@click.option("--conditioner", metavar="NAME", help="Takes the model that ships with it.")
@click.option("--encoder", metavar="NAME", help="Likewise.")
@click.option("--model", metavar="FOLDER", help="A trained model of yours.")
@_pairs("--vocoder-opt", "vocoder_options", "An option of the vocoder, see `m2m plugins info`.")
@click.option(
    "--seed", default=0, show_default=True, type=click.IntRange(0, 2**32 - 1), help="Same seed, same samples."
)
@click.option("--gain", default=9.0, show_default=True, type=click.FloatRange(-60, 60), help="Decibels.")
@click.option(
    "--clip-mode",
    default="rescale",
    show_default=True,
    type=click.Choice(["rescale", "clamp", "none"]),
    help="What to do with peaks over full scale.",
)
@click.option(
    "--sample-format",
    type=click.Choice(["pcm16", "pcm24", "pcm32", "float"]),
    help="Of WAV and FLAC.  [default: pcm16]",
)
@_limit
@click.option("--stems", is_flag=True, help="Write every track by itself as well.")
@click.option("--sidecar", is_flag=True, help="Write the provenance to a .json beside the audio as well.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto.")
@click.option("-j", "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Scores at once.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of what was rendered, on standard output.")
@talk
def render(
    scores: tuple[str, ...], output: str, vocoder_options: dict[str, str], programs: dict[str, str], **chosen: Any
) -> None:
    """Render MIDI files as audio."""
    from m2m.core import batch, config, registry
    from m2m.core.midi import Limits

    chosen["limits"] = Limits.of(chosen["limits"])
    for program in programs:
        if not (program.isascii() and program.isdecimal() and int(program) < 128):
            raise click.BadParameter(f"{program!r} is no General MIDI program, 0 to 127.", param_hint="--map")
    if chosen["as_json"] and output == "-":
        raise click.UsageError("--json and -o - both want standard output; write the audio to a file.")
    take = chosen.pop
    components = {name: take(name) for name in ("model", "encoder", "conditioner", "vocoder", "device")}
    mixing = {name: take(name) for name in ("timbre", "seed", "gain", "clip_mode", "stems", "limits")}
    names = {
        "timbre": mixing["timbre"] or config.settings().defaults.timbre or "own",
        "vocoder": components["vocoder"] or registry.default("vocoder"),
        "seed": str(mixing["seed"]),
    }
    if "{conditioner}" in output:  # looked up only where it is asked for, since it is the model that knows
        from m2m.core.checkpoint import read_config
        from m2m.core.mel2mel import Mel2MelConfig
        from m2m.core.pipeline import choose_model

        folder = choose_model(*(components[name] for name in ("model", "encoder", "conditioner")))
        names["conditioner"] = read_config(folder, "mel2mel", Mel2MelConfig).conditioner
    numbers = tuple((int(program), text) for program, text in programs.items())
    jobs = [
        batch.Job(
            score=Path(score),
            out=batch.output_path(output, Path(score), names),
            components=(*components.items(), ("vocoder_options", tuple(vocoder_options.items()))),
            mixing=(*mixing.items(), ("programs", numbers)),
            **{name: chosen[name] for name in ("sample_format", "sidecar", "overwrite")},
        )
        for score in scores
    ]
    batch.check_outputs(jobs)
    outcomes = []
    with closing(batch.run(jobs, chosen["jobs"])) as rendered:  # or an interrupt could leave processes at work
        for outcome in rendered:
            outcomes.append(outcome)
            if outcome.error:
                named = outcome.error if outcome.score in outcome.error else f"{outcome.score}: {outcome.error}"
                click.echo(f"m2m: error: {named}", err=True)
                continue
            for text in (*(omission["text"] for omission in outcome.omissions), *outcome.notices):
                note(f"{outcome.score}: {text}")
            note(f"{outcome.score} -> {', '.join(outcome.outputs)} ({outcome.seconds:.1f} s)")
    if chosen["as_json"]:
        _print_json([vars(outcome) for outcome in outcomes])
    if any(outcome.error for outcome in outcomes):
        raise SystemExit(1)


@cli.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to write the second rendering.  [default: it is only compared]",
)
@click.option("--score", type=click.Path(path_type=Path), help="The score, if it has moved.")
@click.option("--model", metavar="FOLDER", help="The model, if it has moved.")
@click.option("--device", help="Another device than the file was rendered on.")
@_limit
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite an existing file.")
@talk
def rerender(
    file: Path,
    output: Path | None,
    score: Path | None,
    model: str | None,
    device: str | None,
    limits: dict[str, str],
    overwrite: bool,
) -> None:
    """Render a file of m2m's again from its tags, and say whether it is the same; the exit code is 1 if not."""
    from m2m.core.audio import check_output
    from m2m.core.midi import Limits
    from m2m.core.rerender import rerender as again

    if output is not None:
        check_output(output, None, overwrite, [file])
    result = again(file, score, model, device, Limits.of(limits))
    if output is not None:
        result.rendering.save(output, overwrite=overwrite)
    for change in result.changes:
        note(change)
    put("the same samples" if result.same else "different samples")
    if not result.same:
        raise SystemExit(1)


@cli.command()
@click.option("--conditioner", metavar="NAME", help="Takes the model that ships with it.")
@click.option("--model", metavar="FOLDER", help="A trained model of yours.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@talk
def timbres(conditioner: str | None, model: str | None, as_json: bool) -> None:
    """List the instruments of a model's timbre space, and the General MIDI programs that each speaks for."""
    from m2m.core.mel2mel import load_mel2mel
    from m2m.core.pipeline import choose_model, timbre_space

    folder = choose_model(model, conditioner=conditioner)
    space = timbre_space(load_mel2mel(folder)[0])
    speaks: dict[str, list[int]] = {name: [] for name in space.instruments}
    for program in range(128):
        speaks[space.for_program(program)].append(program)
    plane = space.plane().round(3).tolist()
    rows = [
        {"name": name, "program": program, "plane": at, "point": point, "programs": speaks[name]}
        for (name, program), at, point in zip(space.instruments.items(), plane, space.points.tolist(), strict=True)
    ]
    if as_json:
        _print_json({"model": folder.name, "timbres": rows})
        return
    table = [("NAME", "PROGRAM", "ON THE MAP", "SPEAKS FOR PROGRAMS")]
    for row in rows:
        x, y = row["plane"]
        table.append((row["name"], str(row["program"]), f"{x:6.2f} {y:6.2f}", _ranges(row["programs"])))
    _print_table(table)


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] as '0-2 5'."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


@cli.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at; others need a token.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--model", "models", multiple=True, metavar="FOLDER", help="A trained model of yours, beside those that ship."
)
@click.option(
    "--token", envvar="M2M_TOKEN", default="", help="What clients must know.  [default: made up where one is needed]"
)
@click.option(
    "--allow-host", "hosts", multiple=True, metavar="NAME", help="A name that the server may be asked for by."
)
@_pairs(
    "--limit",
    "limits",
    "How much clients may ask for, such as jobs=8 or score_seconds=120; docs/explorer.md has them all.",
)
@click.option("--open", "open_page", is_flag=True, help="Open the page in your browser.")
@talk
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    token: str,
    hosts: tuple[str, ...],
    limits: dict[str, str],
    open_page: bool,
) -> None:
    """Open the timbre explorer: a page that plays, and an HTTP API (see /docs.html on it)."""
    from m2m.core.errors import M2MError
    from m2m.core.options import validate

    try:
        from m2m.web.limits import Limits
        from m2m.web.serve import serve as run
    except ImportError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise M2MError(f"'m2m serve' needs {error.name}: pip install 'm2m[web]'.") from error

    def told(address: str) -> None:
        put(address)
        progress.results().flush()
        if open_page:
            click.launch(address)

    checked = validate(Limits, limits, "--limit")
    run(host, port, models=models, limits=checked, token=token, hosts=hosts, told=told)


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="A JSON list, for programs.")
@talk
def doctor(as_json: bool) -> None:
    """Say what is installed, what is missing, and the command that would mend it."""
    from m2m.core.doctor import examine

    findings = list(examine())
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        _print_table([(f.status, f.topic, f.text + (f"  ->  {f.cure}" if f.cure else "")) for f in findings])
    if any(finding.status == "broken" for finding in findings):
        raise SystemExit(1)


@cli.group()
def dataset() -> None:
    """Make training data."""


@dataset.command("build")
@click.argument("midi_dir", type=click.Path(path_type=Path))
@click.option("--soundfont", required=True, type=click.Path(path_type=Path), help="A .sf2 or .sf3 file.")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The folder of the data set; an unfinished one is continued.",
)
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="JSON lists 'train', 'validation', 'test'.  [default: by a hash of each file's name]",
)
@click.option("--programs", help="General MIDI programs, '0,4,11', or 'all'.  [default: the reference's ten]")
@_pairs("--set", "values", "A field of the config, such as seconds=60.")
@click.option("-j", "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes.")
@talk
def build_dataset(
    midi_dir: Path,
    soundfont: Path,
    output: Path,
    split: Path | None,
    programs: str | None,
    values: dict[str, str],
    jobs: int,
) -> None:
    """Render a directory of MIDI files through a SoundFont: notes, audio and mels of every instrument."""
    from m2m.training.config import load_run
    from m2m.training.dataset import DatasetConfig, build

    chosen: dict[str, object] = dict(values)
    if programs:
        chosen["programs"] = list(range(128)) if programs == "all" else programs.split(",")
    failed = build(midi_dir, soundfont, output, load_run(DatasetConfig, None, chosen), split, jobs)
    for message in failed:
        click.echo(f"m2m: error: {message}", err=True)
    put(str(output))
    if failed:
        raise SystemExit(1)


@cli.group()
def train() -> None:
    """Train a model."""


def _run_options(default: str) -> Callable[[Command], Command]:
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
        _pairs("--set", "values", "Any field of the config, such as loop.batch_size=32."),
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
    """Run a training: `chosen` are a command's own fields (None: not chosen), `given` what `_run_options` were given."""
    from m2m.training.config import load_run
    from m2m.training.loop import RUN

    folder = given["output"] or Path("runs") / name
    config = given["config"]
    if given["resume"] and config is None and (folder / RUN).exists():
        config = folder / RUN
    fields = {**chosen, "loop.steps": given["steps"], "loop.device": given["device"]}
    fields = {field: value for field, value in fields.items() if value is not None}
    run = load_run(run_type, config, fields | given["values"])
    if figures := train(run, given["data"], folder, given["resume"]):  # of several processes, one has them
        _print_json({"run": str(folder), "validation": figures})


@train.command("mel2mel")
@_run_options("runs/mel2mel-CONDITIONER")
@click.option("--conditioner", metavar="NAME", help="film, concat, or one that you have installed.")
@click.option("--encoder", metavar="NAME", help="onsets-frames-decay, onsets-frames, or one that you have installed.")
@_pairs("--conditioner-opt", "conditioner_options", "An option of the conditioner, see `m2m plugins info`.")
@_pairs("--encoder-opt", "encoder_options", "An option of the encoder.")
@click.option("--loss", type=click.Choice(["abs", "log-abs", "tanh-log-abs"]), help="What is minimised.")
@click.option(
    "--start", metavar="FOLDER", help="A Mel2Mel whose weights the run begins with.  [default: random weights]"
)
@talk
def train_mel2mel(
    conditioner: str | None, encoder: str | None, loss: str | None, start: str | None, **given: Any
) -> None:
    """Train Mel2Mel on a data set."""
    from m2m.core import registry
    from m2m.training.mel2mel import Mel2MelRun
    from m2m.training.mel2mel import train as run_training

    chosen = {"model.conditioner": conditioner, "model.encoder": encoder, "loss": loss, "start": start}
    for kind in ("conditioner", "encoder"):
        chosen |= {f"model.{kind}_options.{name}": value for name, value in given[f"{kind}_options"].items()}
    _train(Mel2MelRun, run_training, f"mel2mel-{conditioner or registry.default('conditioner')}", chosen, given)


@train.command("wavenet")
@_run_options("runs/wavenet-OUTPUT")
@click.option(
    "--preset",
    type=click.Choice(["comb", "paper"]),
    help="comb: it hears the score as well, and learns to sound in hours on a CPU; paper: days on a GPU.",
)
@click.option(
    "--distribution",
    type=click.Choice(["mulaw", "gaussian", "mol"]),
    help="Of a sample: 256 classes, a Gaussian, or a mixture of logistics.",
)
@click.option(
    "--start",
    metavar="MODEL",
    help="A WaveNet with whose weights the run begins, those that fit.  [default: random ones]",
)
@click.option("--mel-model", metavar="FOLDER", help="A Mel2Mel whose predicted mels are mixed in.")
@talk
def train_wavenet(
    preset: str | None, distribution: str | None, start: str | None, mel_model: str | None, **given: Any
) -> None:
    """Train WaveNet on a data set."""
    from m2m.training.wavenet import PRESETS, WaveNetRun
    from m2m.training.wavenet import train as run_training

    chosen = {**PRESETS.get(preset or "", {}), "model.output": distribution, "start": start, "mel_model": mel_model}
    _train(WaveNetRun, run_training, f"wavenet-{distribution or 'mulaw'}", chosen, given)


@train.command("parallel-wavenet")
@_run_options("runs/parallel-wavenet")
@click.option(
    "--teacher", metavar="FOLDER", help="A WaveNet with a continuous output.  [default: none, learn from audio alone]"
)
@click.option("--noise", type=click.Choice(["gaussian", "logistic"]), help="ClariNet's flows, or Parallel WaveNet's.")
@click.option(
    "--losses",
    metavar="NAMES",
    help="Of kl,stft,frames,power,adversarial: these and no others (weights: --set losses.kl=0.1).",
)
@click.option(
    "--start",
    metavar="MODEL",
    help="A student with whose weights the run begins, those that fit.  [default: random ones]",
)
@click.option("--mel-model", metavar="FOLDER", help="A Mel2Mel whose predicted mels are mixed in.")
@talk
def train_parallel_wavenet(
    teacher: str | None, noise: str | None, losses: str | None, start: str | None, mel_model: str | None, **given: Any
) -> None:
    """Train Parallel WaveNet, a student of a WaveNet that renders without a sample loop."""
    from m2m.training.parallel_wavenet import StudentRun, only
    from m2m.training.parallel_wavenet import train as run_training

    chosen: dict[str, object] = {"teacher": teacher, "model.noise": noise, "start": start, "mel_model": mel_model}
    chosen |= only(losses) if losses else {}
    _train(StudentRun, run_training, "parallel-wavenet", chosen, given)


def _listed(_: click.Context, __: click.Parameter, given: str | None) -> list[str] | None:
    """A click callback that turns 'a,b' into a list."""
    return None if given is None else [name.strip() for name in given.split(",") if name.strip()]


@cli.group(invoke_without_command=True)
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file with any of these, see docs/bench.md.")
@click.option("--vocoders", callback=_listed, metavar="NAMES", help="'griffin-lim,wavenet'.  [default: all installed]")
@click.option("--conditioners", callback=_listed, metavar="NAMES", help="'film,concat'.  [default: all with a model]")
@click.option("--losses", callback=_listed, metavar="NAMES", help="Only models trained with these.")
@click.option(
    "--models",
    callback=_listed,
    metavar="FOLDERS",
    help="Models or runs, or folders of them.  [default: those that ship]",
)
@click.option("--stages", callback=_listed, metavar="NAMES", help="Of mu-law,true-mel,predicted,mel.  [default: all]")
@click.option(
    "--data", type=click.Path(path_type=Path), help="A data set, or a folder of recordings.  [default: built in]"
)
@click.option("--split", type=click.Choice(["train", "validation", "test"]), help="Of the data set.  [default: test]")
@click.option("--files", callback=_listed, metavar="NAMES", help="Names, or the first so many.  [default: all]")
@click.option("--instruments", callback=_listed, metavar="NAMES", help="[default: all]")
@click.option("--seconds", type=float, help="Of each recording.  [default: 30]")
@click.option("--repeats", type=click.IntRange(0), help="Of the speed measurement; 0: none.  [default: 5]")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1))
@click.option("--device", help="cpu or cuda.  [default: cpu]")
@_pairs("--set", "values", "Any field of the config, such as vocoder_options.griffin-lim.iterations=5.")
@click.option("--quick", is_flag=True, help="The built-in set in under two minutes; other options go on top.")
@click.option(
    "-o",
    "--output",
    default="bench",
    show_default=True,
    type=click.Path(path_type=Path),
    help="An unfinished one is continued.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes.  [default: 1; 2 with --quick]")
@click.option("--retry", is_flag=True, help="Compute once more what has failed.")
@click.option("--json", "as_json", is_flag=True, help="What was done as a JSON object, instead of the summary.")
@click.pass_context
@talk
def bench(
    context: click.Context,
    config: Path | None,
    quick: bool,
    output: Path,
    jobs: int | None,
    retry: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare components: quality against recordings, speed, memory; tables, plots and sound in OUTPUT/report.html.

    The exit code is 1 if anything failed.
    """
    if context.invoked_subcommand:
        return
    from m2m.evaluation.bench import QUICK, run
    from m2m.evaluation.plan import BenchConfig
    from m2m.training.config import load_run

    values = given.pop("values")
    chosen = {name: value for name, value in given.items() if value is not None}
    if chosen.get("files") and chosen["files"][0].isdecimal():
        chosen["files"] = chosen["files"][0]
    jobs = jobs or (min(2, os.cpu_count() or 1) if quick else 1)
    outcome = run(load_run(BenchConfig, config, {**chosen, **values}, QUICK if quick else {}), output, jobs, retry)
    if as_json:
        _print_json({"folder": str(output), **vars(outcome)})
    else:
        put((output / "summary.md").read_text().rstrip())
    note(f"{outcome.cells} cells, {outcome.computed} computed now, {outcome.failed} failed: {output / 'report.html'}")
    if outcome.failed:
        raise SystemExit(1)


@bench.command("compare")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Also what is the same.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@talk
def compare_benches(old: Path, new: Path, everything: bool, as_json: bool) -> None:
    """Say what got better or worse from one bench to another, beyond the noise; the exit code is 1 if anything got worse."""
    from m2m.evaluation.compare import broken, compare
    from m2m.evaluation.results import read_results

    before, after = read_results(old), read_results(new)
    changes, failures = compare(before, after), broken(before, after)
    if as_json:
        _print_json({"changes": [vars(change) for change in changes], "failures": failures})
    else:
        told = [change for change in changes if everything or change.verdict != "same"]
        rows = [("", "SYSTEM", "MEASURE", "OLD", "NEW", "DIFFERENCE, 95 %")]
        rows += [
            (c.verdict, c.system, c.measure, f"{c.old:.4g}", f"{c.new:.4g}", f"{c.low:+.4g} to {c.high:+.4g}")
            for c in told
        ]
        _print_table(rows if told else [("nothing changed beyond the noise",)])
        note(f"{len(changes)} compared, {sum(c.verdict == 'same' for c in changes)} the same within the noise")
    for failure in failures:
        click.echo(f"m2m: error: {failure}", err=True)
    if failures or any(change.verdict == "worse" for change in changes):
        raise SystemExit(1)


@cli.group()
def mos() -> None:
    """Make a listening test from a bench, and compute what its listeners said."""


@mos.command("make")
@click.argument("folder", metavar="BENCH", type=click.Path(path_type=Path))
@click.option("-o", "--output", default="listening", show_default=True, type=click.Path(path_type=Path))
@click.option("--systems", metavar="NAMES", callback=_listed, help="As the bench's summary names them.  [default: all]")
@click.option(
    "--recordings", default=6, show_default=True, type=click.IntRange(1), help="How many, spread over the bench."
)
@click.option("--seconds", default=8.0, show_default=True, type=click.FloatRange(0.1), help="Of each, at most.")
@click.option("--seed", default=0, show_default=True, help="Of the choice.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite an existing test.")
@talk
def make_listening_test(folder: Path, output: Path, **chosen: Any) -> None:
    """Make a blind listening test: a page to open from a file or any web server, and the key to it, not to be shown."""
    from m2m.evaluation.listening import make

    made = make(folder, output, **chosen)
    note(f"{made.stimuli} stimuli of {made.systems} systems and {made.recordings} recordings; key: {made.key}")
    put(str(made.page))


@mos.command("report")
@click.argument("key", type=click.Path(path_type=Path))
@click.argument("ratings", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@talk
def report_listening_test(key: Path, ratings: tuple[Path, ...], as_json: bool) -> None:
    """Mean opinion scores with standard error and 95 % interval, from the listeners' RATINGS (JSON files, or folders)."""
    from m2m.evaluation.opinions import report

    found = report(key, ratings)
    if as_json:
        _print_json(vars(found))
        return
    rows = [("SYSTEM", "MOS", "STANDARD ERROR", "95 % INTERVAL", "RATINGS")]
    for s in found.systems:
        interval = f"{s['low']:.2f} to {s['high']:.2f}" if s["low"] is not None else "-"
        error = f"{s['error']:.3f}" if s["error"] is not None else "-"
        rows.append((s["system"], f"{s['mos']:.3f}", error, interval, str(s["ratings"])))
    _print_table(rows)
    for name, reason in found.screened.items():
        note(f"listener {name} is left out: {reason}")
    note(f"{found.listeners} listeners count")


def _print_json(value: object) -> None:
    put(json.dumps(value, indent=2, default=str))


def _print_table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Run the command line; every failure is one line and an exit code."""
    interrupted = [130]  # 128 + SIGINT

    def terminate(*_: object) -> None:
        interrupted[0] = 128 + signal.SIGTERM
        raise KeyboardInterrupt  # as Ctrl-C does, so that temporary files go and worker processes end

    signal.signal(signal.SIGTERM, terminate)
    # GNU OpenMP's threads wait for each other in a loop of 300,000 spins, in which a busy machine loses nearly all its time
    # (seen: 37x real time became 1.1x); a thirtieth of that costs an idle machine nothing.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    shown = warnings.showwarning

    def show(message: Any, category: Any, *where: Any, **more: Any) -> None:
        if issubclass(category, M2MDeprecationWarning):  # for the user: a line, without the code that it came from
            note(f"m2m: {message}")
        else:
            shown(message, category, *where, **more)

    warnings.showwarning = show
    try:
        code = cli.main(prog_name="m2m", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be told from a success
    except click.ClickException as error:  # wrong usage: click shows it with the command's synopsis
        error.show()
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        code = interrupted[0]
    except BrokenPipeError:  # the reader has had enough: nothing is left to say, nor to flush at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except Exception as error:
        click.echo(f"m2m: error: {explain(error)}", err=True)
        code = 1
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # nothing is left to tidy, and a handler may not run while Python ends
        signal.signal(number, signal.SIG_DFL)
    _leave_threads(code or 0)
    sys.exit(code or 0)


def _leave_threads(code: int) -> None:
    """Python waits at its end for every thread; one that a plugin has started and never ends is waited for in vain."""
    registry = sys.modules.get("m2m.core.registry")
    if registry is None or not registry.lingering():
        return

    def leave() -> None:
        left = {str(component) for component in registry.lingering().values()}
        if left and not threading.main_thread().is_alive():
            print(
                f"m2m: {' and '.join(sorted(left))} left a thread running, m2m ends without it",
                file=sys.stderr,
                flush=True,
            )
            os._exit(code)

    watch = threading.Timer(LEAVE_SECONDS, leave)
    watch.daemon = True
    watch.start()
