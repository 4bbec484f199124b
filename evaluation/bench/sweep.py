"""Run a bench: find what is not computed yet, have processes compute it, and write the reports.

A bench is a folder:

    bench.json            its config
    cells/, audio/        finished cells and their audio (evaluation/bench/cell.py); a killed sweep goes on from them
    speed/                timings, one a component and machine (evaluation/bench/speed.py)
    table.csv             one row a cell, tidy; results.json: the same and everything else
    summary.md            the means, for reading
    report.html           all of it with plots and players, in one file
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2m.core.system import progress
from m2m.core.system.files import make_folder, write_text
from m2m.core.system.workers import work_off
from m2m.evaluation.bench.machine import machine
from m2m.evaluation.bench.plan import BenchConfig, BenchPlan, Cell, make_plan
from m2m.evaluation.measures.table import MEASURES, OF_AUDIO, OF_MEL
from m2m.evaluation.measures.waves import need

CONFIG = "bench.json"
REPORTS = ("table.csv", "results.json", "summary.md", "report.html")
FIRST_MEASURES = (  # of 0.1, whose cells do not say which of them had no number
    *("constant_q", "log_mel", "tanh_log", "mel_correlation", "stft_convergence", "stft_log"),
    *("onset_f1", "onset_error", "notes_heard", "note_f1", "loudness", "centroid"),
    *("clicks", "clipped", "dropped", "lag", "level"),
)
QUICK = {"seconds": 3.0, "repeats": 3, "speed_seconds": 2.0}  # of the recordings that ship; WaveNet is slow


@dataclass(frozen=True)
class BenchOutcome:
    """What a run did: how many cells the bench has, and how many of them were computed now, have failed, were skipped."""

    cells: int
    computed: int
    failed: int
    skipped: int


def run_bench(config: BenchConfig, out: Path, jobs: int = 1, retry: bool = False) -> BenchOutcome:
    """Compute what is missing of a bench in `jobs` processes and write its reports, unless nothing was missing.

    retry: failed cells and timings are computed once more.
    """
    plan = make_plan(config)
    config = plan.config
    for folder in (out, out / "cells", out / "audio", out / "speed"):
        make_folder(folder)
    cells = list(plan.cells)
    missing = [cell for cell in cells if not _finished(out, "cells", cell.id, retry, _wanted(cell, config))]
    timings = [] if not config.repeats else _timings(plan, out, retry)
    if missing or timings:
        for module in ("soxr", "mir_eval", "pyloudnorm", "matplotlib"):
            need(module, "m2m bench")
        try:
            _time(plan, out, timings)
            _compute(plan, out, missing, jobs)
        except KeyboardInterrupt:
            progress.say(f"stopped; what is finished is kept in {out}, and the same command goes on from there.")
            raise
    described = json.dumps(config.model_dump(mode="json"), indent=1) + "\n"
    known = (out / CONFIG).read_text(encoding="utf-8") if (out / CONFIG).is_file() else ""
    if missing or timings or known != described or not _reported(out):
        from m2m.evaluation.bench.report import write_reports
        from m2m.evaluation.bench.results import collect

        progress.say("writing the report")
        write_reports(collect(plan, out), out)
        write_text(out / CONFIG, described)
    rows = [json.loads((out / "cells" / f"{cell.id}.json").read_bytes()) for cell in cells]
    skipped = sum(bool(row.get("skipped")) for row in rows)
    return BenchOutcome(len(cells), len(missing), sum(bool(row["error"]) for row in rows) - skipped, skipped)


def _finished(out: Path, kind: str, id: str, retry: bool, wanted: Sequence[str] = ()) -> bool:
    """Whether a cell or a timing needs no computing. What is damaged, to be tried again, or lacks a measure is deleted here."""
    path = out / kind / f"{id}.json"
    if not path.is_file():
        return False
    try:
        row = json.loads(path.read_bytes())
        whole = (not row.get("audio") or (out / row["audio"]).is_file()) and not _lacking(row, wanted)
    except ValueError:
        row, whole = {}, False
    if whole and not (retry and row.get("error")):
        return True
    path.unlink()
    return False


def _wanted(cell: Cell, config: BenchConfig) -> Sequence[str]:
    """The measures that a cell is to have."""
    names = OF_MEL if cell.system.stage == "mel" else OF_AUDIO
    return names if config.transcriber else [name for name in names if not MEASURES[name].transcribed]


def _lacking(row: dict[str, Any], wanted: Sequence[str]) -> set[str]:
    """The measures that came into the table after a cell had been computed."""
    if row.get("error"):
        return set()
    return set(wanted) - {*row.get("measures", ()), *row.get("undefined", FIRST_MEASURES)}


def _reported(out: Path) -> bool:
    """Whether the reports are there, with the measures as the table has them."""
    if not all((out / name).is_file() for name in REPORTS):
        return False
    try:
        shown = json.loads((out / "results.json").read_text(encoding="utf-8")).get("measures")
    except (ValueError, AttributeError):
        return False
    return bool(shown == {name: measure.described() for name, measure in MEASURES.items()})


def _timings(plan: BenchPlan, out: Path, retry: bool) -> list[tuple[str, int]]:
    """Ids of timings that are missing, and the index of their system in the plan: of each vocoder and model one."""
    found: dict[tuple[str, str], tuple[str, int]] = {}
    for index, system in enumerate(plan.systems):
        if system.stage in ("true-mel", "mel"):
            id = plan.speed_id(system, machine(plan.config.device))
            found.setdefault((system.vocoder, system.model or system.label), (id, index))
    return [timing for timing in found.values() if not _finished(out, "speed", timing[0], retry)]


def _time(plan: BenchPlan, out: Path, timings: Sequence[tuple[str, int]]) -> None:
    """One after the other and before anything else, so that nothing else of the bench disturbs them."""
    from m2m.evaluation.bench import speed

    tasks = deque(speed.SpeedTask(plan.config, out, id, plan.systems[i], plan.recordings[0]) for id, i in timings)
    for missing in [task for task in tasks if task.system.problem]:
        speed.write_timing(missing, {"error": missing.system.problem})
        tasks.remove(missing)
    if tasks:
        progress.say(f"timing {len(tasks)} components and models, one after another")
    with closing(work_off(tasks, speed.do_timing, 1, lambda _: plan.config.limit, fresh=True)) as worked:
        for task, _, death in progress.track(worked, "timing", len(tasks)):
            if death:
                speed.write_timing(task, {"error": f"it failed: {death}."})


def _compute(plan: BenchPlan, out: Path, missing: Sequence[Cell], jobs: int) -> None:
    from m2m.evaluation.bench.cell import CellTask, cell_path, do_cells, write_cell

    groups: dict[object, list[Cell]] = {}
    for cell in missing:
        groups.setdefault(cell.recording, []).append(cell)
    tasks = deque(CellTask(plan.config, out, cells) for cells in groups.values())
    threads = max(1, (os.cpu_count() or 1) // jobs)
    if missing:
        progress.say(f"computing {len(missing)} cells, {jobs} at once")
    worked = work_off(tasks, do_cells, jobs, lambda t: len(t.cells) * plan.config.limit, threads=threads)
    with closing(worked), progress.advance("computing cells", len(missing)) as done:
        for task, _, death in worked:
            left = [cell for cell in task.cells if not cell_path(out, cell.id).is_file()]
            if death and left:  # computed in order: the first one that is left ended the process
                write_cell(out, left[0], {"error": f"{left[0].system.label} failed: {death}."})
                if left[1:]:
                    tasks.append(CellTask(plan.config, out, left[1:]))
            done(len(task.cells) - len(left[1:]))
