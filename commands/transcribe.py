"""Audio to notes, and to audio again: `transcribe`, `translate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from m2m.commands.terminal import output_options, pairs, print_error, print_json, print_note
from m2m.core.choices import MAX_SEED
from m2m.core.errors import M2MError, explain

if TYPE_CHECKING:
    from m2m.core.rendering.pipeline import Pipeline
    from m2m.core.transcription import Scribe, Transcription

SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64")


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORDING.wav...")
@click.option(
    "-o",
    "--output",
    default="{stem}.mid",
    show_default=True,
    metavar="FILE.mid",
    help="A MIDI file, or a template of {stem}.",
)
@click.option("--transcriber", metavar="NAME", help="Audio to notes, see `m2m plugins list`.")
@pairs("--transcriber-opt", "options", "An option of the transcriber, see `m2m plugins info`.")
@click.option("--model", metavar="FOLDER", help="A trained model of the transcriber: its option `model`.")
@click.option(
    "--program", default=0, show_default=True, type=click.IntRange(0, 127), help="General MIDI program of the track."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite existing files.")
@click.option(
    "--json", "as_json", is_flag=True, help="A JSON list of what was heard, notes included, on standard output."
)
@output_options
def transcribe(
    recordings: tuple[Path, ...],
    output: str,
    transcriber: str | None,
    options: dict[str, str],
    model: str | None,
    program: int,
    device: str,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Write the notes of recordings as MIDI files. A folder stands for the audio files in it."""
    from m2m.core.rendering.batch import output_path
    from m2m.core.transcription import Scribe

    files = [file for recording in recordings for file in _audio_files(recording)]
    outs = [output_path(output, file, {}) for file in files]
    if any(out.suffix.lower() not in (".mid", ".midi") for out in outs):
        raise M2MError(f"{output} is no MIDI file's name; give it the extension .mid.")
    if len(set(outs)) < len(outs):
        raise M2MError(f"several recordings would be written to {outs[0]}; use {{stem}} in -o to keep them apart.")
    scribe = Scribe(transcriber, options | ({"model": model} if model else {}), device)
    rows = [_transcribe(scribe, file, out, program, overwrite) for file, out in zip(files, outs, strict=True)]
    if as_json:
        print_json(rows)
    if any(row["error"] for row in rows):
        raise SystemExit(1)


