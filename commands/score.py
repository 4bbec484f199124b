"""What m2m reads in a score: `score`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from m2m.commands.terminal import output_options, print_json, print_note, print_table, score_limits

if TYPE_CHECKING:
    from m2m.core.score import Track


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--conditioner", metavar="NAME", help="Whose model's timbres are named.")
@click.option("--model", metavar="FOLDER", help="A trained model of yours, whose timbres are named.")
@score_limits
@click.option("--json", "as_json", is_flag=True, help="A JSON object, for programs.")
@output_options
def score(file: Path, conditioner: str | None, model: str | None, limits: dict[str, str], as_json: bool) -> None:
    """Show what m2m reads in a MIDI or MusicXML file: its tracks, the timbre of each, and what will not sound as written.

    The numbers and names are those of `m2m render --map track:2=.. --map name:Bass=..` and of stems.
    """
    from m2m.core.instruments import nearest_instrument
    from m2m.core.rendering.model_choice import choose_model, omissions, read_instruments
    from m2m.core.score import read_score
    from m2m.core.score_limits import Limits

    read = read_score(file, Limits.of(limits))
    instruments = read_instruments(choose_model(model, conditioner=conditioner))
    left_out = omissions(read, instruments)
    tracks = [_track(number, track) for number, track in enumerate(read.tracks, start=1)]
    for row, track in zip(tracks, read.tracks, strict=True):
        row["timbre"] = nearest_instrument(track.instrument, instruments)
    if as_json:
        not_played = [vars(omission) for omission in left_out]
        print_json({"score": read.name, "seconds": read.duration, "tracks": tracks, "not_played": not_played})
        return
    rows = [("TRACK", "NAME", "CHANNEL", "PROGRAM", "NOTES", "KEYS", "TIMBRE")]
    for row in tracks:
        keys = f"{row['lowest']}-{row['highest']}" if row["notes"] else "-"
        program = f"{row['program']} drums" if row["drums"] else str(row["program"])
        channel = f"{row['channel']}" + (f" port {row['port']}" if row["port"] else "")
        rows.append((str(row["track"]), row["name"], channel, program, str(row["notes"]), keys, row["timbre"] or "-"))
    print_table(rows)
    for omission in left_out:
        print_note(f"from {omission.second:.2f} s: {omission.text}")
    print_note(f"{read.name}: {read.duration:.1f} s")


def _track(number: int, track: Track) -> dict[str, Any]:
    keys = track.sounding["pitch"]
    return {
        "track": number,
        "name": track.name,
        "channel": track.channel,
        "port": track.port,
        "program": track.program,
        "bank": track.bank,
        "drums": track.is_drum,
        "notes": len(keys),
        "lowest": int(keys.min()) if len(keys) else None,
        "highest": int(keys.max()) if len(keys) else None,
    }
