"""What a server's memory does over a thousand renderings of any kind.

    python benches/serve_soak.py --picture docs/serve-soak.png --json soak.json      # half an hour on two cores

Starts `m2m serve` with its default limits, and clients that upload scores and ask for renderings: streamed to the end, fetched
as files, cancelled, left in the middle, never read, along paths through the timbre space, of many parts, with other vocoders, and
with what is wrong. Every second the server's resident memory is read, and once more when all renderings have been deleted.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pretty_midi
from serve import ask
from shared import conditions, json_option, write_json

# A kind of rendering, and how many of a thousand are of it.
KINDS = {
    "streamed": 300,
    "as a WAV file": 120,
    "as a FLAC file": 120,
    "a path, 5 tracks": 80,
    "40 parts": 20,
    "half a minute": 60,
    "Parallel WaveNet": 30,
    "WaveNet": 10,
    "cancelled": 80,
    "left": 80,
    "never read": 40,
    "refused": 60,
}
VOCODERS = {"Parallel WaveNet": "parallel-wavenet", "WaveNet": "wavenet"}
MB = 1 << 20


def score(kind: str, number: int) -> bytes:
    """A score of a kind, unlike all others; volumes differ, so that each track is a part of its own."""
    draw, midi = random.Random(number), pretty_midi.PrettyMIDI()
    tracks = {"a path, 5 tracks": 5, "40 parts": 40}.get(kind, 1)
    seconds = {"half a minute": 30.0, "40 parts": 2.0, "cancelled": 20.0, "left": 20.0, "never read": 40.0}.get(
        kind, 3.0
    )
    for track in range(tracks):
        part = pretty_midi.Instrument(draw.choice((0, 19, 40, 56, 73)), name=f"track {track}")
        part.control_changes = [pretty_midi.ControlChange(7, 40 + track, 0.0)]
        starts = [0.25 * step for step in range(int(4 * seconds))] if tracks == 1 else [0.0, seconds - 1.0]
        part.notes = [pretty_midi.Note(80, draw.randrange(36, 96), start, start + 0.9) for start in starts]
        midi.instruments.append(part)
    with tempfile.TemporaryDirectory() as folder:
        midi.write(f"{folder}/score.mid")
        return Path(folder, "score.mid").read_bytes()


def request(kind: str, number: int) -> dict[str, object]:
    """What is asked for, besides the score."""
    wanted: dict[str, object] = {"seed": number}
    if kind in VOCODERS:
        wanted["vocoder"] = VOCODERS[kind]
    if kind == "a path, 5 tracks":
        wanted |= {"timbre": "0:trumpet; 2:church-organ", "map": {"track:1": "vibraphone"}, "mix": {"track:2": "-6dB"}}
    if kind == "refused":
        wanted |= random.Random(number).choice(
            ({"timbre": "zither"}, {"vocoder": "none"}, {"mix": {"track:99": "mute"}})
        )
    return wanted


class Soak:
    """Clients of a server, and the memory that it has had. base: its address; process: its number."""

    def __init__(self, base: str, process: int) -> None:
        self.base, self.process = base, process
        self.outcomes: Counter[str] = Counter()
        self.memory: list[tuple[float, int, float]] = []  # seconds, jobs so far, MB
        self.done = 0
        self.jobs: list[str] = []
        self.began = time.monotonic()
        self._over = threading.Event()

    def watch(self) -> None:
        """Read the server's memory every second."""
        while not self._over.wait(1.0):
            self.read()

    def read(self) -> float:
        """The server's resident memory, MB."""
        status = Path(f"/proc/{self.process}/status").read_text()
        resident = int(status.partition("VmRSS:")[2].split()[0]) / 1024
        self.memory.append((time.monotonic() - self.began, self.done, resident))
        return resident

    def one(self, number: int, kind: str) -> None:
        """One rendering, by a client of its own."""
        client = f"soak-{number}"
        while True:
            try:
                outcome = self._render(kind, number, client)
                break
            except urllib.error.HTTPError as error:
                outcome = json.load(error)["kind"]
                if outcome not in ("queue-full", "busy"):
                    break
                time.sleep(1.0)
            except OSError as error:
                outcome = type(error).__name__
                break
        self.outcomes[f"{kind}: {outcome}"] += 1
        self.done += 1

    def _render(self, kind: str, number: int, client: str) -> str:
        key = json.load(ask(f"{self.base}api/scores?name={number}.mid", score(kind, number), client))["id"]
        made = json.load(ask(f"{self.base}api/jobs", {"score": key, **request(kind, number)}, client))["id"]
        self.jobs.append(made)
        address = f"{self.base}api/jobs/{made}"
        if kind == "never read":
            self._never_read(f"/api/jobs/{made}/stream")
            return "dropped"
        with ask(f"{address}/stream", client=client) as stream:
            if kind in ("cancelled", "left"):
                stream.read(4096)
                if kind == "cancelled":
                    urllib.request.urlopen(urllib.request.Request(address, method="DELETE"), timeout=300).close()
                return "ended"
            while stream.read(MB):
                pass
        if kind.startswith("as a"):
            suffix = kind.split()[2].lower()
            with ask(f"{address}/result?format={suffix}", client=client) as file:
                return "whole" if len(file.read()) == int(file.headers["Content-Length"]) else "cut short"
        return json.load(ask(address, client=client))["state"]

    def _never_read(self, path: str) -> None:
        """Ask for a stream, and read nothing of it until the server drops the connection."""
        at = urlsplit(self.base)
        with socket.socket() as connection, contextlib.suppress(ConnectionError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.settimeout(600)
            connection.connect((at.hostname, at.port))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {at.netloc}\r\n\r\n".encode())
            time.sleep(60.0)

    def end(self) -> float:
        """Delete all that is left; the memory that the server then has."""
        for made in self.jobs:
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(urllib.request.Request(f"{self.base}api/jobs/{made}", method="DELETE")).close()
        time.sleep(15.0)
        self._over.set()
        return self.read()


def draw_curve(memory: list[tuple[float, int, float]], picture: Path) -> None:
    """The server's memory over the renderings that it has done."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3), layout="constrained")
    axes.plot([jobs for _, jobs, _ in memory], [resident for _, _, resident in memory], linewidth=1)
    axes.axhline(1500, color="grey", linestyle="--", linewidth=1)
    axes.set(xlabel="renderings", ylabel="resident memory, MB", ylim=(0, 1600), xlim=(0, None))
    figure.savefig(picture, dpi=120)


@click.command()
@click.option("--jobs", default=1000, show_default=True)
@click.option("--clients", default=4, show_default=True, help="At a time; those that never read come on top.")
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curve there.")
@json_option
def main(jobs: int, clients: int, picture: Path | None, json_path: Path | None) -> None:
    """Soak a server of its own."""
    figures: dict[str, Any] = conditions()
    drawn = random.Random(0).choices(list(KINDS), list(KINDS.values()), k=jobs)
    command = [sys.executable, "-m", "m2m", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        soak = Soak(server.stdout.readline().strip(), server.pid)
        soak.one(-1, "streamed")  # what is loaded once
        before = soak.read()
        soak.outcomes.clear()
        soak.done = 0
        threading.Thread(target=soak.watch, daemon=True).start()
        idle = [(number, kind) for number, kind in enumerate(drawn) if kind == "never read"]
        with ThreadPoolExecutor(2) as readers, ThreadPoolExecutor(clients) as pool:
            for number, kind in idle:
                readers.submit(soak.one, number, kind)
            for number, kind in enumerate(drawn):
                if kind != "never read":
                    pool.submit(soak.one, number, kind)
        figures |= {"before, MB": before, "peak, MB": max(resident for _, _, resident in soak.memory)}
        quarter = [resident for _, done, resident in soak.memory if done > 0.75 * jobs]
        figures |= {"last quarter, MB": sum(quarter) / len(quarter), "after all are deleted, MB": soak.end()}
        figures |= {"minutes": (time.monotonic() - soak.began) / 60, "outcomes": dict(sorted(soak.outcomes.items()))}
        server.terminate()
    if picture:
        draw_curve(soak.memory, picture)
    write_json(json_path, {**figures, "memory": soak.memory})
    for name, value in figures.items():
        click.echo(f"{name:28s} {value:.0f}" if isinstance(value, float) else f"{name:28s} {value}")


if __name__ == "__main__":
    main()
