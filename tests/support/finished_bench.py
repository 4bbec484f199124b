"""A bench's folder as a run leaves it, its figures made up: two pieces, two instruments, one system that fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from m2m.evaluation.bench.report import write_reports
from m2m.evaluation.measures.table import MEASURES

SYSTEMS = {
    "original": "original",
    "mu-law": "mu-law",
    "true mel > v": "true-mel",
    "film > v": "predicted",
    "w <b>": "true-mel",
}
BROKEN = "w <b>"
WICKED = "</script><script>document.title = 'owned'</script>"
FILES, INSTRUMENTS = ("a", "b"), ("grand-piano", "trumpet")
TIMING = {
    "part": "v",
    "vocoder": "v",
    "machine": "m",
    "error": "",
    "load_seconds": 0.5,
    "memory_mb": 99.0,
    "real_time_factors": [0.1, 0.2, 0.15],
    "processor_factors": [0.1],
    "gpu_memory_mb": None,
    "load_average": 0.1,
}


def write_bench(folder: Path) -> None:
    """Write its audio, tables and report into a folder."""
    (folder / "audio").mkdir()
    draw = np.random.default_rng(0)
    cells = []
    for file in FILES:
        for instrument in INSTRUMENTS:
            for rank, system in enumerate(SYSTEMS):
                cell = _cell(file, instrument, rank, system)
                wave = (0.02 * (rank + 1) * draw.standard_normal(8_000)).astype(np.float32)
                soundfile.write(folder / "audio" / f"{cell['id']}.flac", wave, 16_000)
                cells.append(cell)
    results = {
        "m2m": "1",
        "config": {"seconds": 0.5},
        "recordings": {"files": list(FILES), "instruments": list(INSTRUMENTS)},
        "systems": [_system(rank, system) for rank, system in enumerate(SYSTEMS)],
        "speed": [TIMING],
        "cells": cells,
        "measures": {name: measure.described() for name, measure in MEASURES.items()},
    }
    write_reports(results, folder)


def _cell(file: str, instrument: str, rank: int, system: str) -> dict[str, Any]:
    id = f"{file}{instrument}{rank}"
    row: dict[str, Any] = {"id": id, "system": system, "stage": SYSTEMS[system], "vocoder": "v", "conditioner": ""}
    row |= {"loss": "", "encoder": "", "model": "", "file": file, "instrument": instrument, "processor_seconds": 1.0}
    if system == BROKEN:
        return row | {"error": WICKED, "audio": ""}
    return row | {"error": "", "audio": f"audio/{id}.flac", **_figures(rank)}


def _system(rank: int, system: str) -> dict[str, Any]:
    broken = system == BROKEN
    row = {"system": system, "stage": SYSTEMS[system], "vocoder": "v", "cells": 4, "failed": 4 * broken}
    return row | ({"error": WICKED, "measures": {}, "semitones": []} if broken else {"error": "", **_figures(rank)})


def _figures(rank: int) -> dict[str, Any]:
    measures = {"constant_q": 1 - rank / 10, "log_mel": rank / 10}
    return {"measures": measures, "semitones": [1 - rank / 10] * 84}
