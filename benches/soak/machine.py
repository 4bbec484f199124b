"""A machine at its limits: many commands at once, a full disk, many packages."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from soak.commands import M2M, build, digest, finish, tune


def crowd(folder: Path, soundfont: Path, **_: Any) -> dict[str, Any]:
    """Twenty renders into one folder and two builds of one data set, all at once."""
    scores = [tune(folder / "midi", 2.0, key) for key in range(50, 54)]
    finish(["render", str(scores[0]), "-o", "reference.wav"], folder)
    making = build(soundfont, "--programs", "0,56", "--set", "seconds=3", "--set", "tail=0.5")
    finish([*making, "-o", "reference-set"], folder)
    commands = [["render", str(scores[0]), "-o", f"out-{n}.wav"] for n in range(20)] + [[*making, "-o", "set"]] * 2
    running = [
        subprocess.Popen([*M2M, *c], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands
    ]
    said = [process.communicate()[1].decode() for process in running]
    waves = digest(folder, "out-*.wav").values()
    made, reference = (digest(folder / name, "*.safetensors") for name in ("set", "reference-set"))
    return {
        "exit codes": sorted({process.returncode for process in running}),
        "renders": len(waves),
        "all the same as alone": set(waves) == set(digest(folder, "reference.wav").values()),
        "data set as alone": made == reference,
        "tracebacks": sum("Traceback" in text for text in said),
    }


def disk(folder: Path, soundfont: Path, **_: Any) -> dict[str, Any]:
    """Audio files and a data set on a tmpfs that is too small for them."""
    small = folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    figures: dict[str, Any] = {}
    try:
        score = tune(folder / "midi", 6.0)
        suffixes = (".wav", ".flac", ".ogg", ".mp3")
        commands = {suffix: ["render", str(score), "-o", f"small/out{suffix}"] for suffix in suffixes}
        commands["dataset"] = build(soundfont, "--programs", "0", "-o", "small/set")
        (small / "ballast").write_bytes(bytes(40_000))
        for name, command in commands.items():
            ran = subprocess.run([*M2M, *command], cwd=folder, capture_output=True, text=True, check=False)
            left = sorted(p.name for p in small.rglob("*") if p.is_file() and p.name not in ("ballast", "dataset.json"))
            figures[name] = {"exit": ran.returncode, "said": ran.stderr.strip()[-200:], "left": left}
            assert "Traceback" not in ran.stderr
    finally:
        subprocess.run(["umount", small], check=True)
    return figures


def listing(folder: Path, **_: Any) -> dict[str, Any]:
    """`m2m plugins list` with 50 packages, 10 of them broken."""
    for n in range(50):
        module = f"many_{n}"
        (folder / f"{module}.py").write_text("raise SystemExit('broken')" if n % 5 == 0 else "import torch")
        info = folder / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: many-{n}\nVersion: 1.0\nSummary: made up\n")
        (info / "entry_points.txt").write_text(f"[m2m.vocoders]\nmany-{n} = {module}:Vocoder\n")
    environment = os.environ | {"PYTHONPATH": str(folder)}
    seconds = []
    for _turn in range(9):
        began = time.perf_counter()
        ran = subprocess.run([*M2M, "plugins", "list"], env=environment, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - began)
    return {"best of 9, s": round(min(seconds), 3), "lines": ran.stdout.count("made up")}
