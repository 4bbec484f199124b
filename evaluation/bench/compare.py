"""Two benches of the same recordings: what got better or worse beyond the noise.

Each measure of each system is paired over what both have measured. The mean difference gets a 95 % interval by the bootstrap
(Efron 1979), drawing files with replacement, since instruments of one file are not independent; with fewer than six files
recordings are drawn instead, which is the best that so few allow. A change counts if its interval lies on one side of zero and
it is not smaller than the measure's `least` (evaluation/measures/table.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

import numpy as np

from m2m.core.errors import M2MError
from m2m.evaluation.bench.results import KEYS
from m2m.evaluation.measures.table import MEASURES

DRAWS = 5000
FEW_FILES = 6
SPEED_LEAST = 0.05  # a twentieth: below it, timings of one program differ by where it lies in memory
Verdict = Literal["better", "worse", "same"]


@dataclass(frozen=True)
class Change:
    """One measure of one system. low, high: the 95 % interval of the mean difference, new minus old; pairs: of how many."""

    system: str
    measure: str
    old: float
    new: float
    low: float
    high: float
    pairs: int
    verdict: Verdict


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[Change]:
    """Every measure of every system that both benches have. Raises M2MError if they have none."""
    changes = list(_quality(old, new)) + list(_speed(old, new))
    if not changes:
        raise M2MError("the two benches share no system and recording; compare benches of the same set.")
    return changes


def broken(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Cells that succeeded before and fail now, as sentences: a regression whatever the figures of the others."""
    succeeded = {key for key, row in _cells(old).items() if not row["error"]}
    fails = [row for key, row in _cells(new).items() if row["error"] and key in succeeded]
    return [f"{row['system']}, {row['file']} on {row['instrument']}: {row['error']}" for row in fails]


def _cells(bench: dict[str, Any]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """A bench's cells by system and recording. A model's folder counts only beside another of its kind: folders get moved."""
    folders: dict[tuple[Any, ...], set[str]] = {}
    for row in bench["cells"]:
        folders.setdefault(tuple(row[key] for key in KEYS), set()).add(row["model"])

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        kind = tuple(row[key] for key in KEYS)
        return (*kind, row["model"] if len(folders[kind]) > 1 else "", row["file"], row["instrument"])

    return {key(row): row for row in bench["cells"]}


def _quality(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    before = _cells(old)
    groups: dict[tuple[str, str], list[tuple[str, float, float]]] = {}  # (system, measure) -> (file, old, new)
    for key, row in _cells(new).items():
        earlier = before.get(key)
        if earlier is None or earlier["error"] or row["error"]:
            continue
        for name in MEASURES:
            if name in row["measures"] and name in earlier["measures"]:
                pair = (row["file"], earlier["measures"][name], row["measures"][name])
                groups.setdefault((row["system"], name), []).append(pair)
    for (system, name), pairs in groups.items():
        files = [file for file, _, _ in pairs]
        first, second = (np.array([pair[i] for pair in pairs]) for i in (1, 2))
        signed = np.abs(second) - np.abs(first) if MEASURES[name].better == "zero" else second - first
        low, high = interval(signed, files)
        better = -1 if MEASURES[name].better != "higher" else 1
        verdict = _verdict(better * float(signed.mean()), sorted((better * low, better * high)), MEASURES[name].least)
        yield Change(system, name, float(first.mean()), float(second.mean()), low, high, len(pairs), verdict)


def _verdict(gain: float, bounds: list[float], least: float) -> Verdict:
    if abs(gain) < least or bounds[0] <= 0 <= bounds[1]:
        return "same"
    return "better" if gain > 0 else "worse"


def interval(differences: np.ndarray, files: list[str]) -> tuple[float, float]:
    """The bootstrap's 95 % interval of the mean of differences, drawn file by file.

    differences: (recordings,) float64, in the measure's unit. files: the file of each.
    """
    names = list(dict.fromkeys(files))
    if len(names) < FEW_FILES:
        names = files = [str(index) for index in range(len(differences))]
    which = np.array([names.index(file) for file in files])
    sums, counts = np.bincount(which, differences, len(names)), np.bincount(which, minlength=len(names))
    drawn = np.random.default_rng(0).integers(len(names), size=(DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(means, (2.5, 97.5)).tolist()
    return low, high


def _speed(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    """Real-time factors of parts timed on the same machine; the interval is of the difference of medians."""
    before = {(row["part"], row["machine"]): row for row in old["speed"] if not row["error"]}
    for row in new["speed"]:
        earlier = before.get((row["part"], row["machine"]))
        if earlier is None or row["error"]:
            continue
        first, second = (np.array(r["real_time_factors"]) for r in (earlier, row))
        draw = np.random.default_rng(0)
        medians = [np.median(draw.choice(x, (DRAWS, len(x))), axis=1) for x in (first, second)]
        low, high = np.percentile(medians[1] - medians[0], (2.5, 97.5)).tolist()
        was, now = median(first.tolist()), median(second.tolist())
        verdict = _verdict(was - now, [-high, -low], SPEED_LEAST * was)
        yield Change(row["part"], "real_time_factor", was, now, low, high, min(len(first), len(second)), verdict)
