"""Acts on the explorer's page, and what can be seen and heard of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import product
from math import hypot
from pathlib import Path
from typing import Any

from browser import WAIT

from m2m.web.limits import ServerLimits

LIMITS = ServerLimits(upload_kb=64, score_seconds=60.0)


def keep(page: Any, name: str) -> None:
    if folder := os.environ.get("M2M_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=Path(folder) / f"{name}.jpg", type="jpeg", quality=82)


def at(page: Any, u: float, v: float) -> tuple[float, float]:
    """Pixels of the place nearest to (u, v) of the map that no instrument is at, wherever the weights have put them."""
    box = page.locator("#map").bounding_box()
    taken = page.evaluate(
        """() => { const { x: [left, right], y: [low, high], instruments } = m2m.map.map;
        return instruments.map(({ x, y }) => [(x - left) / (right - left), (high - y) / (high - low)]); }"""
    )
    steps = [i / 50 for i in range(-10, 11)]
    for du, dv in sorted(product(steps, steps), key=lambda step: hypot(*step)):
        x, y = (u + du) * box["width"], (v + dv) * box["height"]
        if all(hypot(x - a * box["width"], y - b * box["height"]) > 16 for a, b in taken):
            return box["x"] + x, box["y"] + y
    raise AssertionError(f"no room on the map near {u}, {v}")


def drag(page: Any, *places: tuple[float, float]) -> None:
    page.mouse.move(*at(page, *places[0]))
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*at(page, *place), steps=6)
    page.mouse.up()


def give(page: Any, data: bytes, name: str = "scale.mid", kind: str = "audio/midi") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": kind, "buffer": data})


def bright(page: Any, canvas: str) -> float:
    """How much a canvas varies: 0 where nothing is drawn."""
    return page.evaluate(
        """(id) => {
        const c = document.getElementById(id);
        const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
        let [sum, square] = [0, 0];
        for (let i = 0; i < d.length; i += 4) { const v = d[i] + d[i + 1] + d[i + 2]; sum += v; square += v * v; }
        return 4 * square / d.length - (4 * sum / d.length) ** 2;
        }""",
        canvas,
    )


def come(page: Any, expression: str) -> Any:
    """Wait until an expression is true. (Playwright's own would have the page evaluate it, which its policy forbids.)"""
    for _ in range(WAIT // 50):
        if value := page.evaluate(expression):
            return value
        page.wait_for_timeout(50)
    raise AssertionError(f"{expression} did not come true")


def takes(page: Any) -> list[dict[str, Any]]:
    return page.evaluate(
        """() => m2m.takes().map((t) => ({ state: t.state, timbre: t.timbre, letter: t.letter, filled: t.filled,
        total: t.samples.length, loud: Math.sqrt(t.samples.reduce((s, x) => s + x * x, 0) / (t.samples.length || 1)) }))"""
    )


def hear(page: Any) -> float:
    """Wait for sound: the loudness that goes to the loudspeaker."""
    return come(page, "m2m.player.level > 0.002 && m2m.player.level")


def finished(page: Any, count: int = 1) -> None:
    come(page, f"m2m.takes().length === {count} && m2m.takes().every((t) => t.state === 'ready')")


def play_scale(page: Any, midi: Callable[..., bytes], seconds: float = 3.0, **kind: Any) -> None:
    give(page, midi(seconds, **kind))
    come(page, "document.querySelector('#score-title').textContent === 'scale'")
