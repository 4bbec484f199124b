"""The results of a bench: rows, means of every system, tables as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np

import m2m
from m2m.core.errors import M2MError
from m2m.core.system.files import write_text
from m2m.evaluation.bench.machine import machine
from m2m.evaluation.bench.plan import BenchPlan, System
from m2m.evaluation.measures.table import MEASURES, OF_AUDIO, OF_SET

KEYS = ("stage", "vocoder", "conditioner", "loss", "encoder")  # what a system is, beside its model's folder
Row = dict[str, Any]


def collect(plan: BenchPlan, out: Path) -> dict[str, Any]:
    """Everything of a bench as JSON data: "systems" with their means, "cells", "speed", and what it was made with."""
    labels = plan.labels
    cells: list[Row] = []
    systems: list[Row] = []
    rows: dict[System, list[Row]] = {system: [] for system in plan.systems}
    for cell in plan.cells:
        row = json.loads((out / "cells" / f"{cell.id}.json").read_bytes())
        row["system"] = labels[cell.system]
        cells.append(row)
        rows[cell.system].append(row)
    originals = _features(out, rows[System("original")])
    for system, found in rows.items():
        done = [row for row in found if not row["error"]]
        means = {name: fmean(_values(done, name)) for name in MEASURES if _values(done, name)}
        features = _features(out, done)
        if features is not None and originals is not None and system.stage != "original":
            distances = {name: MEASURES[name].of(originals, features) for name in OF_SET}
            means |= {name: distance for name, distance in distances.items() if np.isfinite(distance)}
        errors = [row["error"] for row in found if row["error"]]
        skipped = sum(bool(row.get("skipped")) for row in found)  # cells of m2m 0.1 do not say
        systems.append(
            {"system": labels[system], **asdict(system), "cells": len(found)}
            | {"failed": len(errors) - skipped, "skipped": skipped}
            | {"error": max(set(errors), key=errors.count) if errors else "", "measures": means}
            | {"semitones": _semitones(done)}
        )
    return {
        "m2m": m2m.__version__,
        "config": plan.config.model_dump(mode="json"),
        "recordings": {"files": _names(plan, "file"), "instruments": _names(plan, "instrument")},
        "systems": systems,
        "speed": _speed(plan, out),
        "cells": cells,
        "measures": {name: measure.described() for name, measure in MEASURES.items()},
    }


def _names(plan: BenchPlan, field: str) -> list[str]:
    return list(dict.fromkeys(getattr(recording, field) for recording in plan.recordings))


def _values(rows: list[Row], name: str) -> list[float]:
    return [row["measures"][name] for row in rows if name in row["measures"]]


def _semitones(rows: list[Row]) -> list[float | None]:
    """The mean over recordings of each semitone's correlation."""
    known = [row["semitones"] for row in rows if row.get("semitones")]
    columns = [[r for r in column if r is not None] for column in zip(*known, strict=True)]
    return [round(fmean(column), 5) if column else None for column in columns]


def _features(out: Path, rows: list[Row]) -> np.ndarray | None:
    paths = [out / "cells" / f"{row['id']}.npz" for row in rows]
    found = [np.load(path)["features"] for path in paths if path.is_file()]
    return np.concatenate(found) if found else None


def _speed(plan: BenchPlan, out: Path) -> list[Row]:
    labels, here = plan.labels, machine(plan.config.device)
    parts = {plan.speed_id(s, here): s.vocoder or labels[s] for s in plan.systems if s.stage in ("true-mel", "mel")}
    paths = {out / "speed" / f"{id}.json": part for id, part in parts.items()}
    return [json.loads(path.read_bytes()) | {"part": part} for path, part in paths.items() if path.is_file()]


def write_tables(results: dict[str, Any], out: Path) -> None:
    """Write results.json, table.csv and summary.md, each whole or not at all."""
    texts = {
        "results.json": json.dumps(results, indent=1) + "\n",
        "table.csv": table(results),
        "summary.md": summary(results),
    }
    for name, text in texts.items():
        write_text(out / name, text)


