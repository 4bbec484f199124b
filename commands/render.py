"""Scores to audio: `render`, `rerender`, `timbres`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from m2m.commands.terminal import (
    output_options,
    pairs,
    print_error,
    print_json,
    print_line,
    print_note,
    print_table,
    score_limits,
)
from m2m.core.choices import CHANNELS, CLIP_MODE, GAIN_DB, GAIN_RANGE_DB, MAX_SEED, ClipMode, SampleFormat
from m2m.core.errors import M2MError

if TYPE_CHECKING:
    from m2m.core.rendering.batch import RenderOutcome


@click.command()
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
@pairs(
    "--map",
    "programs",
    "The timbre of some tracks: of a General MIDI program (40=..), by number (track:2=..) or by name (name:Bass=..), see "
    "`m2m score`.",
    "TRACKS=TIMBRE",
)
@pairs(
    "--mix",
    "mix",
    "The level of some tracks, by the same words: decibels (name:Bass=-6dB), mute or solo.",
    "TRACKS=LEVEL",
)
@click.option("--vocoder", metavar="NAME", help="Mel to audio, see `m2m plugins list`.")
@click.option("--conditioner", metavar="NAME", help="Takes the model that ships with it.")
@click.option("--encoder", metavar="NAME", help="Likewise.")
@click.option("--model", metavar="FOLDER", help="A trained model of yours.")
@pairs("--vocoder-opt", "vocoder_options", "An option of the vocoder, see `m2m plugins info`.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, MAX_SEED), help="Same seed, same samples.")
@click.option("--gain", default=GAIN_DB, show_default=True, type=click.FloatRange(*GAIN_RANGE_DB), help="Decibels.")
@click.option(
    "--clip-mode",
    default=CLIP_MODE,
    show_default=True,
    type=click.Choice(get_args(ClipMode)),
    help="What to do with peaks over full scale.",
)
@click.option(
    "--channels",
    type=click.Choice([str(number) for number in CHANNELS]),
    callback=lambda _context, _option, value: value and int(value),
    help="1 is mono, 2 stereo.  [default: stereo if some track of the score is panned]",
)
@click.option("--effects", is_flag=True, help="Reverb and chorus, as much as the score sends to them (CC 91, CC 93).")
@click.option(
    "--sample-format",
    type=click.Choice(get_args(SampleFormat)),
    help="Of WAV and FLAC.  [default: pcm16]",
)
@score_limits
@click.option("--stems", is_flag=True, help="Write every track by itself as well.")
@click.option("--sidecar", is_flag=True, help="Write the provenance to a .json beside the audio as well.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto.")
@click.option("-j", "--jobs", default=1, show_default=True, type=click.IntRange(1), help="Scores at once.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of what was rendered, on standard output.")
@output_options
def render(
    scores: tuple[str, ...], output: str, jobs: int, as_json: bool, programs: dict[str, str], **chosen: Any
) -> None:
    """Render MIDI files, or MusicXML files, as audio."""
    from m2m.core import track_selection
    from m2m.core.rendering import batch, mix
    from m2m.core.score_limits import Limits

    chosen["limits"] = Limits.of(chosen["limits"])
    for selector in programs:
        with _option("--map"):
            track_selection.check(selector)
    with _option("--mix"):
        mix.check_mix(chosen["mix"])
    if as_json and output == "-":
        raise click.UsageError("--json and -o - both want standard output; write the audio to a file.")
    chosen["programs"] = tuple(programs.items())
    chosen |= {name: tuple(chosen[name].items()) for name in ("mix", "vocoder_options")}
    names = _names(output, chosen)
    job = {
        "components": _pairs(chosen, "model encoder conditioner vocoder device vocoder_options"),
        "mixing": _pairs(chosen, "timbre seed gain clip_mode stems channels effects limits programs mix"),
        **dict(_pairs(chosen, "sample_format sidecar overwrite")),
    }
    to_do = [batch.RenderJob(Path(score), batch.output_path(output, Path(score), names), **job) for score in scores]
    batch.check_outputs(to_do)
    outcomes = []
    with closing(batch.run(to_do, jobs)) as rendered:  # or an interrupt could leave processes at work
        for outcome in rendered:
            outcomes.append(outcome)
            _print_outcome(outcome)
    if as_json:
        print_json([vars(outcome) for outcome in outcomes])
    if any(outcome.error for outcome in outcomes):
        raise SystemExit(1)


@contextmanager
def _option(name: str) -> Iterator[None]:
    """Blame what is wrong on an option."""
    try:
        yield
    except M2MError as error:
        raise click.BadParameter(str(error), param_hint=name) from error


def _pairs(chosen: dict[str, Any], names: str) -> tuple[tuple[str, Any], ...]:
    """Some of what was chosen, as a job has it."""
    return tuple((name, chosen[name]) for name in names.split())


def _names(output: str, chosen: dict[str, Any]) -> dict[str, str]:
    """What the fields of an output template stand for."""
    from m2m.core.plugins import registry, settings

    names = {
        "timbre": chosen["timbre"] or settings.settings().defaults.get("timbre", "own"),
        "vocoder": chosen["vocoder"] or registry.default("vocoder"),
        "seed": str(chosen["seed"]),
    }
    if "{conditioner}" in output:  # the model's config has it, which is read only where it is asked for
        from m2m.core.mel2mel import Mel2MelConfig
        from m2m.core.model_folders import read_config
        from m2m.core.rendering.model_choice import choose_model

        folder = choose_model(*(chosen[name] for name in ("model", "encoder", "conditioner")))
        names["conditioner"] = read_config(folder, "mel2mel", Mel2MelConfig).conditioner
    return names


def _print_outcome(outcome: RenderOutcome) -> None:
    if outcome.error:
        print_error(outcome.error if outcome.score in outcome.error else f"{outcome.score}: {outcome.error}")
        return
    for text in (*(omission["text"] for omission in outcome.omissions), *outcome.notices):
        print_note(f"{outcome.score}: {text}")
    print_note(f"{outcome.score} -> {', '.join(outcome.outputs)} ({outcome.seconds:.1f} s)")


@click.command()
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
@score_limits
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite an existing file.")
@output_options
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
    from m2m.core.rendering.rerender import rerender as again
    from m2m.core.score_limits import Limits

    if output is not None:
        check_output(output, None, overwrite, [file])
    result = again(file, score, model, device, Limits.of(limits))
    if output is not None:
        result.rendering.save(output, overwrite=overwrite)
    for change in result.changes:
        print_note(change)
    print_line("the same samples" if result.same else "different samples")
    if not result.same:
        raise SystemExit(1)


@click.command()
@click.option("--conditioner", metavar="NAME", help="Takes the model that ships with it.")
@click.option("--model", metavar="FOLDER", help="A trained model of yours.")
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@output_options
def timbres(conditioner: str | None, model: str | None, as_json: bool) -> None:
    """List the instruments of a model's timbre space, and the General MIDI programs that each speaks for."""
    from m2m.core.instruments import FIRST_KIT, family, is_kit
    from m2m.core.rendering.model_choice import choose_model

    folder = choose_model(model, conditioner=conditioner)  # before torch
    from m2m.core.mel2mel import load_mel2mel
    from m2m.core.rendering.pipeline import timbre_space

    space = timbre_space(load_mel2mel(folder)[0])
    speaks, plane = space.speaks_for(), space.plane().round(3).tolist()
    rows = [
        {"name": name, "program": number % FIRST_KIT, "drums": is_kit(number), "family": family(number),
         "plane": None if is_kit(number) else at, "point": point, "programs": speaks[name]}
        for (name, number), at, point in zip(space.instruments.items(), plane, space.points.tolist(), strict=True)
    ]  # fmt: skip
    if as_json:
        print_json({"model": folder.name, "timbres": rows})
        return
    table = [("NAME", "PROGRAM", "ON THE MAP", "SPEAKS FOR PROGRAMS", "FAMILY")]
    for row in sorted(rows, key=lambda row: (row["drums"], row["program"])):
        program = f"kit {row['program']}" if row["drums"] else str(row["program"])
        at = "-" if row["drums"] else "{:6.2f} {:6.2f}".format(*row["plane"])
        table.append((row["name"], program, at, _ranges(row["programs"]) or "drums", row["family"]))
    print_table(table)


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] as '0-2 5'."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return " ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
