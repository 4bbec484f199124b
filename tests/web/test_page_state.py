"""What the page keeps, what it covers, what it shows on small screens, and the mixer, in a real Chromium."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import WAIT
from explorer_page import LIMITS, at, come, finished, give, hear, keep, play_scale, takes
from server_requests import PATIENCE

from m2m.web.app import build_app
from m2m.web.limits import ServerLimits
from m2m.web.service import Service

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect
expect.set_options(timeout=WAIT)

Midi = Callable[..., bytes]
CONTROLS = "button, select, input[type=range], .button, .toggle, a.quiet, .clock, .mark"


def overlaps(page: Any, those: str, others: str = "") -> list[str]:
    """Pairs of visible elements of which one covers a part of another."""
    return page.evaluate(
        """([those, others]) => {
        const seen = (query) => [...document.querySelectorAll(query)].filter((e) => e.checkVisibility()
          && getComputedStyle(e).opacity !== "0");
        const box = (e) => e.getBoundingClientRect();
        const bad = [];
        const second = others ? seen(others) : null;
        seen(those).forEach((a, i, all) => (second ?? all.slice(i + 1)).forEach((b) => {
          if (a.contains(b) || b.contains(a) || !!a.closest(".transport") !== !!b.closest(".transport")) return;
          const [p, q] = [box(a), box(b)];
          const w = Math.min(p.right, q.right) - Math.max(p.left, q.left);
          const h = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
          if (w > 1 && h > 1) bad.push(`${a.id || a.textContent} and ${b.id || b.textContent}`);
        }));
        return bad; }""",
        [those, others],
    )


def test_the_choice_that_is_shown_is_the_one_that_is_used(visit: Any, midi: Midi, vocoders: None) -> None:
    page = visit()
    play_scale(page, midi, 1.0)
    page.select_option("#vocoder", "tardy")
    page.mouse.click(*at(page, 0.5, 0.5))  # while it is being loaded
    expect(page.locator("#vocoder")).to_have_attribute("aria-busy", "true")
    expect(page.locator(".take small")).to_have_text("tardy · film · loading…")
    import_module("strange").opened.set()
    finished(page)
    expect(page.locator(".take small")).to_have_text("tardy · film")
    assert takes(page)[0]["loud"] == pytest.approx(0.5 * 10 ** (9 / 20), rel=0.01)
    expect(page.locator("#vocoder:not([aria-busy])")).to_have_value("tardy")


def test_the_map_waits_for_another_model(visit: Any, midi: Midi) -> None:
    page = visit()
    play_scale(page, midi, 1.0)
    page.evaluate(
        "document.querySelector('#model').addEventListener('change', () => (window.inert = m2m.map.canvas.inert))"
    )
    page.select_option("#model", "mel2mel-concat")
    assert page.evaluate("window.inert")  # its places mean nothing to the model that is shown
    come(page, "m2m.map.map.model === 'mel2mel-concat' && !m2m.map.canvas.inert")
    page.mouse.click(*at(page, 0.5, 0.5))
    finished(page)
    expect(page.locator(".take small")).to_contain_text("concat")


def test_a_reload_keeps_the_score_its_mix_and_the_recordings(visit: Any, serving: Any, midi: Midi, tiny: Any) -> None:
    with serving(build_app(Service(LIMITS, [tiny]))) as address:
        page = visit(at=address)
        give(page, midi(2.0, (0, 19)))
        expect(page.locator("#mixer li")).to_have_count(2)
        page.get_by_label("Mute track 2").click()
        page.mouse.click(*at(page, 0.5, 0.4))
        finished(page)
        before = takes(page)
        page.wait_for_timeout(300)  # until the browser has stored it
        page.reload()
        page.wait_for_selector("body[data-ready]")
        expect(page.locator("#score-title")).to_have_text("scale")
        assert takes(page) == before
        expect(page.locator("[aria-label^=Download]")).to_be_visible()
        expect(page.get_by_label("Mute track 2")).to_have_attribute("aria-pressed", "true")
        page.click("#play")
        hear(page)
    with serving(build_app(Service(LIMITS, [tiny])), int(address.rsplit(":", 1)[1])):  # which has forgotten all of it
        page.reload()
        page.wait_for_selector("body[data-ready]")
        expect(page.locator("#score-title")).to_have_text("scale")
        assert takes(page) == before
        page.click("[aria-label^=Render]")
        expect(page.locator("[aria-label^=Download]")).to_be_visible()
        finished(page)
        page.click("#clear")
        page.wait_for_timeout(300)
        page.reload()
        page.wait_for_selector("body[data-ready]")
        expect(page.locator("#sheet-veil h3")).to_have_text("What shall it play?")
        assert not takes(page)
        page.close()


def test_a_transcription_is_cancelled(visit: Any, serving: Any, tiny: Any, patient: Any) -> None:
    with serving(build_app(Service(ServerLimits(), [tiny]))) as address:
        page = visit(at=address)
        file = io.BytesIO()
        soundfile.write(file, np.zeros(8000 * 590), 8000, format="flac")  # 148 blocks
        give(page, file.getvalue(), "long.flac", "audio/flac")
        veil = page.locator("#sheet-veil")
        expect(veil).to_contain_text("Hearing the notes of long.flac")
        veil.get_by_role("button", name="Cancel").click()
        expect(veil).to_be_hidden()
        expect(page.locator("#score-title")).to_have_text("prelude")
        deadline = time.monotonic() + PATIENCE
        while not patient.ended:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert len(patient.heard) < 140
        page.close()


def test_the_mixer_sets_the_tracks_of_the_next_recording(visit: Any, midi: Midi) -> None:
    page = visit()
    give(page, midi(2.0, (0, 19, 56)))
    expect(page.locator("#mixer li")).to_have_count(3)
    page.get_by_label("Timbre of track 1").select_option("vibraphone")
    page.get_by_label("Level of track 1").fill("-6")
    page.get_by_label("Solo track 1").click()
    keep(page, "mixer")
    page.click("#instruments button:has-text('as written')")
    finished(page)
    expect(page.locator(".take small")).to_contain_text("mixed")
    command = page.evaluate("m2m.takes()[0].command")
    assert "--map track:1=vibraphone --mix track:1=-6dB --mix track:2=mute --mix track:3=mute" in command
    page.get_by_label("Solo track 1").click()
    play_scale(page, midi, 1.0)
    expect(page.locator("#mixer")).to_be_hidden()  # one track needs none


def test_among_many_instruments_one_is_found_by_its_name(visit: Any, midi: Midi) -> None:
    page = visit()
    expect(page.locator("#find")).to_be_hidden()  # of ten
    page.select_option("#model", "mel2mel-gm")
    come(page, "m2m.map.map.model === 'mel2mel-gm' && !m2m.map.canvas.inert")
    page.fill("#find", "sax al")
    expect(page.locator("#instruments button:visible")).to_have_text(["alto-sax"])
    page.fill("#find", "")
    assert page.locator("#instruments button:visible").count() > 100


def test_a_file_that_is_refused_is_named(visit: Any, midi: Midi) -> None:
    page = visit()
    play_scale(page, midi, 1.0)
    give(page, b"no music", "cat.mid")
    expect(page.locator("#sheet-veil h3")).to_have_text("Not a MIDI file")
    expect(page.locator("#score-title")).to_have_text("cat")
    expect(page.locator("#score-about")).to_be_empty()
    page.get_by_role("button", name="Back to the score").click()
    expect(page.locator("#score-title")).to_have_text("scale")
    expect(page.locator("#score-about")).to_contain_text("2 notes")


def test_a_long_rendering_says_how_long_it_takes(visit: Any, midi: Midi, vocoders: None) -> None:
    page = visit()
    play_scale(page, midi, 40.0)
    page.select_option("#vocoder", "slow")  # as long as it sounds
    page.mouse.click(*at(page, 0.5, 0.5))
    expect(page.locator(".take small")).to_contain_text(re.compile(r" % · \d+:\d\d left"))
    page.click(".take [aria-label^=Remove]")


@pytest.mark.parametrize(("width", "height"), [(1280, 860), (390, 844)])
def test_a_notice_covers_nothing(visit: Any, midi: Midi, vocoders: None, width: int, height: int) -> None:
    page = visit(viewport={"width": width, "height": height})
    play_scale(page, midi, 1.0)
    page.select_option("#vocoder", "bare")
    expect(page.locator(".notice[data-kind=component]")).to_be_visible()
    page.evaluate("scrollTo(0, 0)")
    assert not overlaps(page, ".notice", "select, canvas, .panel, .bar, .transport")
    sizes = "[m2m.map.canvas.width, Math.round(m2m.map.canvas.clientWidth * devicePixelRatio), "
    sizes += "m2m.map.canvas.height, Math.round(m2m.map.canvas.clientHeight * devicePixelRatio)]"
    wide, drawn_wide, high, drawn_high = page.evaluate(sizes)
    assert (wide, high) == (drawn_wide, drawn_high)  # the map has made room, and is drawn anew


@pytest.mark.parametrize(("name", "width", "height"), [("narrow", 320, 640), ("landscape", 844, 390)])
def test_small_screens(visit: Any, midi: Midi, name: str, width: int, height: int) -> None:
    page = visit(viewport={"width": width, "height": height}, device_scale_factor=2, has_touch=True, is_mobile=True)
    give(page, midi(2.0, (0, 19)))
    expect(page.locator("#mixer li")).to_have_count(2)
    page.touchscreen.tap(*at(page, 0.4, 0.4))
    finished(page)
    page.evaluate("scrollTo(0, 0)")
    keep(page, name)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not overlaps(page, CONTROLS)
    stage, transport = page.locator("#stage").bounding_box(), page.locator(".transport").bounding_box()
    assert stage["height"] >= 150
    assert stage["y"] + stage["height"] <= transport["y"]  # all of the map is seen
