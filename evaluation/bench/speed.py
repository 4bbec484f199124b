"""How fast a component is and what memory it takes: alone, in a fresh process, warm, several times.

A system's speed is that of its parts, so vocoders (from a true mel) and models (from a score) are timed. The real-time factor is
seconds of computing a second of audio: below 1 is faster than real time. It is measured in wall-clock time and in processor
time, which a busy machine inflates less.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m2m.core.errors import M2MError, explain
from m2m.evaluation.bench.cell import CellRenderer, write_json
from m2m.evaluation.bench.machine import gpu_peak_mb, machine, peak_mb, synchronise
from m2m.evaluation.bench.plan import BenchConfig, System
from m2m.evaluation.bench.recordings import Recording


@dataclass(frozen=True)
class SpeedTask:
    """One part to be timed: a system of stage "true-mel" (its vocoder) or "mel" (its model), and what it is to render."""

    config: BenchConfig
    out: Path
    id: str
    system: System
    recording: Recording


def do_timing(task: SpeedTask) -> None:
    """Time a part and write `speed/ID.json`; to be called in a fresh process, so that its peak memory is the part's."""
    try:
        write_timing(task, measure(task))
    except Exception as error:  # it becomes a row with the error
        write_timing(task, {"error": explain(error)})


def write_timing(task: SpeedTask, found: dict[str, Any]) -> None:
    """Write a timing's file, which makes it finished."""
    system = task.system
    about = {"id": task.id, "part": system.vocoder or system.label, "machine": machine(task.config.device)}
    write_json(task.out / "speed" / f"{task.id}.json", about | asdict(system) | {"error": ""} | found)


def measure(task: SpeedTask) -> dict[str, Any]:
    """Load a part, render once to warm up and then `repeats` times. Raises M2MError, or what the part raises."""
    config, system = task.config, task.system
    if system.problem:
        raise M2MError(system.problem)
    renderer = CellRenderer(config.model_copy(update={"seconds": config.speed_seconds}))
    components = renderer.components
    before, began = peak_mb(), time.perf_counter()
    _ = components.vocoder(system.vocoder) if system.vocoder else components.model(system.model)
    loaded = time.perf_counter() - began
    reference = renderer.reference(system, task.recording)
    seconds = len(reference.wave) / reference.rate
    render = _part(renderer, system, task.recording)
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


def _part(renderer: CellRenderer, system: System, recording: Recording) -> Callable[[], object]:
    """What is timed, ready to be called."""
    components, seed = renderer.components, renderer.config.seed
    if system.vocoder:
        mel = renderer.mel(system, recording)
        return lambda: [len(block) for block in components.stream(system.vocoder, mel, seed)]
    reference = renderer.reference(system, recording)
    frames = len(reference.mel)
    return lambda: components.mel(system.model, recording.instrument, reference.notes, frames)
