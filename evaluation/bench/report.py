"""A bench's report.html: tables that sort, plots, and players of every cell beside the original, in one file.

The audio is in the page as MP3, up to `EMBED_MB`; what goes beyond is played from the bench's folder, and the page says so.
"""

from __future__ import annotations

import base64
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from m2m.core.audio import read_audio
from m2m.core.system.files import write_text
from m2m.evaluation.bench import figures
from m2m.evaluation.bench.results import write_tables

PAGE = Path(__file__).with_name("report.html")
EMBED_MB = 40.0


def write_reports(results: dict[str, Any], out: Path) -> None:
    """Write the tables and the report into a bench's folder, each whole or not at all."""
    write_tables(results, out)
    write_text(out / "report.html", page(results, out))


def page(results: dict[str, Any], out: Path) -> str:
    """The report as HTML; `out` is where the audio lies."""
    cells = [{key: value for key, value in row.items() if key != "semitones"} for row in results["cells"]]
    data = {**results, "cells": cells, "sound": dict(_embedded(results, out))}
    text = PAGE.read_text(encoding="utf-8")
    plots = "".join(
        f'<figure><figcaption>{title}</figcaption><div class="plot">{figures.svg(figure)}</div></figure>'
        for title, figure in _plots(results)
        if figure is not None
    )
    # Only the last replacement contains third-party text (names, errors), which cannot end its script element.
    return text.replace("<!--PLOTS-->", plots).replace("/*DATA*/", json.dumps(data).replace("<", "\\u003c"))


def _plots(results: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if figures.audible(results):
        yield "Correlation with the original, semitone by semitone, and its mean", figures.semitone_curves(results)
        yield "By instrument", figures.by_instrument(results)
    yield "Quality and speed of the vocoders", figures.quality_and_speed(results)


def _embedded(results: dict[str, Any], out: Path) -> Iterator[tuple[str, str]]:
    """Cell id -> data URL: of whole recordings, drawn from all over the bench, while there is room."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in results["cells"]:
        if row.get("audio"):
            groups.setdefault((row["file"], row["instrument"]), []).append(row)
    order, room = sorted(groups), EMBED_MB * 1e6
    random.Random(0).shuffle(order)
    for key in order:
        for row in groups[key]:
            url = _data_url(out / row["audio"])
            room -= len(url)
            if room < 0:
                return
            yield row["id"], url


def _data_url(path: Path) -> str:
    import soundfile

    wave, rate = read_audio(path)
    kind, mime = ("MP3", "mpeg") if "MP3" in soundfile.available_formats() else ("FLAC", "flac")
    buffer = io.BytesIO()
    soundfile.write(buffer, wave, rate, format=kind)
    return f"data:audio/{mime};base64,{base64.b64encode(buffer.getvalue()).decode()}"