def _audio_files(recording: Path) -> list[Path]:
    """A recording, or those in a folder. Raises M2MError for a folder without any."""
    if not recording.is_dir():
        return [recording]
    files = sorted(path for path in recording.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise M2MError(f"{recording} holds no audio files; those end in {', '.join(SUFFIXES)}.")
    return files


def _transcribe(scribe: Scribe, file: Path, out: Path, program: int, overwrite: bool) -> dict[str, Any]:
    """Transcribe one recording; what fails is a row with its error, and does not stop the others."""
    from m2m.core.system.files import make_folder, refuse_overwrite
    from m2m.core.transcription import write_midi

    row: dict[str, Any] = {"recording": str(file), "output": str(out), "error": ""}
    try:
        refuse_overwrite(out, overwrite, [file])
        found = scribe.transcribe(file)
        make_folder(out.parent)
        write_midi(out, found.score(program), overwrite)
    except Exception as error:
        row["error"] = explain(error)
        print_error(row["error"] if str(file) in row["error"] else f"{file}: {row['error']}")
        return row
    names = ("start", "end", "key", "velocity", "confidence")
    told = [None if sure != sure else round(sure, 3) for sure in found.confidence.tolist()]
    notes = [
        dict(zip(names, (*note, sure), strict=True)) for note, sure in zip(found.notes.tolist(), told, strict=True)
    ]
    print_note(f"{file} -> {out}: {_summary(found)}")
    return row | {"seconds": found.seconds, "confidence": found.sureness, "unsure": found.unsure, "notes": notes}


@click.command()
@click.argument("recordings", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORDING.wav...")
@click.option(
    "-o",
    "--output",
    default="{stem}-{timbre}.wav",
    show_default=True,
    metavar="FILE",
    help="A file (.wav, .flac, .ogg, .mp3), or a template of {stem}, {timbre} and {vocoder}.",
)
@click.option(
    "--timbre",
    help="A name ('trumpet'), a mixture or a path, as for `m2m render`.  [default: the instrument that is heard]",
)
@click.option("--transcriber", metavar="NAME", help="Audio to notes, see `m2m plugins list`.")
@pairs("--transcriber-opt", "options", "An option of the transcriber, see `m2m plugins info`.")
@click.option("--vocoder", metavar="NAME", help="Mel to audio, see `m2m plugins list`.")
@pairs("--vocoder-opt", "vocoder_options", "An option of the vocoder, see `m2m plugins info`.")
@click.option("--model", metavar="FOLDER", help="A trained model of yours, or one that ships.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0, MAX_SEED), help="Same seed, same samples.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, or auto.")
@click.option("-y", "--overwrite", is_flag=True, help="Overwrite existing files.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list of what was made, on standard output.")
@output_options
def translate(
    recordings: tuple[Path, ...],
    output: str,
    transcriber: str | None,
    options: dict[str, str],
    overwrite: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Play recordings on another instrument: audio to notes, notes to audio. A folder stands for the audio files in it."""
    from m2m.core.audio import check_output
    from m2m.core.plugins import registry
    from m2m.core.rendering.batch import output_path
    from m2m.core.rendering.pipeline import Pipeline
    from m2m.core.transcription import Scribe

    files = [file for recording in recordings for file in _audio_files(recording)]
    vocoder = chosen["vocoder"] or registry.default("vocoder")
    names = {"timbre": chosen["timbre"] or "own", "vocoder": vocoder}
    outs = [output_path(output, file, names) for file in files]
    if len(set(outs)) < len(outs):
        raise M2MError(f"several recordings would be written to {outs[0]}; use {{stem}} in -o to keep them apart.")
    for file, out in zip(files, outs, strict=True):
        check_output(out, None, overwrite, [file])
    pipeline = Pipeline(**{name: chosen[name] for name in ("model", "vocoder", "vocoder_options", "device")})
    if chosen["timbre"]:
        pipeline.timbres.parse(chosen["timbre"])  # a wrong name is told before anything is computed
    scribe = Scribe(transcriber, options, pipeline.device)
    rows = [
        _translate(file, out, scribe, pipeline, chosen["timbre"], chosen["seed"], overwrite)
        for file, out in zip(files, outs, strict=True)
    ]
    if as_json:
        print_json(rows)
    if any(row["error"] for row in rows):
        raise SystemExit(1)


def _translate(
    file: Path, out: Path, scribe: Scribe, pipeline: Pipeline, timbre: str | None, seed: int, overwrite: bool
) -> dict[str, Any]:
    """Translate one recording; what fails is a row with its error, and does not stop the others."""
    from m2m.core.instruments import program_name
    from m2m.core.rendering.translation import translate
    from m2m.core.system.files import make_folder

    row: dict[str, Any] = {"recording": str(file), "output": str(out), "error": ""}
    try:
        made = translate(file, scribe, pipeline, timbre=timbre, seed=seed)
        make_folder(out.parent)
        made.rendering.save(out, overwrite=overwrite)
    except Exception as error:
        row["error"] = explain(error)
        print_error(row["error"] if str(file) in row["error"] else f"{file}: {row['error']}")
        return row
    found, heard = made.transcription, made.heard
    if heard:
        row |= {"instrument": program_name(heard.program), "program": heard.program, "probability": heard.probability}
        print_note(f"{file}: {row['instrument']} was heard, probability {heard.probability:.2f}")
    if made.rendering.notice:
        print_note(f"{file}: {made.rendering.notice}")
    print_note(f"{file} -> {out}: {_summary(found)}")
    return row | {
        "seconds": found.seconds,
        "notes": len(found.notes),
        "confidence": found.sureness,
        "unsure": found.unsure,
        "gain": made.rendering.provenance["gain"],
    }


def _summary(found: Transcription) -> str:
    """How many notes were found, and how sure that is."""
    sureness = "" if found.sureness is None else f", confidence {found.sureness:.2f}, {found.unsure:,} unsure"
    return f"{len(found.notes):,} notes in {found.seconds:.1f} s{sureness}"
