"""How fast a component is and what memory it takes: alone, in a fresh process, warm, several times.

A system's speed is that of its parts, so what is timed are the vocoders (from a true mel) and the models (from a score). The
real-time factor is seconds of computing a second of audio: below 1 is faster than real time. Beside the wall clock's stands the
processor's, which a busy machine does not inflate.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m2m.core.errors import M2MError, explain
from m2m.core.mel import Mel
from m2m.core.rendering.pipeline import synthesis
from m2m.evaluation.bench.cell import Workshop, write_json
from m2m.evaluation.bench.machine import gpu_peak_mb, machine, peak_mb, synchronise
from m2m.evaluation.bench.plan import BenchConfig, System
from m2m.evaluation.bench.recordings import Recording
from m2m.evaluation.measures.table import Reference


@dataclass(frozen=True)
class Task:
    """One part to be timed: a system of stage "true-mel" (its vocoder) or "mel" (its model), and what it is to render."""

    config: BenchConfig
    out: Path
    id: str
    system: System
    recording: Recording


def do_timing(task: Task) -> None:
    """Time a part and write `speed/ID.json`; to be called in a fresh process, whose memory is the part's."""
    try:
        write_timing(task, measure(task))
    except Exception as error:  # a row that says so
        write_timing(task, {"error": explain(error)})


def write_timing(task: Task, found: dict[str, Any]) -> None:
    """Write a timing's file, which makes it finished."""
    system = task.system
    about = {"id": task.id, "part": system.vocoder or system.label, "machine": machine(task.config.device)}
    write_json(task.out / "speed" / f"{task.id}.json", about | asdict(system) | {"error": ""} | found)


def measure(task: Task) -> dict[str, Any]:
    """Load a part, render once to warm up and then `repeats` times. Raises what the part raises."""
    config, system = task.config, task.system
    if system.problem:
        raise M2MError(system.problem)
    shop = Workshop(config.model_copy(update={"seconds": config.speed_seconds}))
    before, began = peak_mb(), time.perf_counter()
    _ = shop.vocoder(system.vocoder) if system.vocoder else shop.model(system.model)
    loaded = time.perf_counter() - began
    reference = shop.reference(system, task.recording)
    seconds = len(reference.wave) / reference.rate
    render = _renderer(shop, system, task.recording, reference)
    render()
    walls, processors = [], []
    for _ in range(config.repeats):
        began, used = time.perf_counter(), time.process_time()
        render()
        synchronise(config.device)
        walls.append((time.perf_counter() - began) / seconds)
        processors.append((time.process_time() - used) / seconds)
    return {
        "seconds": seconds,
        "load_seconds": loaded,
        "real_time_factors": walls,
        "processor_factors": processors,
        "memory_mb": peak_mb(),
        "memory_before_mb": before,
        "gpu_memory_mb": gpu_peak_mb(config.device),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _renderer(shop: Workshop, system: System, recording: Recording, reference: Reference) -> Callable[[], object]:
    if system.vocoder:
        vocoder, component = shop.vocoder(system.vocoder)
        mel = Mel(reference.mel, reference.spec, reference.notes)
        return lambda: [len(block) for block in synthesis(vocoder, component, mel, shop.config.seed)]
    model, point, frames = shop.model(system.model), shop.point(system, recording), len(reference.mel)
    return lambda: model.predict(reference.notes, point, frames)
