"""Audio that is sent to the server: its notes as a score, its mel, and what is refused or given up."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from server_requests import PATIENCE, begin, refused

from m2m.core.mel import MelSpec, log_mel
from m2m.core.recordings import Recording
from m2m.core.testing.transcriber import scale, scale_notes
from m2m.core.transcription import Scribe, midi_bytes

Serve = Callable[..., Any]
RAW = {"Accept": "application/octet-stream"}


def audio(wave: NDArray[Any], rate: int = 16_000, kind: str = "flac") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind)
    return file.getvalue()


def post(client: httpx.Client, data: bytes, name: str = "scale.flac") -> httpx.Response:
    return client.post("/api/recordings", params={"name": name}, content=data)


def test_a_recording_becomes_the_score_that_transcribe_writes(client: httpx.Client, tmp_path: Path) -> None:
    wave = scale(44_100)
    (tmp_path / "scale.flac").write_bytes(audio(np.stack([wave, wave], axis=1), 44_100))
    answer = post(client, (tmp_path / "scale.flac").read_bytes())
    assert answer.status_code == 201, answer.text
    score = answer.json()
    assert score["name"] == "scale.mid"
    (track,) = score["tracks"]
    assert track["keys"] == scale_notes()["pitch"].tolist()
    recording = score["recording"]
    assert recording["name"] == "scale.flac"
    assert recording["seconds"] == pytest.approx(len(wave) / 44_100)
    assert 0.3 <= recording["confidence"] <= 1
    assert recording["instrument"]
    assert client.get(f"/api/scores/{score['id']}").json() == score
    written = midi_bytes(Scribe().transcribe(tmp_path / "scale.flac").score(recording["program"]))
    assert score["id"] == hashlib.sha256(written).hexdigest()[:16]
    command = begin(client, score["id"], timbre="trumpet")["command"]
    assert command.startswith(f"m2m transcribe scale.flac -o scale.mid --program {recording['program']} && m2m render ")


def test_the_recording_has_a_mel_of_its_own(client: httpx.Client) -> None:
    data, spec = audio(scale(16_000)), MelSpec()
    wave, _ = soundfile.read(io.BytesIO(data))
    score = post(client, data).json()["id"]
    seconds = len(wave) / 16_000
    about = {"start": 1.0, "stop": seconds + 2}
    answer = client.get(f"/api/scores/{score}/mel", params=about, headers=RAW)
    frames, bands = int(answer.headers["M2M-Frames"]), int(answer.headers["M2M-Bands"])
    values = np.frombuffer(answer.content, "<f4").reshape(frames, bands)
    truth = log_mel(wave, spec)[125:]
    assert frames == pytest.approx((seconds + 1) * spec.frame_rate, abs=1)
    assert np.abs(values[: len(truth)] - truth).max() < 0.01  # float16
    assert (values[len(truth) :] == np.float32(spec.silence)).all()
    picture = client.get(f"/api/scores/{score}/mel", params=about).json()
    assert (picture["frames"], picture["start"]) == (frames, 1.0)
    refused(client.get(f"/api/scores/{score}/mel", params={"stop": 100}), 413, "too-long", "30 s at a time")
    refused(client.get(f"/api/scores/{score}/mel", params={"start": 2, "stop": 1}), 422, "span", "nothing")
    example = client.get("/api/examples").json()[0]["id"]
    refused(client.get(f"/api/scores/{example}/mel"), 404, "no-recording", "not transcribed")


def test_what_is_no_recording_is_refused_in_one_line(serve: Serve) -> None:
    client = serve(audio_kb=200, score_seconds=3.0)
    refused(post(client, b"RIFF....", "a.wav"), 422, "not-audio", "cannot read a.wav: ")
    refused(post(client, audio(np.zeros(0), kind="wav")), 422, "not-audio", "no samples")
    damaged = np.full(8000, np.nan, np.float32)
    wav = io.BytesIO()
    soundfile.write(wav, damaged, 16_000, format="wav", subtype="FLOAT")
    refused(post(client, wav.getvalue()), 422, "not-audio", "NaN")
    refused(post(client, audio(np.zeros(16_000))), 422, "nothing-to-play", "no note was heard")
    refused(post(client, audio(np.zeros(64_000))), 413, "too-long", "minutes")
    refused(post(client, bytes(300_000)), 413, "too-large", "200 kB")
    refused(client.post("/api/scores", content=bytes(600_000)), 413, "too-large", "512 kB")


def test_a_name_is_no_path(client: httpx.Client) -> None:
    refused(post(client, b"", "/etc/passwd"), 422, "not-audio", "cannot read etcpasswd")


def test_a_client_that_goes_away_cancels_its_transcription(serve: Serve, patient: Any) -> None:
    client = serve(audio_uploads=1)
    long = audio(np.zeros(8000 * 590), 8000)  # 148 blocks
    hasty = httpx.Client(base_url=client.base_url, timeout=httpx.Timeout(PATIENCE, read=1.0))
    with hasty, pytest.raises(httpx.ReadTimeout):
        post(hasty, long)
    deadline = time.monotonic() + PATIENCE
    while not patient.ended:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(patient.heard) < 140
    while (answer := post(client, audio(np.zeros(100)))).status_code == 503:  # until the server has let go of the first
        assert answer.headers["retry-after"] == "2"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    refused(answer, 422, "nothing-to-play", "no note")


def test_a_transcription_has_its_time(serve: Serve, patient: Any) -> None:
    client = serve(transcription_seconds=0.2)
    refused(post(client, audio(np.zeros(8000 * 400), 8000)), 413, "too-long", "takes more than 0.2 s")
    assert len(patient.heard) < 90


def test_bytes_in_memory_are_read_as_a_file_is(tmp_path: Path) -> None:
    for kind in ("wav", "flac", "ogg", "mp3"):
        data = audio(scale(22_050), 22_050, kind)
        path = tmp_path / f"scale.{kind}"
        path.write_bytes(data)
        file, memory = Recording(path), Recording(Path("scale"), data)
        assert (file.sample_rate, file.samples) == (memory.sample_rate, memory.samples)
        assert np.array_equal(np.concatenate(list(file.blocks())), np.concatenate(list(memory.blocks())))
