"""The page in a real Chromium, with the model that ships: seen, heard, dragged, broken and mended.

M2M_SCREENSHOTS=docs/explorer python -m pytest tests/web/test_page.py tests/web/test_page_state.py    # a picture of each state
"""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from browser import WAIT
from explorer_page import LIMITS, at, bright, come, drag, finished, give, hear, keep, play_scale, takes

from m2m.evaluation.bench.recordings import QUICK
from m2m.web.app import build_app
from m2m.web.limits import ServerLimits
from m2m.web.service import Service

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
expect = playwright.expect

Midi = Callable[..., bytes]
expect.set_options(timeout=WAIT)


def test_it_loads_hovers_and_plays(visit: Any, midi: Midi) -> None:
    page = visit()
    assert page.evaluate("shift") < 0.1  # nothing jumped about while it loaded
    expect(page.locator("#score-title")).to_have_text("prelude")
    assert bright(page, "map") > 100
    assert bright(page, "roll") > 100
    play_scale(page, midi)

    page.mouse.move(*at(page, 0.3, 0.4))
    page.mouse.move(*at(page, 0.6, 0.5))
    come(page, "document.querySelector('#sheet').dataset.mel?.startsWith('map@')")
    first = page.locator("#sheet").get_attribute("data-mel")
    assert bright(page, "mel") > 100
    page.mouse.move(*at(page, 0.1, 0.2))
    come(page, f"document.querySelector('#sheet').dataset.mel !== {json.dumps(first)}")

    page.mouse.click(*at(page, 0.5, 0.3))
    assert hear(page) > 0.002
    come(page, "m2m.player.position > 0.3")
    finished(page)
    (take,) = takes(page)
    assert take["timbre"].startswith("map@")
    assert take["filled"] == take["total"] > 16_000 * 3
    assert take["loud"] > 0.005
    assert page.locator("#download").get_attribute("href").startswith("api/jobs/")
    with page.expect_download() as download:
        page.click("#download")
    assert Path(download.value.path()).stat().st_size > 60_000
    keep(page, "dark")


def test_a_drag_is_a_morph_and_recordings_are_compared_at_one_moment(visit: Any, midi: Midi) -> None:
    page = visit(color_scheme="light")
    play_scale(page, midi, 6.0)
    page.mouse.click(*at(page, 0.35, 0.8))
    hear(page)
    drag(page, (0.1, 0.3), (0.3, 0.7), (0.6, 0.4), (0.9, 0.2))
    finished(page, 2)
    morph = takes(page)[1]["timbre"]
    assert re.fullmatch(r"0:\S+(; [\d.]+:\S+){7}", morph), morph
    assert float(morph.split("; ")[-1].split(":")[0]) == pytest.approx(5.95, abs=0.01)
    page.evaluate("m2m.player.play(m2m.player.take, 0)")  # it may have ended while the second one was rendered
    hear(page)
    clock = "[m2m.player.position, performance.now() / 1000]"
    before, then = page.evaluate(clock)
    page.click(".take:nth-child(2) .letter")  # the first recording, further down
    assert page.evaluate("m2m.player.take.letter") == takes(page)[0]["letter"]
    after, now = page.evaluate(clock)
    assert before - 0.1 <= after < before + (now - then) + 0.1
    page.click(".take:nth-child(1) .letter")
    hear(page)
    keep(page, "light")

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click("#copy")
    page.wait_for_selector(".notice[data-kind=copied]")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("m2m render scale.mid --model mel2mel-film --vocoder griffin-lim --timbre '0:")
    assert command.endswith(f"-o scale-{takes(page)[1]['letter']}.wav")


def test_by_keys_alone(visit: Any, midi: Midi) -> None:
    page = visit(reduced_motion="reduce")
    play_scale(page, midi)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#map")).to_be_focused()
    for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator("#said")).not_to_be_empty()
    page.keyboard.press("Enter")
    finished(page)
    hear(page)
    for key in ("p", "Shift+ArrowLeft", "p", "Shift+ArrowDown", "p", "Enter"):
        page.keyboard.press(key)
    finished(page, 2)
    assert takes(page)[1]["timbre"].count(";") == 2
    keep(page, "keyboard")
    page.evaluate("m2m.player.seek(0)")  # so that it still plays when it is paused below
    page.keyboard.press("1")
    come(page, "m2m.player.take === m2m.takes()[0]")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    assert not page.evaluate("m2m.player.playing")
    page.keyboard.press("l")
    assert page.evaluate("m2m.player.loop")
    page.keyboard.press("Home")
    assert page.evaluate("m2m.player.position") == 0
    page.locator("#seek").focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    assert page.evaluate("m2m.player.position") == pytest.approx(2.0, abs=0.15)
    expect(page.locator("#seek")).to_have_attribute("aria-valuetext", re.compile(r"0:0\d of 0:04"))
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()


