"""The API through real HTTP: what a program can do, and what it cannot."""

import asyncio
import io
import json
import shlex
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
import torch
from musicxml_documents import document, note
from numpy.typing import NDArray
from renderings import score_of
from server_requests import PATIENCE, begin, refused, send, until, until_swept

from m2m.core.rendering.performance import Lane, Performance
from m2m.core.rendering.pipeline import Pipeline
from m2m.core.score import from_pretty_midi, parse_score
from m2m.web.app import STATIC
from m2m.web.jobs import Job, Signal

Midi = Callable[..., bytes]
Serve = Callable[..., Any]


def test_what_is_installed_is_listed(client: httpx.Client) -> None:
    about, parts = client.get("/api/about").json(), client.get("/api/components").json()
    assert about["limits"]["jobs"] == 16
    assert {model["name"] for model in parts["models"]} >= {"tiny", "mel2mel-film"}
    assert [model["name"] for model in parts["models"] if model["default"]] == ["tiny"]
    assert {"griffin-lim"} <= {vocoder["name"] for vocoder in parts["vocoders"] if vocoder["usable"]}


def test_the_map_holds_the_instruments_and_its_shade_a_number_for_every_place(client: httpx.Client) -> None:
    drawn = client.get("/api/models/tiny/map").json()
    assert [one["name"] for one in drawn["instruments"]] == ["piano", "organ", "trumpet"]
    for one in drawn["instruments"]:
        assert drawn["x"][0] < one["x"] < drawn["x"][1]
        assert drawn["y"][0] < one["y"] < drawn["y"][1]
    assert sorted(p for one in drawn["instruments"] for p in one["programs"]) == list(range(128))
    for by, unit, low, high in (("centroid", "Hz", 0, 8000), ("energy", "dB", -100, 20)):
        shade = client.get("/api/models/tiny/shade", params={"by": by}).json()
        assert shade["unit"] == unit
        assert len(shade["values"]) == shade["columns"] * shade["rows"]
        assert all(low <= value <= high for value in shade["values"])
        assert len(set(shade["values"])) > 10


def test_a_score_is_read_and_remembered(client: httpx.Client, midi: Midi) -> None:
    data = midi(2.0, (0, 56, -1))
    score = send(client, data, "../../etc/scale\n.mid")
    assert score["name"] == "....etcscale.mid"  # a label, and no path
    assert score["id"] == parse_score(data).sha256
    assert [track["program"] for track in score["tracks"] if not track["is_drum"]] == [0, 56]
    assert score["tracks"][0]["keys"] == [60, 61, 62, 63]
    assert any("drum" in omission for omission in score["omissions"])
    assert client.get(f"/api/scores/{score['id']}").json() == score


def test_musicxml_is_taken_as_midi_is(client: httpx.Client) -> None:
    pytest.importorskip("music21")
    score = send(client, document({"P1": [note() + note("E")]}), "song.musicxml")
    assert (score["name"], score["seconds"], score["tracks"][0]["keys"]) == ("song.musicxml", 1.0, [60, 64])


def test_what_is_no_score_is_refused(serve: Serve, midi: Midi) -> None:
    client = serve(upload_kb=1, score_seconds=5.0, score_notes=12)
    post = lambda data: client.post("/api/scores", params={"name": "a.mid"}, content=data)  # noqa: E731
    refused(post(b"RIFF...."), 422, "not-midi", "a.mid is not a MIDI file")
    refused(post(b"MThd\0\0"), 422, "not-midi", "damaged")
    refused(post(midi(2.0)[:60]), 422, "not-midi", "damaged")
    refused(post(b"MThd" + bytes(2000)), 413, "too-large", "1 kB")
    refused(post(midi(8.0)), 413, "too-long", "minutes")
    refused(post(midi(4.0, (0, 1))), 413, "too-long", "16 notes")
    refused(post(midi(2.0, (-1,))), 422, "nothing-to-play", "drum")

    def slices() -> Iterator[bytes]:
        yield from (b"MThd", *[bytes(500)] * 5)  # without a Content-Length

    refused(post(slices()), 413, "too-large", "1 kB")


