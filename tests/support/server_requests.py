"""Requests to the explorer's server, and waiting for what they bring about."""

from __future__ import annotations

import time
from typing import Any

import httpx

PATIENCE = 120.0  # seconds until a wait has failed: a busy machine is no failure


def send(client: httpx.Client, data: bytes, name: str = "scale.mid") -> dict[str, Any]:
    answer = client.post("/api/scores", params={"name": name}, content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()


def begin(client: httpx.Client, score: str, **wanted: object) -> dict[str, Any]:
    answer = client.post("/api/jobs", json={"score": score, **wanted})
    assert answer.status_code == 202, answer.text
    return answer.json()


def until(client: httpx.Client, job: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE
    while (info := client.get(f"/api/jobs/{job}").json())["state"] not in states:
        assert time.monotonic() < deadline, info
        time.sleep(0.02)
    return info


def until_swept(client: Any, job: str) -> None:
    """Wait until the server's sweep has been at a job. Asked for it over HTTP it would take the job for wanted."""
    deadline = time.monotonic() + PATIENCE
    while (known := client.jobs._all.get(job)) and (known.active or known.state == "done"):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refused(answer: httpx.Response, status: int, kind: str, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["kind"] == kind
    assert words in answer.json()["message"]
    assert answer.json()["message"].endswith(".")