def test_a_loop_begins_again(visit: Any, midi: Midi) -> None:
    page = visit()
    play_scale(page, midi, 0.5)
    page.click("#loop")
    page.click("#instruments button:has-text('church-organ')")
    finished(page)
    page.evaluate("m2m.player.seek(1.8)")
    come(page, "m2m.player.playing && m2m.player.position < 1")
    hear(page)


def test_audio_is_heard_shown_and_played_on_another_instrument(visit: Any) -> None:
    page = visit()
    file = io.BytesIO()
    wave, rate = soundfile.read(QUICK / "prelude--grand-piano.flac", frames=8 * 16_000)
    soundfile.write(file, np.stack([wave, wave], axis=1), rate, format="ogg")
    give(page, file.getvalue(), "piano.ogg", "audio/ogg")
    come(page, "document.querySelector('#score-title').textContent === 'piano'")
    expect(page.locator("#score-about")).to_contain_text("heard: ")
    come(page, "document.querySelector('#sheet').dataset.mel === 'recording'")
    own = page.locator("#recorded")
    expect(own).to_have_attribute("aria-pressed", "true")
    assert bright(page, "mel") > 100
    assert bright(page, "roll") > 100
    keep(page, "transcribed")
    page.click("#instruments button:has-text('trumpet')")
    come(page, "document.querySelector('#sheet').dataset.mel === 'trumpet'")
    expect(own).to_have_attribute("aria-pressed", "false")
    hear(page)
    finished(page)
    own.click()
    come(page, "document.querySelector('#sheet').dataset.mel === 'recording'")
    expect(page.locator("#mel-tag")).to_have_text("piano.ogg")
    page.reload()
    page.wait_for_selector("body[data-ready]")
    expect(page.locator("#score-title")).to_have_text("piano")
    expect(own).to_be_visible()
    give(page, b"RIFF....", "noise.wav", "audio/wav")
    expect(page.locator("#sheet-veil h3")).to_have_text("Not a recording")
    page.locator("#sheet-veil").get_by_role("button", name="Back to the score").click()
    page.click("#clear")
    expect(own).to_be_hidden()


def test_files_that_are_no_scores(visit: Any, midi: Midi) -> None:
    page = visit()
    veil = page.locator("#sheet-veil")
    for data, name, title, words in (
        (b"\x89PNG no music", "picture.png", "Not a MIDI file", "does not begin with 'MThd'"),
        (b"MThd" + bytes(70_000), "huge.mid", "Too large", "64 kB are the most"),
        (midi(80.0), "opera.mid", "Too long", "the most this server renders"),
        (midi(2.0, (-1,)), "drums.mid", "Nothing to play", "drum notes left out"),
    ):
        give(page, data, name)
        expect(veil.locator("h3")).to_have_text(title)
        expect(veil).to_contain_text(words)
        keep(page, f"state-{title.lower().replace(' ', '-')}")
    veil.get_by_role("button", name="Back to the score").click()
    expect(veil).to_be_hidden()
    page.click("#clear")
    expect(veil.locator("h3")).to_have_text("What shall it play?")
    keep(page, "state-empty")
    page.mouse.click(*at(page, 0.5, 0.5))
    expect(page.locator(".notice[data-kind=empty]")).to_contain_text("no score yet")
    veil.get_by_role("button", name="Play the example").click()
    expect(page.locator("#score-title")).to_have_text("prelude")

    drop = page.evaluate_handle(
        """(bytes) => { const all = new DataTransfer();
        all.items.add(new File([new Uint8Array(bytes)], "dropped.mid")); return all }""",
        list(midi(1.0)),
    )
    page.dispatch_event("#score", "dragover", {"dataTransfer": drop})
    expect(page.locator("#drop")).to_be_visible()
    page.dispatch_event("#score", "drop", {"dataTransfer": drop})
    expect(page.locator("#score-title")).to_have_text("dropped")