def test_a_job_that_is_cancelled_ends_before_every_part_has_played() -> None:
    played: list[int] = []

    async def cancelled() -> Job:
        def part(number: int) -> Iterator[NDArray[np.float32]]:
            played.append(number)
            job.end("cancelled")
            yield np.ones(8, np.float32)

        track = from_pretty_midi(score_of((0, [60]))).tracks[0]
        lanes = [Lane(part(number), track, "") for number in range(9)]
        about = lambda *_: pytest.fail("it was finished")  # noqa: E731
        performance = Performance(np.zeros(8, np.float32), 16_000, lanes, 1.0, about)
        job = Job("client", lambda: performance, {}, Signal(asyncio.get_running_loop()))
        job.run()
        return job

    job = asyncio.run(cancelled())
    assert (job.state, job.performance) == ("cancelled", None)
    assert 1 <= len(played) <= torch.get_num_threads()  # which begin together


def test_a_server_may_take_more_than_the_reader_does_unasked(serve: Serve, midi: Midi) -> None:
    long = midi(7300.0)
    refused(serve().post("/api/scores", content=long), 413, "too-long", "are the most")
    answer = serve(score_seconds=8000.0).post("/api/scores", content=long)
    assert answer.status_code == 201
    assert answer.json()["seconds"] > 7200


def test_a_mel_is_had_as_numbers_and_as_bytes(client: httpx.Client, midi: Midi) -> None:
    score = send(client, midi(3.0))["id"]
    wanted = {"score": score, "timbre": "map@0.1,-0.2", "start": 1.0, "stop": 2.0}
    picture = client.post("/api/mel", json=wanted).json()
    assert (picture["frames"], picture["bands"], picture["frame_rate"]) == (125, 80, 125.0)
    raw = client.post("/api/mel", json=wanted, headers={"Accept": "application/octet-stream"})
    values = np.frombuffer(raw.content, "<f4").reshape(int(raw.headers["M2M-Frames"]), int(raw.headers["M2M-Bands"]))
    assert np.allclose(values, picture["values"])
    other = client.post("/api/mel", json=wanted | {"timbre": "trumpet"}).json()
    assert not np.allclose(values, other["values"], atol=0.01)
    assert client.post("/api/mel", json=wanted | {"timbre": None}).json()["frames"] == 125
    refused(client.post("/api/mel", json=wanted | {"timbre": "zither"}), 422, "timbre", "no timbre 'zither'")
    refused(client.post("/api/mel", json=wanted | {"start": 60.0, "stop": 61.0}), 422, "span", "nothing of this score")
    refused(client.post("/api/mel", json=wanted | {"score": "none"}), 404, "no-score", "send it again")
    refused(client.post("/api/mel", json=wanted | {"model": "../tiny"}), 404, "no-model", "there are")
    refused(client.post("/api/mel", json=wanted | {"start": -1}), 422, "invalid", "start")


@pytest.mark.parametrize(("pan", "channels"), [(64, 1), (20, 2)])
def test_a_rendering_streams_and_is_what_the_command_line_renders(
    client: httpx.Client, midi: Midi, tiny: Any, pan: int, channels: int
) -> None:
    data, timbre = midi(2.0, (0, 56), pan), "0:map@0.1,0.2; 1.5:trumpet"
    job = begin(client, send(client, data)["id"], timbre=timbre, seed=3, gain=12.0)
    with client.stream("GET", f"/api/jobs/{job['id']}/stream") as stream:
        streamed = b"".join(stream.iter_bytes())
    wave, rate = soundfile.read(io.BytesIO(streamed), dtype="float32")
    assert (wave.ndim, wave.shape[1:]) == (channels, (2,) * (channels - 1))
    info = until(client, job["id"], "done")
    assert (len(wave), rate, info["progress"]) == (info["samples"], 16_000, 1.0)

    expected = Pipeline(model=tiny).render(parse_score(data), timbre=timbre, seed=3, gain=12.0)
    assert np.array_equal(wave / max(1.0, float(np.abs(wave).max())), expected.audio)
    for suffix in ("wav", "flac"):
        result = client.get(f"/api/jobs/{job['id']}/result", params={"format": suffix})
        assert result.headers["content-disposition"] == f'attachment; filename="scale.{suffix}"'
        read, _ = soundfile.read(io.BytesIO(result.content), dtype="float32")
        assert np.abs(read - expected.audio).max() < 1 / 32000
    with soundfile.SoundFile(io.BytesIO(result.content)) as file:
        assert json.loads(file.comment)["samples"] == expected.provenance["samples"]
    words = shlex.split(info["command"])
    assert words[:3] == ["m2m", "render", "scale.mid"]
    assert words[words.index("--timbre") + 1] == timbre
    assert words[words.index("--model") + 1] == str(tiny)
    assert words[-4:] == ["--seed", "3", "--gain", "12"]