def table(results: dict[str, Any]) -> str:
    """One row a cell, tidy, as CSV; an empty field is a measure that the cell does not have."""
    buffer = io.StringIO()
    names = ["system", *KEYS, "model", "file", "instrument", *OF_AUDIO, "audio", "processor_seconds", "error"]
    writer = csv.DictWriter(buffer, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, **row.get("measures", {})} for row in results["cells"])
    return buffer.getvalue()


def summary(results: dict[str, Any]) -> str:
    """The means of every system, the speed of every part, and the failures, as Markdown."""
    wanted = {name: measure for name, measure in MEASURES.items() if measure.shown}
    shown = [name for name in wanted if any(name in system["measures"] for system in results["systems"])]
    heads = [", ".join(filter(None, (wanted[name].title, wanted[name].unit))) for name in shown]
    recordings = results["recordings"]
    lines = [
        "# Bench",
        "",
        f"{len(recordings['files'])} files x {len(recordings['instruments'])} instruments, first "
        f"{results['config']['seconds']:g} s of each; m2m {results['m2m']}. Means over recordings.",
        "",
    ]
    rows = []
    for system in results["systems"]:
        cells = [show(name, system["measures"].get(name)) for name in shown]
        failed = f"{system['failed']} of {system['cells']}" if system["failed"] else ""
        rows.append([system["system"], *cells, failed])
    lines.append(markdown(["system", *heads, "failed"], rows))
    for head, field in (("Failures:", "failed"), ("Skipped, since they cannot run here:", "skipped")):
        told = [f"- {system['system']}: {system['error']}" for system in results["systems"] if system.get(field)]
        lines += ["", head, "", *told] if told else []
    if results["speed"]:
        lines += [
            "",
            "Real-time factor: seconds of computing a second of audio, median (lowest to highest) of the repeats.",
        ]
        heads = ["part", "real-time factor", "x real time", "processor's", "load, s", "peak MB", "GPU MB"]
        lines += ["", markdown(heads, map(speed_cells, results["speed"]))]
        lines += ["", *dict.fromkeys(f"On {row['machine']}." for row in results["speed"])]
        busy = [row["load_average"] for row in results["speed"] if row.get("load_average", 0) > (os.cpu_count() or 1)]
        if busy:
            lines += [f"The machine was busy (load average up to {max(busy):g}): read the processor's factor."]
    return "\n".join([*lines, ""])


def speed_cells(row: Row) -> list[str]:
    """A timing as the cells of a table."""
    if row["error"]:
        return [row["part"], row["error"], "", "", "", "", ""]
    factors = sorted(row["real_time_factors"])
    middle = median(factors)
    return [
        row["part"],
        f"{middle:.4f} ({factors[0]:.4f} to {factors[-1]:.4f})",
        f"{1 / middle:.1f}",
        f"{median(row['processor_factors']):.4f}",
        f"{row['load_seconds']:.2f}",
        f"{row['memory_mb']:.0f}",
        "" if row["gpu_memory_mb"] is None else f"{row['gpu_memory_mb']:.0f}",
    ]


def show(name: str, value: float | None) -> str:
    """A figure with as many digits as its measure is shown with.

    >>> show("constant_q", 0.98765), show("constant_q", None)
    ('0.988', '')
    """
    return "" if value is None else f"{value:.{MEASURES[name].digits}f}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; a bar in a cell is escaped.

    >>> print(markdown(["a", "b"], [[1, "x"]]))
    | a | b |
    | --- | --- |
    | 1 | x |
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def read_results(path: Path) -> dict[str, Any]:
    """The results of a bench, by its folder or its results.json. Raises M2MError if there are none."""
    file = path / "results.json" if path.is_dir() else path
    try:
        results = json.loads(file.read_bytes())
        if not isinstance(results, dict) or not isinstance(results.get("cells"), list):
            raise ValueError("it holds no cells")
    except (OSError, ValueError) as error:
        raise M2MError(f"{path} is not a finished bench ({error}); make one with 'm2m bench -o FOLDER'.") from error
    return results
