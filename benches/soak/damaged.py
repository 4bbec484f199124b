"""Mutated MIDI files and checkpoints, each read and (where short) rendered in a process that may hang or die."""

from __future__ import annotations

import os
import random
import re
import resource
import shutil
import time
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soak.files import midi_file, mutate, mutate_config

if TYPE_CHECKING:
    from m2m.core.rendering.pipeline import Pipeline

LIMIT = 10.0  # seconds without an answer that count as a hang
ROOT = Path(__file__).parents[2]
QUICK = {"iterations": 1, "updates": 1}  # options of Griffin-Lim


def midi(folder: Path, draw: random.Random, count: int, **_: Any) -> dict[str, Any]:
    """MIDI files, made or from examples/, three of four of them damaged."""
    seeds = [path.read_bytes() for path in (ROOT / "examples").glob("*.mid")]
    items = []
    for number in range(count):
        whole = draw.choice(seeds) if draw.random() < 0.2 else midi_file(draw)
        path = folder / f"{number}.mid"
        path.write_bytes(whole if number % 4 == 0 else mutate(whole, draw))
        items.append({"score": str(path)})
    return tally(items)


def checkpoints(folder: Path, draw: random.Random, count: int, **_: Any) -> dict[str, Any]:
    """A small model of each kind with its weights, its config's values or its config's bytes damaged."""
    from m2m.core.checkpoint import save_model
    from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
    from m2m.vocoders.parallel_wavenet.network import Student, StudentConfig
    from m2m.vocoders.wavenet.network import WaveNet, WaveNetConfig

    made: dict[str, Any] = {
        "mel2mel": Mel2Mel(Mel2MelConfig(hidden=8, timbre_dim=3)),
        "wavenet": WaveNet(WaveNetConfig(layers=4, residual=16, skip=16, classes=16)),
        "parallel-wavenet": Student(StudentConfig(flows=(2, 3), residual=4, skip=4)),
    }
    for kind, model in made.items():
        save_model(folder / kind, kind, model.config, model, "# a model")
    items = []
    for number in range(count // 4):
        kind = list(made)[number // 3 % len(made)]
        copy = shutil.copytree(folder / kind, folder / str(number))
        config, weights = copy / "config.json", copy / "model.safetensors"
        if number % 3 == 0:
            weights.write_bytes(mutate(weights.read_bytes(), draw))
        elif number % 3 == 1:
            config.write_text(mutate_config(config.read_text(), draw))
        else:
            config.write_bytes(mutate(config.read_bytes(), draw))
        items.append({"kind": kind, "model": str(copy)})
    return tally(items)


def tally(items: list[dict[str, str]]) -> dict[str, Any]:
    """What became of the files, how long the slowest took, and how much memory the process had."""
    from m2m.core.plugins.isolation import Lost, each

    benches = str(ROOT / "benches")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [benches, os.environ.get("PYTHONPATH", "")]))
    became: dict[str, int] = {}
    reasons: dict[str, int] = {}
    wrong: list[Any] = []
    slowest, peak = 0.0, 0.0
    answers = each("soak.damaged:attempt", [items[0], *items], LIMIT)
    next(answers)  # the first file waits for torch and is tried once more
    for item, answer in zip(items, answers, strict=True):
        if isinstance(answer, Lost):
            answer = {"became": "FAILED", "said": answer.text, "seconds": answer.seconds, "peak_mb": 0.0}
        became[answer["became"]] = became.get(answer["became"], 0) + 1
        if answer["became"] == "refused":
            why = re.sub(r"\S*[/\\]\S*|[\d,.]+|'[^']*'", "#", answer["said"])[:70]
            reasons[why] = reasons.get(why, 0) + 1
        slowest, peak = max(slowest, round(answer["seconds"], 2)), max(peak, round(answer["peak_mb"]))
        if answer["became"] == "FAILED" or "\n" in answer["said"]:
            wrong.append([item, answer["said"]])
    return {
        **{"files": len(items), "became": became, "slowest_s": slowest},
        **{"peak_mb": peak, "wrong": wrong, "reasons": reasons},
    }


# --- in the process that may hang or die, where nothing is imported before its first file -----------------------------


def attempt(item: dict[str, str]) -> dict[str, Any]:
    """Read a score or load a model, and render if that is a matter of seconds: what became of it."""
    from m2m.core.errors import M2MError

    began, said = time.perf_counter(), ""
    try:
        became = score(item["score"]) if "score" in item else model(item["kind"], item["model"])
    except M2MError as error:
        became, said = "refused", str(error)
    except Exception as error:
        became, said = "FAILED", f"{type(error).__name__}: {error} {traceback.format_exc()[-400:]}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"became": became, "said": said, "seconds": time.perf_counter() - began, "peak_mb": peak}


def score(path: str) -> str:
    """Read a score and, if it is short, render it."""
    from m2m.core.score import read_score

    read = read_score(path)
    if read.duration > 20 or len(read.playable) > 8:
        return "read"  # rendering works on windows and on parts, so that length and number only take time
    if not read.playable:
        return "read, empty"
    default_pipeline().render(read)
    return "rendered"


def model(kind: str, folder: str) -> str:
    """Load a model and render two notes with it."""
    import numpy as np

    from m2m.core.rendering.pipeline import Pipeline
    from m2m.core.score import Score, Track, note_array

    if kind == "mel2mel":
        pipeline = Pipeline(model=folder, vocoder_options=QUICK)
    else:
        pipeline = Pipeline(vocoder=kind, vocoder_options={"model": folder})
    notes = note_array([(0.0, 0.5, 60, 90), (0.3, 0.9, 64, 70)])
    pipeline.render(Score((Track("", 0, False, notes, np.array([[0.0, 1.0]])),)))
    return "rendered"


@cache
def default_pipeline() -> Pipeline:
    from m2m.core.rendering.pipeline import Pipeline

    return Pipeline(vocoder_options=QUICK)