def test_tracks_are_mixed_and_mapped_as_the_command_line_does(client: httpx.Client, midi: Midi, tiny: Any) -> None:
    data = midi(1.0, (0, 19, 56))
    score = send(client, data)
    assert [track["number"] for track in score["tracks"]] == [1, 2, 3]
    programs: dict[int | str, str] = {"track:1": "trumpet"}
    mix: dict[int | str, str | float] = {"19": "mute", "track:3": "-6dB"}
    job = begin(client, score["id"], map=programs, mix=mix)
    stream = client.get(f"/api/jobs/{job['id']}/stream").content
    wave, _ = soundfile.read(io.BytesIO(stream), dtype="float32")
    expected = Pipeline(model=tiny).render(parse_score(data), programs=programs, mix=mix)
    assert np.array_equal(wave / max(1.0, float(np.abs(wave).max())), expected.audio)
    assert (job["map"], job["mix"]) == (programs, mix)
    words = shlex.split(job["command"])
    assert words[words.index("--map") + 1 :][:5] == ["track:1=trumpet", "--mix", "19=mute", "--mix", "track:3=-6dB"]

    def picture(**mixed: object) -> list[Any]:
        return client.post("/api/mel", json={"score": score["id"], "stop": 1.0, **mixed}).json()["values"]

    assert np.allclose(picture(mix={"track:1": "solo"}), picture(mix={"track:2": "mute", "track:3": "mute"}))
    assert not np.allclose(picture(mix={"track:1": "solo"}), picture(), atol=0.01)
    assert not np.allclose(picture(map={"track:1": "trumpet"}), picture(), atol=0.01)
    for mixed, why in (
        ({"mix": {"track:9": "mute"}}, "no track is track 9"),
        ({"mix": {"track:1": "loud"}}, "'loud' is no level"),
        ({"map": {"track:9": "trumpet"}}, "no track is track 9"),
        ({"map": {"track:1": "zither"}}, "no timbre 'zither'"),
    ):
        refused(client.post("/api/jobs", json={"score": score["id"], **mixed}), 422, "timbre", why)
        refused(client.post("/api/mel", json={"score": score["id"], **mixed}), 422, "timbre", why)


def test_the_command_of_a_model_that_ships_names_its_conditioner(client: httpx.Client, midi: Midi) -> None:
    job = begin(client, send(client, midi(0.5), "-o; rm.mid")["id"], model="mel2mel-concat")
    assert job["command"] == "m2m render './-o; rm.mid' --conditioner concat --vocoder griffin-lim"
    client.delete(f"/api/jobs/{job['id']}")


