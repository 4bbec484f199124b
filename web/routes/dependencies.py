"""What handlers are given: the service, the executor, the jobs, one job by its id, and who asks."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from m2m.web.executor import Executor
from m2m.web.jobs import Job, Jobs
from m2m.web.service import Service

CLIENT = "m2m-client"  # the cookie that tells the clients behind one address apart
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def _service(request: Request) -> Service:
    return request.app.state.service


def _executor(request: Request) -> Executor:
    return request.app.state.executor


def _transcribing(request: Request) -> Executor:
    return request.app.state.transcribing


def _jobs(request: Request) -> Jobs:
    return request.app.state.jobs


TheService = Annotated[Service, Depends(_service)]
TheExecutor = Annotated[Executor, Depends(_executor)]
TheTranscribing = Annotated[Executor, Depends(_transcribing)]  # recordings, one at a time
TheJobs = Annotated[Jobs, Depends(_jobs)]


def _job(job_id: str, jobs: TheJobs) -> Job:
    return jobs.find(job_id)


TheJob = Annotated[Job, Depends(_job)]


def client_of(request: Request) -> str:
    """Who asks: the address, and the cookie that the page has set."""
    return f"{request.client.host if request.client else ''} {request.cookies.get(CLIENT, '')[:32]}"
