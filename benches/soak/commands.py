"""Commands that are disturbed, small inputs for them, and what they have left."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

M2M = [sys.executable, "-m", "m2m"]


def tune(folder: Path, seconds: float = 4.0, key: int = 60) -> Path:
    """A piece for the piano as a MIDI file."""
    import pretty_midi

    music, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
    piano.notes = [pretty_midi.Note(90, key + n * 5 % 13, 0.25 * n, 0.25 * n + 0.3) for n in range(int(seconds * 4))]
    music.instruments.append(piano)
    folder.mkdir(parents=True, exist_ok=True)
    music.write(str(folder / f"tune-{key}.mid"))
    return folder / f"tune-{key}.mid"


def build(soundfont: Path, *more: str) -> list[str]:
    """`dataset build` of the tunes in midi/, a second or two of work."""
    return ["dataset", "build", "midi", "--soundfont", str(soundfont), *more]


def finish(command: list[str], cwd: Path) -> float:
    """Seconds that a command takes, which must succeed."""
    began = time.monotonic()
    ran = subprocess.run([*M2M, *command], cwd=cwd, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, (command, ran.stderr)
    return time.monotonic() - began


def digest(folder: Path, pattern: str) -> dict[str, str]:
    """A hash of what each file says that stands under its final name."""
    paths = sorted(path for path in folder.rglob(pattern) if path.name[0] != ".")
    return {path.name: hashlib.sha256(content(path)).hexdigest() for path in paths}


def content(path: Path) -> bytes:
    """A file's bytes; of safetensors metadata and tensors, since its metadata has no order and its bytes may differ."""
    from safetensors import SafetensorError, safe_open

    if path.suffix != ".safetensors":
        return path.read_bytes()
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = [name.encode() + file.get_tensor(name).tobytes() for name in sorted(file.keys())]
            return b"".join([json.dumps(file.metadata(), sort_keys=True).encode(), *tensors])
    except SafetensorError as error:  # half-written: equal to nothing
        return str(error).encode()