def test_progress_is_told_as_events(client: httpx.Client, midi: Midi, vocoders: None) -> None:
    job = begin(client, send(client, midi(1.0))["id"], vocoder="slow")
    seen = []
    with client.stream("GET", f"/api/jobs/{job['id']}/events") as events:
        assert events.headers["content-type"].startswith("text/event-stream")
        seen = [json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: ")]
    progress = [info["progress"] for info in seen]
    assert progress == sorted(progress)
    assert len(set(progress)) > 5
    assert seen[-1]["state"] == "done"


def test_the_first_sound_comes_before_the_last(serve: Serve, midi: Midi, vocoders: None) -> None:
    client = serve()
    job = begin(client, send(client, midi(1.0))["id"], vocoder="held")
    with client.stream("GET", f"/api/jobs/{job['id']}/stream") as stream:
        sound = stream.iter_raw()
        got = next(sound)
        while len(got) < 58 + 6400:
            got += next(sound)
        assert np.frombuffer(got[58 : 58 + 6400], "<f4").min() > 2  # 2.0, and 9 dB more: peaks as they fall
        assert until(client, job["id"], "running")["progress"] < 0.7
        import_module("strange").released.set()
        assert len(got + b"".join(sound)) == 58 + 4 * until(client, job["id"], "done")["samples"]


def test_a_client_that_goes_away_cancels_its_job(serve: Serve, midi: Midi, vocoders: None) -> None:
    client = serve(patience=2.0, workers=1)
    score = send(client, midi(120.0))["id"]
    heard = begin(client, score, vocoder="slow")["id"]
    with client.stream("GET", f"/api/jobs/{heard}/stream") as stream:
        sound = stream.iter_raw()
        next(sound)
        unheard = begin(client, score, vocoder="slow")["id"]
        until_swept(client, unheard)
        told = client.get(f"/api/jobs/{unheard}").json()
        assert (told["state"], told["message"]) == ("cancelled", "nobody listened any more.")
        assert client.get(f"/api/jobs/{heard}").json()["state"] == "running"
    until_swept(client, heard)
    assert client.get(f"/api/jobs/{heard}").json()["state"] == "cancelled"


def test_cancelling(serve: Serve, midi: Midi, vocoders: None) -> None:
    client = serve(workers=1)
    score = send(client, midi(20.0))["id"]
    running, waiting = begin(client, score, vocoder="slow"), begin(client, score, vocoder="slow")
    until(client, running["id"], "running")
    assert client.get(f"/api/jobs/{waiting['id']}").json()["ahead"] == 0
    refused(client.get(f"/api/jobs/{running['id']}/result"), 409, "not-done", "running")
    assert client.delete(f"/api/jobs/{running['id']}").status_code == 204
    refused(client.get(f"/api/jobs/{running['id']}"), 404, "no-job", "no such rendering")
    until(client, waiting["id"], "running")  # the worker is free again


def test_too_many_jobs_are_refused_and_say_when_to_come_back(serve: Serve, midi: Midi, vocoders: None) -> None:
    client = serve(workers=1, jobs=3, jobs_per_client=2, patience=PATIENCE)
    wanted = {"score": send(client, midi(20.0))["id"], "vocoder": "slow"}
    mine = [client.post("/api/jobs", json=wanted) for _ in range(3)]
    assert [answer.status_code for answer in mine] == [202, 202, 429]
    assert mine[2].headers["retry-after"] == "2"
    refused(mine[2], 429, "too-many", "2 of your renderings")
    others = [client.post("/api/jobs", json=wanted, headers={"Cookie": f"m2m-client=other{i}"}) for i in range(2)]
    assert [answer.status_code for answer in others] == [202, 503]
    refused(others[1], 503, "queue-full", "the queue is full")


def test_a_job_has_its_time(serve: Serve, midi: Midi, vocoders: None) -> None:
    client = serve(job_seconds=0.5)
    job = begin(client, send(client, midi(20.0))["id"], vocoder="slow")
    assert "longer than 0.5 s" in until(client, job["id"], "failed")["message"]


def test_old_audio_is_forgotten(serve: Serve, midi: Midi) -> None:
    client = serve(kept_mb=1, patience=PATIENCE)
    score = send(client, midi(6.0))["id"]  # 8 s, 512 kB
    jobs = [begin(client, score, seed=seed)["id"] for seed in range(2)]
    for job in jobs:
        until(client, job, "done")
    third = begin(client, score, seed=2)["id"]
    until(client, third, "done")
    until_swept(client, jobs[0])
    assert client.get(f"/api/jobs/{third}").status_code == 200
    assert client.get(f"/api/jobs/{jobs[0]}").status_code == 404


def test_a_vocoder_without_weights_is_told_with_its_cure(serve: Serve, midi: Midi, vocoders: None) -> None:
    client = serve()
    refused(client.post("/api/ready", json={"vocoder": "bare"}), 409, "not-usable", "train some: m2m train bare")
    listed = {part["name"]: part for part in client.get("/api/components").json()["vocoders"]}
    assert not listed["bare"]["usable"]
    assert "no weights yet" in listed["bare"]["note"]
    assert listed["slow"]["usable"]
    assert client.post("/api/ready", json={"vocoder": "slow"}).json()["notice"] == "slow is slow."
    score = send(client, midi(1.0))["id"]
    refused(client.post("/api/jobs", json={"score": score, "vocoder": "bare"}), 409, "not-usable", "no weights")


def test_a_vocoder_that_fails_in_the_middle_ends_its_job_with_its_name(
    serve: Serve, midi: Midi, vocoders: None
) -> None:
    client = serve()
    job = begin(client, send(client, midi(1.0))["id"], vocoder="broken")
    with client.stream("GET", f"/api/jobs/{job['id']}/stream") as stream:
        got = b"".join(stream.iter_bytes())
    info = client.get(f"/api/jobs/{job['id']}").json()
    assert info["state"] == "failed"
    assert "'broken' of strange 1.0 failed: OSError: the cable came loose" in info["message"]
    assert len(got) <= 58 + 32_000
    assert client.get("/api/about").status_code == 200


def test_options_and_paths_are_no_clients_business(client: httpx.Client, midi: Midi) -> None:
    score = send(client, midi(0.5))["id"]
    for extra in ({"vocoder_options": {"weights": "/etc/passwd"}}, {"output": "/tmp/x.wav"}):
        refused(client.post("/api/jobs", json={"score": score, **extra}), 422, "invalid", "extra inputs")
    for name in ("../../etc/passwd", "/etc/passwd", "models/mel2mel-film"):
        refused(client.post("/api/jobs", json={"score": score, "model": name}), 404, "no-model", "there is no model")
    for path in ("/../app.py", "/..%2fapp.py", "/%2e%2e/app.py", "/static/index.html"):
        assert client.get(path).status_code == 404
    refused(client.get("/api/nothing"), 404, "no-such-address", "openapi.json")


def test_twenty_clients_at_once_are_all_served_or_refused_clearly(serve: Serve, midi: Midi) -> None:
    client = serve(jobs=12, patience=PATIENCE)
    wanted = {"score": send(client, midi(3.0))["id"]}

    def one(number: int) -> str:
        with httpx.Client(base_url=client.base_url, cookies={"m2m-client": str(number)}, timeout=PATIENCE) as mine:
            answer = mine.post("/api/jobs", json=wanted | {"seed": number})
            if answer.status_code != 202:
                refused(answer, 503, "queue-full", "full")
                return "refused"
            stream = mine.get(f"/api/jobs/{answer.json()['id']}/stream").content
            return until(mine, answer.json()["id"], "done")["state"] if len(stream) > 200_000 else "short"

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(one, range(20)))
    assert set(outcomes) <= {"done", "refused"}
    assert outcomes.count("done") >= 12


def test_the_page_and_all_it_needs_come_from_here(serve: Serve) -> None:
    client = serve()  # which has no cookie yet
    page = client.get("/")
    assert page.status_code == 200
    assert "SameSite=strict" in page.headers["set-cookie"]
    sizes = 0
    for file in STATIC.iterdir():
        answer = client.get(f"/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text.replace("http://www.w3.org", "")
        assert "https://" not in answer.text
        sizes += len(answer.content)
    assert sizes < 300_000
    assert client.get("/docs").status_code == 404  # FastAPI's, which loads from elsewhere


def test_a_job_that_is_cancelled_while_it_is_taken_up_stays_cancelled() -> None:
    async def one() -> Job:
        job = Job("client", lambda: pytest.fail("it was begun"), {}, Signal(asyncio.get_running_loop()))
        job.end("cancelled")  # after a worker has seen that it waits
        job.run()
        return job

    assert asyncio.run(one()).state == "cancelled"
