"""Recordings of a second, a vocoder that is a plugin of the test's own, and a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
import soundfile
from browser import launched
from command_line import HANGS
from once import made_once

RATE = 16_000
ECHO = """
import os
import time
import numpy as np
from m2m.core.vocoder import Vocoder, VocoderOptions

class Options(VocoderOptions):
    mode: str = "noise"

class Encoder(Vocoder):
    Options = Options

    def stream(self, mel, seed):
        if self.options.mode == "fail":
            raise ValueError("no such luck")
        if self.options.mode == "crash":
            os._exit(3)
        while os.path.exists(self.options.mode):
            time.sleep(0.05)
        envelope = np.repeat(np.exp(mel.values).mean(axis=1), mel.spec.hop_length)
        draw = np.random.default_rng(seed).standard_normal(mel.samples)
        yield (envelope * draw).astype(np.float32)
"""


def tone(notes: list[tuple[float, float, int]], seconds: float) -> np.ndarray:
    """Decaying notes with three partials: (start, end, key)."""
    t = np.arange(round(seconds * RATE)) / RATE
    wave = np.zeros(len(t))
    for start, end, key in notes:
        hz = 440 * 2 ** ((key - 69) / 12)
        gate = (
            ((t >= start) & (t < end)) * np.exp(-4 * np.maximum(t - start, 0)) * np.minimum(1, np.abs(end - t) / 0.01)
        )
        wave += 0.2 * gate * sum(np.sin(2 * np.pi * k * hz * (t - start)) / k for k in (1, 2, 3))
    return wave.astype(np.float32)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of recordings: two pieces on two instruments, a second each. Not to be written to."""
    return made_once(tmp_path_factory, "recordings", write_recordings)


def write_recordings(folder: Path) -> None:
    for name, keys in (("up", (60, 64, 67)), ("down", (72, 65, 57))):
        notes = [(0.05 + 0.3 * i, 0.3 + 0.3 * i, key) for i, key in enumerate(keys)]
        midi, piano = pretty_midi.PrettyMIDI(resolution=960), pretty_midi.Instrument(0)
        piano.notes = [pretty_midi.Note(90, key, start, end) for start, end, key in notes]
        midi.instruments.append(piano)
        midi.write(str(folder / f"{name}.mid"))
        for instrument, gain in (("grand-piano", 1.0), ("trumpet", 0.6)):
            soundfile.write(folder / f"{name}--{instrument}.flac", gain * tone(notes, 1.0), RATE)


@pytest.fixture(scope="session")
def echo_code() -> str:
    """The module of the distribution "echo"."""
    return ECHO


@pytest.fixture
def echo(install: Callable[..., Path]) -> None:
    """Install the vocoder "echo": noise under the mel's envelope.

    Its option `mode` makes it fail ("fail"), crash ("crash") or wait while there is a file (its path).
    """
    install("echo", ECHO, group="m2m.vocoders")


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished bench of made-up figures (tests/support/finished_bench.py). Not to be written to."""
    pytest.importorskip("pyloudnorm")
    pytest.importorskip("matplotlib")
    from finished_bench import write_bench

    folder = tmp_path_factory.mktemp("bench")
    write_bench(folder)
    return folder


@pytest.fixture
def chromium() -> Iterator[Any]:
    """A page of a real Chromium, which lets sound play unasked."""
    with launched("--autoplay-policy=no-user-gesture-required") as browser:
        page = browser.new_page(accept_downloads=True)
        page.set_default_timeout(1000 * HANGS)
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
        yield page
        page.close()
        assert faults == []
