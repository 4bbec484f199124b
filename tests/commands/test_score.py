"""`m2m score`: what m2m reads in a file, numbered as `--map` and stems number it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import M2M
from musicxml_documents import archive, document, note, part_of

FILES = Path(__file__).parents[1] / "fixtures" / "midi"


def test_a_table_for_people(here: M2M) -> None:
    done = here("score", str(FILES / "pedal-over-program-change.mid"))
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head == ["TRACK", "NAME", "CHANNEL", "PROGRAM", "NOTES", "KEYS", "TIMBRE"]
    assert [(row[0], row[2], row[-1]) for row in rows] == [("1", "0", "grand-piano"), ("2", "40", "violin")]


def test_json_for_programs(here: M2M) -> None:
    done = here("score", "--json", str(FILES / "drums-gm2-bank-120.mid"), "--conditioner", "film")
    found = json.loads(done.stdout)
    (track,) = found["tracks"]
    assert (track["drums"], track["notes"], track["timbre"], track["bank"]) == (True, 2, None, 120 * 128)
    (omission,) = found["not_played"]
    assert (omission["kind"], omission["count"], omission["second"]) == ("drums", 2, 0.0)


def test_what_is_not_played_is_said_with_its_second(here: M2M) -> None:
    done = here("score", str(FILES / "velocity-200.mid"))
    assert "from 0.00 s: 1 messages of track 1" in done.stderr


def test_musicxml_is_shown_as_midi_is(here: M2M, tmp_path: Path) -> None:
    pytest.importorskip("music21")
    trill = note(notations="<ornaments><trill-mark/></ornaments>")
    (tmp_path / "song.mxl").write_bytes(archive(document({"P1": [note() + trill]}, part_of("Größe", 41))))
    done = here("score", "--json", str(tmp_path / "song.mxl"))
    found = json.loads(done.stdout)
    (track,) = found["tracks"]
    assert (track["name"], track["program"], track["notes"], found["seconds"]) == ("Größe", 40, 2, 1.0)
    (omission,) = found["not_played"]
    assert (omission["text"], omission["second"]) == ("ornaments are left out: 1", 0.5)


def test_stems_and_map_have_its_numbers(here: M2M, tmp_path: Path) -> None:
    shutil.copy(FILES / "two-cellos-unison.mid", "duo.mid")
    listed = json.loads(here("score", "--json", "duo.mid").stdout)["tracks"]
    assert [track["track"] for track in listed] == [1, 2]
    done = here("render", "duo.mid", "-o", "duo.wav", "--stems", "--map", "track:2=trumpet")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in Path().glob("duo*.wav")) == ["duo-1.wav", "duo-2.wav", "duo.wav"]
    mix, one, two = (soundfile.read(name)[0] for name in ("duo.wav", "duo-1.wav", "duo-2.wav"))
    np.testing.assert_allclose(mix, one + two, atol=2.5 / 32768)


@pytest.mark.parametrize("command", ["score", "render"])
def test_garbage_is_refused_before_torch_is_imported(tmp_path: Path, command: str) -> None:
    (tmp_path / "garbage.mid").write_bytes(b"RIFX" + bytes(range(256)) * 8)
    script = f"""
import sys
from m2m.cli import cli
try:
    cli([{command!r}, "garbage.mid"], standalone_mode=False)
except BaseException as error:
    print(error, file=sys.stderr)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert "garbage.mid is not a MIDI file: it does not begin with 'MThd'." in done.stderr
    assert done.stdout == "False\n"
