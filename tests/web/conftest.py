"""A real server in a thread: real sockets, real HTTP, a Mel2Mel so small that it computes in no time."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pretty_midi
import pytest
import torch

pytest.importorskip("fastapi", reason="m2m[web] is not installed")
pytest.importorskip("uvicorn", reason="m2m[web] is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

import httpx
import uvicorn
from browser import WAIT, launched
from explorer_page import LIMITS
from fastapi import FastAPI

from m2m.core.checkpoint import save_model
from m2m.core.mel2mel import Mel2Mel, Mel2MelConfig
from m2m.core.transcription import Scribe
from m2m.web.app import build_app
from m2m.web.jobs import Jobs
from m2m.web.limits import ServerLimits
from m2m.web.serve import configure, listen
from m2m.web.service import Service

PATIENCE = 120.0  # seconds until a wait has failed: a busy machine is no failure
Serve = Callable[..., "Client"]


class Client(httpx.Client):
    """A client of a server, and that server's jobs: to ask for one over HTTP counts as waiting for it."""

    jobs: Jobs


@pytest.fixture(scope="session")
def midi(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., bytes]:
    """MIDI files: a scale, two notes a second, once for each program; -1 is drums. pan: of all, as CC 10 has it."""
    file = tmp_path_factory.mktemp("midi") / "made.mid"

    def make(seconds: float = 2.0, programs: tuple[int, ...] = (0,), pan: int = 64) -> bytes:
        midi = pretty_midi.PrettyMIDI()
        for program in programs:
            part = pretty_midi.Instrument(max(program, 0), is_drum=program < 0)
            part.notes = [pretty_midi.Note(90, 60 + i % 12, i / 2, i / 2 + 0.45) for i in range(int(2 * seconds))]
            part.control_changes = [pretty_midi.ControlChange(10, pan, 0.0)]
            midi.instruments.append(part)
        midi.write(str(file))
        return file.read_bytes()

    return make


VOCODERS = """
import threading
import time
import numpy as np
from m2m.core.errors import M2MError
from m2m.core.vocoder import Vocoder

class Slow(Vocoder):
    "A hum, a tenth of a second at a time, as long as that takes."
    notice = "slow is slow."

    def stream(self, mel, seed):
        for at in range(0, mel.samples, 1600):
            time.sleep(0.1)
            yield np.full(min(1600, mel.samples - at), 2.0, np.float32)

released = threading.Event()

class Held(Vocoder):
    "A hum, of which all but the first half second waits until `released` is set."

    def stream(self, mel, seed):
        yield np.full(8000, 2.0, np.float32)
        released.wait()
        yield np.full(mel.samples - 8000, 2.0, np.float32)

opened = threading.Event()

class Tardy(Vocoder):
    "Takes until `opened` is set to load."
    def __init__(self, options=None, device="cpu"):
        super().__init__(options, device)
        opened.wait()
    def stream(self, mel, seed):
        yield np.full(mel.samples, 0.5, np.float32)

class Bare(Vocoder):
    "Has no weights."
    def __init__(self, options=None, device="cpu"):
        raise M2MError("bare has no weights yet; train some: m2m train bare.")
    def stream(self, mel, seed):
        yield

class Broken(Vocoder):
    "Fails in the middle."
    def stream(self, mel, seed):
        yield np.zeros(8000, np.float32)
        time.sleep(0.3)  # what has come is being played
        raise OSError("the cable came loose")
"""


@pytest.fixture
def vocoders(install: Callable[..., Path]) -> None:
    """A third party's vocoders: `slow`, `held`, `tardy`, `bare` and `broken`."""
    entries = "\n".join(f"{name} = strange:{name.title()}" for name in ("slow", "held", "tardy", "bare", "broken"))
    install("strange", VOCODERS, entries=entries, group="m2m.vocoders")


PATIENT = """
import time
from m2m.core.transcriber import Transcriber

heard, ended = [], []

class Encoder(Transcriber):
    'Takes 0.3 s for each block.'

    def stream(self, blocks, sample_rate):
        for block in blocks:
            heard.append(len(block))
            time.sleep(0.3)
        ended.append(True)
        yield from ()
"""


@pytest.fixture
def patient(install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of a transcriber that takes its time, which the server uses."""
    install("patient", PATIENT, group="m2m.transcribers")
    monkeypatch.setattr("m2m.web.transcription.Scribe", partial(Scribe, "patient"))
    return import_module("patient")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of eight units and three instruments."""
    torch.manual_seed(0)
    instruments = {"piano": 0, "organ": 19, "trumpet": 56}
    config = Mel2MelConfig(hidden=8, timbre_dim=4, instruments=instruments)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, "mel2mel", config, Mel2Mel(config), "# Made up\n")
    return folder


@contextlib.contextmanager
def _serving(app: FastAPI, port: int = 0, limits: ServerLimits | None = None) -> Iterator[str]:
    """Serve an app as `m2m serve` does; gives its address."""
    listening = listen("127.0.0.1", port)
    server = uvicorn.Server(configure(app, limits or ServerLimits()))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server has ended"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()


@pytest.fixture(scope="session")
def serving() -> Callable[..., contextlib.AbstractContextManager[str]]:
    """Serve an app of one's own."""
    return _serving


@pytest.fixture
def serve(tiny: Path) -> Iterator[Serve]:
    """Start servers of the tiny model; `serve(jobs=1)` gives a client of one with that limit."""
    with contextlib.ExitStack() as stack:

        def start(*, token: str = "", hosts: tuple[str, ...] = (), **limits: Any) -> Client:
            service = Service(ServerLimits(**limits), [tiny])
            app = build_app(service, token=token, hosts=hosts)
            address = stack.enter_context(_serving(app, limits=service.limits))
            client = stack.enter_context(Client(base_url=address, timeout=PATIENCE))
            client.jobs = app.state.jobs
            return client

        yield start


@pytest.fixture(scope="session")
def client(tiny: Path) -> Iterator[httpx.Client]:
    """A client of a server that many tests share."""
    with (
        _serving(build_app(Service(ServerLimits(), [tiny]))) as address,
        httpx.Client(base_url=address, timeout=PATIENCE) as shared,
    ):
        yield shared


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launched() as chromium:
        yield chromium


@pytest.fixture(scope="module")
def address(serving: Any) -> Iterator[str]:
    with serving(
        build_app(Service(LIMITS, ["mel2mel-film"]))
    ) as address:  # few instruments, whose names the tests know
        yield address


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Callable[..., Any]]:
    """Open the page, and wait until it is ready; whatever a script complains of, or asks of another host, fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def note(ask: Any, at: str) -> None:
        if not ask.url.startswith((at, "data:", "blob:")):
            complaints.append(ask.url)

    def open_page(*, at: str = address, wait: bool = True, **settings: Any) -> Any:
        settings = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "dark", **settings}
        context = browser.new_context(**settings)
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda ask: note(ask, at))
        page.add_init_script(
            "window.shift = 0; new PerformanceObserver((l) => l.getEntries().forEach((e) => (window.shift += e.value)))"
            ".observe({ type: 'layout-shift', buffered: true })"
        )
        page.goto(at)
        if wait:
            page.wait_for_selector("body[data-ready]")
            page.wait_for_selector("#stage[data-shade]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