def test_what_cannot_be_used_says_why(visit: Any, midi: Midi, vocoders: None) -> None:
    page = visit()
    play_scale(page, midi, 1.0)
    page.select_option("#vocoder", "bare")
    notice = page.locator(".notice[data-kind=component]")
    expect(notice).to_contain_text("bare has no weights yet; train some: m2m train bare.")
    expect(page.locator("#vocoder")).to_have_value("griffin-lim")
    expect(page.locator("#vocoder option[value=bare]")).to_have_text("bare (not usable)")
    keep(page, "state-no-weights")
    notice.get_by_role("button").click()
    expect(notice).to_be_hidden()
    page.select_option("#model", "mel2mel-concat")
    come(page, "m2m.map.map.model === 'mel2mel-concat'")
    page.select_option("#vocoder", "broken")
    come(page, "!document.querySelector('#vocoder[aria-busy]')")
    page.mouse.click(*at(page, 0.5, 0.5))
    expect(page.locator(".take.bad")).to_contain_text("the cable came loose")
    come(page, "!m2m.player.playing")  # after the little that had come
    keep(page, "state-failed")


def test_a_full_queue_is_waited_for(visit: Any, serving: Any, midi: Midi, vocoders: None, tiny: Path) -> None:
    with serving(build_app(Service(ServerLimits(jobs=1, workers=1), [tiny]))) as address:
        page = visit(at=address)
        play_scale(page, midi, 20.0)  # which the slow vocoder takes as long for
        page.select_option("#vocoder", "slow")
        expect(page.locator(".notice[data-kind=component]")).to_contain_text("slow is slow.")
        page.mouse.click(*at(page, 0.2, 0.5))
        hear(page)
        page.mouse.click(*at(page, 0.8, 0.5))
        expect(page.locator(".take").first).to_contain_text("The queue is full. Asking again in")
        keep(page, "state-queue-full")
        page.click(".take:nth-child(2) [aria-label^=Remove]")
        hear(page)


def test_the_server_goes_and_comes_back(visit: Any, serving: Any, midi: Midi, tiny: Path) -> None:
    with serving(build_app(Service(LIMITS, [tiny]))) as address:
        page = visit(at=address)
        play_scale(page, midi, 1.0)
    page.mouse.click(*at(page, 0.5, 0.5))
    notice = page.locator(".notice[data-kind=server]")
    expect(notice).to_contain_text("The server is gone.")
    expect(page.locator(".take.bad")).to_contain_text("does not answer")
    keep(page, "state-server-gone")
    with serving(build_app(Service(LIMITS, [tiny])), int(address.rsplit(":", 1)[1])):
        expect(notice).to_contain_text("The server is back.")
        page.click(".take [aria-label^=Render]")  # of a score that the new server has been sent again
        finished(page)
        page.close()


def test_on_a_phone(visit: Any, midi: Midi) -> None:
    page = visit(viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True)
    play_scale(page, midi, 2.0)
    page.touchscreen.tap(*at(page, 0.4, 0.4))
    finished(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#play").bounding_box()["y"] < 844  # the transport is at hand wherever one has scrolled to
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, select, .button, a.quiet")].filter((e) => e.offsetParent)
        .map((e) => [e.textContent.trim(), e.offsetHeight]).filter(([, height]) => height < 30)"""
    )
    assert not small
    keep(page, "phone")
    page.locator("#takes").scroll_into_view_if_needed()
    keep(page, "phone-recordings")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_axe_finds_nothing(visit: Any, midi: Midi, address: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    page = visit(color_scheme=scheme)
    play_scale(page, midi, 1.0)
    page.mouse.click(*at(page, 0.5, 0.5))
    finished(page)

    def found() -> list[str]:
        return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in axe.Axe().run(page).response["violations"]]

    assert not found()
    page.click("#clear")
    assert not found()
    page.click("#keys")
    assert not found()
    keep(page, f"keys-{scheme}")
    page.goto(f"{address}/docs.html")
    page.wait_for_selector("#api details")
    assert not found()
    page.click("#api details:nth-of-type(9) summary")
    keep(page, f"api-{scheme}")
