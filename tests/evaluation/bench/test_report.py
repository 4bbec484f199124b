"""The report in a real Chromium, from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finished_bench import SYSTEMS, WICKED


def test_the_report_sorts_filters_and_plays(bench: Path, chromium: Any) -> None:
    chromium.goto((bench / "report.html").as_uri())
    assert chromium.title() == "m2m bench"  # what a plugin wrote stays text
    assert chromium.locator("#summary td.bad").first.inner_text() == WICKED
    assert chromium.locator("#plots svg").count() == 3

    def column(section: str, number: int) -> list[str]:
        return chromium.locator(f"{section} tbody tr td:nth-child({number})").all_inner_texts()

    assert column("#summary", 2) == ["1.000", "0.900", "0.800", "0.700", ""]
    chromium.click("#summary th:nth-child(3) button")  # log-mel error, largest first
    assert column("#summary", 3) == ["0.300", "0.200", "0.100", "0.000", ""]
    chromium.click("#summary th:nth-child(3) button")
    assert column("#summary", 3) == ["0.000", "0.100", "0.200", "0.300", ""]
    chromium.click("#summary th:nth-child(1) button")
    assert column("#summary", 1) == sorted(SYSTEMS)
    assert "0.1500" in column("#speed", 2)[0]

    assert len(column("#cells", 1)) == 20
    chromium.fill("#filter", "trumpet film")
    assert column("#cells", 1) == ["film > v"] * 2
    chromium.click("#cells .go >> nth=1")  # from its row to the players: piece b on the trumpet
    assert (chromium.input_value("#file"), chromium.input_value("#instrument")) == ("b", "trumpet")
    assert chromium.locator(".player").count() == 5
    assert chromium.locator(".player.now b").inner_text().startswith("film > v")
    chromium.wait_for_function("audio.currentTime > 0.05")
    assert chromium.evaluate("audio.error === null && audio.duration > 0.4")
    chromium.keyboard.press("1")  # the original, from where the other was
    chromium.wait_for_function("current.row.system === 'original'")
    assert chromium.locator(".player.now").count() == 1
    chromium.select_option("#instrument", "grand-piano")
    assert chromium.evaluate("audio.paused") is True
