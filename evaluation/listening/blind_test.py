"""A blind listening test from a bench: absolute category rating by ITU-T P.800, one rating a stimulus, 1 to 5.

FOLDER/page/ is what listeners get: an index.html that works from a file or any web server, and sounds whose names say nothing.
FOLDER/key.json says which is which and stays with the experimenter. Among the stimuli are, for every recording, the original
(the hidden reference, by which listeners are screened) and its µ-law version (the anchor). All are equally loud.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2m.core.audio import mu_law_decode, mu_law_encode, read_audio, write_audio
from m2m.core.choices import LISTENING_RECORDINGS, LISTENING_SECONDS
from m2m.core.errors import M2MError
from m2m.core.system.files import make_folder, refuse_overwrite, write_text
from m2m.evaluation.bench.results import read_results
from m2m.evaluation.measures.waves import Wave, loudness

PAGE = Path(__file__).with_name("listening.html")
REFERENCE, ANCHOR = "original", "mu-law"
LOUDNESS = -26.0  # LUFS: quiet enough for most peaks; all stimuli are made softer together where one would clip
HEADROOM = 10 ** (-1 / 20)
FADE = 0.01  # seconds, at both ends of an excerpt


@dataclass(frozen=True)
class BlindTest:
    """A test that was made: where it lies and how large it is."""

    page: Path
    key: Path
    stimuli: int
    systems: int
    recordings: int


def make_blind_test(
    bench: Path,
    out: Path,
    systems: Sequence[str] | None = None,
    recordings: int = LISTENING_RECORDINGS,
    seconds: float = LISTENING_SECONDS,
    seed: int = 0,
    overwrite: bool = False,
) -> BlindTest:
    """Make a test from a bench's folder.

    systems: names as the bench's summary has them, None for all that made sound; original and µ-law are always in.
    recordings: how many, chosen by `seed`, of different pieces and instruments while there are.
    Raises M2MError for unknown systems, missing audio, and an existing test unless `overwrite`.
    """
    key_path, page = out / "key.json", out / "page"
    refuse_overwrite(key_path, overwrite)
    results = read_results(bench)
    names = _systems(results, systems)
    rows = {(r["file"], r["instrument"], r["system"]): r for r in results["cells"] if r.get("audio") and not r["error"]}
    complete = [
        (file, instrument)
        for file in results["recordings"]["files"]
        for instrument in results["recordings"]["instruments"]
        if all((file, instrument, name) in rows for name in (REFERENCE, *names))
    ]
    if not complete:
        raise M2MError(f"{bench} has no recording that all of {', '.join(names)} have rendered; choose --systems.")
    stimuli: dict[str, dict[str, str]] = {}
    waves: dict[str, tuple[Wave, int]] = {}
    for file, instrument in _spread(complete, recordings, seed):
        for name in (REFERENCE, ANCHOR, *names):
            source = rows[file, instrument, REFERENCE if name == ANCHOR else name]
            wave, rate = read_audio(bench / source["audio"])
            wave = mu_law_decode(mu_law_encode(wave)) if name == ANCHOR else wave
            # The name identifies nothing, even to a reader of the page's source.
            id = hashlib.sha256(
                f"{seed} {file} {instrument} {name} {source['id']}".encode("utf-8", "surrogateescape")
            ).hexdigest()[:12]
            stimuli[id] = {"system": name, "file": file, "instrument": instrument}
            waves[id] = _excerpt(wave, rate, seconds), rate
    gains = _gains(waves)
    make_folder(page / "stimuli")
    for id in sorted(waves):
        wave, rate = waves[id]
        write_audio(
            page / "stimuli" / f"{id}.wav", (wave * gains[id]).astype(np.float32), rate, tags={}, overwrite=True
        )
    test = hashlib.sha256(" ".join(sorted(stimuli)).encode()).hexdigest()[:12]
    shown = json.dumps({"test": test, "stimuli": sorted(stimuli)}).replace("<", "\\u003c")
    write_text(page / "index.html", PAGE.read_text(encoding="utf-8").replace("/*TEST*/", shown))
    write_text(key_path, json.dumps({"test": test, "stimuli": stimuli}, indent=1) + "\n")
    return BlindTest(page / "index.html", key_path, len(stimuli), len(names) + 2, len(stimuli) // (len(names) + 2))


def _systems(results: dict[str, Any], chosen: Sequence[str] | None) -> list[str]:
    known = [s["system"] for s in results["systems"] if s["stage"] in ("true-mel", "predicted")]
    unknown = [name for name in chosen or () if name not in (*known, REFERENCE, ANCHOR)]
    if unknown:
        raise M2MError(f"the bench has no system {unknown[0]!r} with sound; it has {', '.join(known)}.")
    # By default systems that rendered nothing are left out: a broken plugin should not prevent a test of the others.
    working = [s["system"] for s in results["systems"] if s["system"] in known and s["failed"] < s["cells"]]
    return [name for name in (chosen or working) if name not in (REFERENCE, ANCHOR)]


def _spread(found: list[tuple[str, str]], count: int, seed: int) -> list[tuple[str, str]]:
    """`count` of the recordings; each next one is of the piece and instrument that were chosen least."""
    left = sorted(found)
    chosen: list[tuple[str, str]] = []
    random.Random(seed).shuffle(left)
    while left and len(chosen) < count:
        best = min(left, key=lambda r: sum((r[0] == file) + (r[1] == instrument) for file, instrument in chosen))
        left.remove(best)
        chosen.append(best)
    return chosen


def _excerpt(wave: Wave, rate: int, seconds: float) -> Wave:
    kept = wave[: round(seconds * rate)].copy()
    fade = np.linspace(0, 1, min(len(kept) // 2, round(FADE * rate)), dtype=np.float32)
    kept[: len(fade)] *= fade
    kept[len(kept) - len(fade) :] *= fade[::-1]
    return kept


def _gains(waves: dict[str, tuple[Wave, int]]) -> dict[str, float]:
    """The factor of each stimulus that makes all of one loudness, none beyond full scale; silence stays silence."""
    levels = {id: loudness(wave, rate) for id, (wave, rate) in waves.items()}
    if any(math.isnan(level) for level in levels.values()):
        raise M2MError("stimuli of less than 0.4 s have no loudness to be matched by; give more --seconds.")
    peaks = {id: float(np.abs(wave).max()) for id, (wave, _) in waves.items()}
    highest = [levels[id] + 20 * math.log10(HEADROOM / peaks[id]) for id in waves if math.isfinite(levels[id])]
    target = min([LOUDNESS, *highest])
    return {id: 10 ** ((target - level) / 20) if math.isfinite(level) else 1.0 for id, level in levels.items()}
