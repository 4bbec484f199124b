"""Mean opinion scores (ITU-T P.800) of a listening test, without listeners who fail the hidden reference."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2m.core.errors import M2MError
from m2m.evaluation.listening.blind_test import REFERENCE
from m2m.evaluation.measures.waves import need

SCORES = (1, 2, 3, 4, 5)
MAX_BYTES = 4 << 20
KEY = "the key of a listening test"
POOR = 2  # a rating of "poor" or "bad" for the original
MOST_POOR = 0.15  # of a listener's hidden references, as in ITU-R BS.1534


@dataclass(frozen=True)
class MosReport:
    """systems: one dictionary each, best first: "system", "mos", "error" (standard), "low" and "high" (95 %), "ratings".

    listeners: how many are counted; screened: those left out -> why.
    """

    systems: list[dict[str, Any]]
    listeners: int
    screened: dict[str, str]


def mos_report(key_path: Path, paths: Sequence[Path]) -> MosReport:
    """Score a test by its key and its listeners' files, or folders of them. Raises M2MError for a file of another test."""
    key = _read(key_path, KEY)
    stimuli = {id: about["system"] for id, about in key["stimuli"].items()}
    listeners: dict[str, dict[str, int]] = {}
    for path in _files(paths):
        name, ratings = _ratings(path, key["test"], stimuli)
        if name in listeners and listeners[name] != ratings:
            raise M2MError(f"{path} is a second file of listener {name}, with other ratings; keep one of the two.")
        listeners[name] = ratings
    screened = {name: reason for name, ratings in listeners.items() if (reason := _fails(ratings, stimuli))}
    kept = {name: ratings for name, ratings in listeners.items() if name not in screened}
    if not kept:
        raise M2MError(f"no listener passes the hidden reference ({'; '.join(screened.values())}).")
    systems = [_score(system, kept, stimuli) for system in dict.fromkeys(stimuli.values())]
    systems = sorted((s for s in systems if s["ratings"]), key=lambda s: -s["mos"])
    return MosReport(systems, len(kept), screened)


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        found = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not found:
            raise M2MError(f"{path} holds no ratings (*.json).")
        yield from found


def _read(path: Path, what: str) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large")
        read = json.loads(path.read_bytes())
        if not isinstance(read, dict) or not isinstance(read.get("test"), str):
            raise ValueError("it names no test")
        if what == KEY and not all(isinstance(about["system"], str) for about in read["stimuli"].values()):
            raise ValueError("a stimulus has no system")
    except (KeyError, TypeError, AttributeError) as error:
        raise M2MError(f"{path} is not {what}: it does not say which system a stimulus is of.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise M2MError(f"{path} is not {what}: {getattr(error, 'strerror', None) or error}.") from error
    return read


def _ratings(path: Path, test: str, stimuli: dict[str, str]) -> tuple[str, dict[str, int]]:
    """A listener's name and ratings, stimulus -> 1..5."""
    read = _read(path, "a listener's ratings")
    if read["test"] != test:
        raise M2MError(f"{path} is of another test ({read['test']}, the key's is {test}).")
    found = {}
    given = read.get("ratings")
    for entry in given if isinstance(given, list) else ():
        known = isinstance(entry, dict) and isinstance(entry.get("stimulus"), str) and entry["stimulus"] in stimuli
        if not known or entry.get("rating") not in SCORES or isinstance(entry.get("rating"), bool):
            raise M2MError(f"{path} holds {entry!r}; a stimulus of the test and a rating from 1 to 5 were wanted.")
        found[entry["stimulus"]] = int(entry["rating"])
    if not found:
        raise M2MError(f"{path} holds no ratings.")
    return str(read.get("listener") or path.stem), found


def _fails(ratings: dict[str, int], stimuli: dict[str, str]) -> str:
    """Why a listener is left out, empty for those who are not."""
    original = [rating for id, rating in ratings.items() if stimuli[id] == REFERENCE]
    others = [rating for id, rating in ratings.items() if stimuli[id] != REFERENCE]
    if not original:
        return "no hidden reference was rated"
    poor = sum(rating <= POOR for rating in original)
    if poor > MOST_POOR * len(original):
        return f"{poor} of {len(original)} hidden references were called poor or bad"
    if others and np.mean(original) < np.mean(others):
        return (
            f"the hidden references ({np.mean(original):.2f}) were rated below everything else ({np.mean(others):.2f})"
        )
    return ""


def _score(system: str, listeners: dict[str, dict[str, int]], stimuli: dict[str, str]) -> dict[str, Any]:
    """Mean, standard error and Student's 95 % interval.

    A listener's ratings are not independent, so the error is the one that is robust to clusters: with equally many ratings
    each it is the standard deviation of the listeners' means over the root of their number. One listener alone is taken
    rating by rating; one rating alone has no error.
    """
    groups = [[r for id, r in ratings.items() if stimuli[id] == system] for ratings in listeners.values()]
    groups = [group for group in groups if group]
    groups = [[rating] for rating in groups[0]] if len(groups) == 1 else groups
    count, clusters = sum(map(len, groups)), len(groups)
    row: dict[str, Any] = {"system": system, "mos": None, "error": None, "low": None, "high": None, "ratings": count}
    if not count:
        return row
    mean = sum(map(sum, groups)) / count
    row["mos"] = mean
    if clusters > 1:
        spread = sum((sum(group) - mean * len(group)) ** 2 for group in groups)
        row["error"] = math.sqrt(clusters / (clusters - 1) * spread) / count
        reach = float(need("scipy.stats", "the confidence interval").t.ppf(0.975, clusters - 1)) * row["error"]
        row["low"], row["high"] = mean - reach, mean + reach
    return row
