"""What clients make the server keep, and how much of it: connections, scores, renderings, files, failures."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_requests import PATIENCE, begin, refused, send, until, until_swept

from m2m.core.errors import M2MError
from m2m.core.rendering.pipeline import Pipeline
from m2m.web import connection, service
from m2m.web.guard import PIECE
from m2m.web.limits import RefusedError, ServerLimits
from m2m.web.scores import Scores, held
from m2m.web.service import Service

Midi = Callable[..., bytes]
Serve = Callable[..., Any]


def connect(client: Any) -> socket.socket:
    """A connection of one's own, which takes little of what it is sent before it is read."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.settimeout(PATIENCE)
    made.connect((client.base_url.host, client.base_url.port))
    return made


def ask(made: socket.socket, path: str) -> None:
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())


def ended(made: socket.socket) -> bool:
    """Whether the server closes a connection, after what it may send."""
    with contextlib.suppress(ConnectionError):
        while made.recv(65_536):
            pass
    return True  # a connection that stays open raises TimeoutError


def test_an_address_has_its_share_of_the_connections(serve: Serve) -> None:
    client = serve(connections=16)
    assert client.get("/api/about").status_code == 200  # its own connection stays open: one of four
    with contextlib.ExitStack() as stack:
        mine = [stack.enter_context(connect(client)) for _ in range(5)]
        for one in mine:
            with contextlib.suppress(ConnectionError):
                ask(one, "/api/about")
        answers = []
        for one in mine:
            try:
                answers.append(one.recv(12))
            except ConnectionError:
                answers.append(b"")
        assert answers == [b"HTTP/1.1 200"] * 3 + [b""] * 2
    assert client.get("/api/about").status_code == 200


@pytest.mark.parametrize("what", ["stream", "result"])
def test_a_client_that_does_not_read_is_dropped(
    serve: Serve, midi: Midi, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(connection, "READ_SECONDS", 1.0)
    client = serve(score_seconds=300.0)
    job = begin(client, send(client, midi(120.0))["id"])["id"]
    until(client, job, "done")  # 7.8 MB, 3.9 MB as a file: more than the system keeps for a reader
    with connect(client) as reader:
        ask(reader, f"/api/jobs/{job}/{what}")
        deadline = time.monotonic() + PATIENCE
        while not client.jobs._all[job].watchers:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while client.jobs._all[job].watchers:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert ended(reader)


def test_a_rendering_beyond_what_is_kept_is_dropped_even_while_it_is_read(serve: Serve, midi: Midi) -> None:
    client = serve(kept_mb=8, score_seconds=300.0, patience=PATIENCE)
    score = send(client, midi(90.0))["id"]  # 92 s: 5.9 MB, and 2.9 MB as a file
    job = begin(client, score)["id"]
    until(client, job, "done")
    with connect(client) as reader:
        ask(reader, f"/api/jobs/{job}/result")  # with its file it is too much
        until_swept(client, job)
        assert ended(reader)
    refused(client.get(f"/api/jobs/{job}"), 404, "no-job", "render it again")


def test_files_are_sent_whole_to_those_who_read(serve: Serve, midi: Midi) -> None:
    client = serve(patience=PATIENCE)
    job = begin(client, send(client, midi(10.0))["id"])["id"]
    until(client, job, "done")
    first, second = (client.get(f"/api/jobs/{job}/result") for _ in range(2))
    assert len(first.content) == int(first.headers["content-length"]) > 5 * PIECE
    assert first.content == second.content
    kept = client.jobs._all[job]
    assert kept.held >= 4 * kept.samples + len(first.content)


def test_scores_are_kept_by_their_bytes(midi: Midi) -> None:
    limits = ServerLimits(scores_mb=1, score_seconds=14_400.0)
    scores = Scores(limits, {})
    keys = [scores.upload(midi(2000.0 + number), "long.mid").id for number in range(14)]
    with pytest.raises(RefusedError, match="send it again"):
        scores.find(keys[0])
    kept = list(scores._uploads.values())
    assert keys[-1] in scores._uploads
    assert held(kept[0]) > kept[0].tracks[0].notes.nbytes > 50_000
    assert sum(map(held, kept)) <= 1 << 20 < sum(map(held, kept)) + held(kept[0]) + 1000


def test_many_tracks_cost_as_much_as_a_long_score(serve: Serve, midi: Midi) -> None:
    client = serve(part_seconds=5.0)
    post = lambda data: client.post("/api/scores", params={"name": "a.mid"}, content=data)  # noqa: E731
    assert post(midi(4.0)).status_code == 201
    refused(post(midi(4.0, (0, 1))), 413, "too-long", "2 tracks of")


def test_pipelines_are_on_the_servers_device(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "choose_device", {"auto": "cuda"}.__getitem__)
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(service, "Pipeline", lambda **told: given.append(told))
    Service(ServerLimits(), [tiny], "auto").pipeline("tiny", "griffin-lim")
    assert given == [{"model": tiny, "vocoder": "griffin-lim", "device": "cuda"}]
    monkeypatch.undo()
    with pytest.raises(M2MError, match="there is no device 'warp'"):
        Service(ServerLimits(), [tiny], "warp")


def test_a_vocoder_that_is_not_installed_is_neither_loaded_for_nor_remembered(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("m2m.web.service.Pipeline", lambda **_: pytest.fail("a model was loaded"))
    service = Service(ServerLimits(), [tiny])
    for number in range(3):
        with pytest.raises(RefusedError, match=f"no vocoder 'made-up-{number}' is installed"):
            service.pipeline("tiny", f"made-up-{number}")
    assert not service._failed


def test_a_failure_to_load_is_remembered_for_a_while(
    tiny: Path, vocoders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = []

    def counted(**chosen: Any) -> Pipeline:
        tries.append(chosen["vocoder"])
        return Pipeline(**chosen)

    monkeypatch.setattr(service, "Pipeline", counted)
    monkeypatch.setattr(service, "FAILED_SECONDS", PATIENCE)
    here = Service(ServerLimits(), [tiny])
    note = lambda: {one.name: one.note for one in here.components().vocoders}["bare"]  # noqa: E731
    for _ in range(3):
        with pytest.raises(RefusedError, match="train some: m2m train bare"):
            here.pipeline("tiny", "bare")
    assert tries == ["bare"]
    assert "train some" in note()
    monkeypatch.setattr(service, "FAILED_SECONDS", 0.0)
    assert not note()  # it may have been mended
    with pytest.raises(RefusedError, match="train some: m2m train bare"):
        here.pipeline("tiny", "bare")
    assert tries == ["bare", "bare"]


def test_what_is_loaded_does_not_wait_for_what_loads(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Service(ServerLimits(), [tiny])
    loaded = here.pipeline("tiny", "griffin-lim")
    loading, go_on = threading.Event(), threading.Event()

    def slow(**_: Any) -> Pipeline:
        loading.set()
        go_on.wait(PATIENCE)
        raise M2MError("it has no weights.")

    monkeypatch.setattr(service, "Pipeline", slow)

    def load() -> None:
        with pytest.raises(RefusedError, match="no weights"):
            here.pipeline("tiny", "wavenet")

    other = threading.Thread(target=load)
    other.start()
    try:
        assert loading.wait(PATIENCE)
        assert here.pipeline("tiny", "griffin-lim") is loaded
    finally:
        go_on.set()
        other.join(PATIENCE)
