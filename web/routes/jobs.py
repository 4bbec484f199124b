"""Renderings: begin one, follow it, listen to it, have its file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse
from starlette.requests import ClientDisconnect

from m2m.core.audio import audio_bytes, channel_count, wav_header
from m2m.core.rendering.performance import Performance
from m2m.web import messages as m
from m2m.web.guard import PIECE
from m2m.web.jobs import File, Job, Jobs
from m2m.web.limits import RefusedError
from m2m.web.routes.dependencies import BINARY, TheExecutor, TheJob, TheJobs, TheService, client_of
from m2m.web.scores import held

HEARTBEAT = 5.0  # seconds after which a stream looks at its job even without a signal
BLOCK = 16_384  # samples sent at once
OVERHEAD = 8192  # bytes that a job keeps besides its score, what was asked for and its audio, about

router = APIRouter()


@router.post("/jobs", status_code=202)
async def begin_job(
    wanted: m.JobRequest, request: Request, service: TheService, executor: TheExecutor, jobs: TheJobs
) -> m.JobInfo:
    """Begin to render; then read `/jobs/{id}/stream`.

    A rendering is cancelled when for some seconds no client is connected to it or asks for it.
    """
    model, vocoder = await executor.run(service.check, wanted)
    about = wanted.model_dump() | {"model": model, "vocoder": vocoder}
    about["command"] = service.command(wanted, model, vocoder)
    weight = OVERHEAD + len(repr(about)) + held(service.scores.find(wanted.score))
    return _info(jobs.submit(client_of(request), lambda: service.begin(wanted), about, weight), jobs)


@router.get("/jobs/{job_id}")
async def get_job(job: TheJob, jobs: TheJobs) -> m.JobInfo:
    """How far a rendering is."""
    return _info(job, jobs)


@router.delete("/jobs/{job_id}", status_code=204)
async def cancel_job(job: TheJob, jobs: TheJobs) -> None:
    """Cancel a rendering, or forget a finished one."""
    jobs.cancel(job)


@router.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def job_events(job: TheJob, jobs: TheJobs) -> AsyncIterator[m.JobInfo]:
    """A rendering's progress as server-sent events, until it has ended."""
    with job.attended():
        while True:
            info = _info(job, jobs)
            yield info
            if not job.active:
                return
            while job.active and _info(job, jobs) == info:
                await job.signal.wait(HEARTBEAT / 10)  # its place in the queue changes without a signal


@router.get(
    "/jobs/{job_id}/stream", response_class=StreamingResponse, responses={200: {"content": {"audio/wav": BINARY}}}
)
async def stream_job(job: TheJob) -> StreamingResponse:
    """The audio while it is rendered: a float32 WAV, mono or stereo, whose header states the whole length.

    Peaks may pass full scale; `/result` is scaled to fit. A stream that ends early belongs to a job that failed.
    """
    return StreamingResponse(_wav(job), media_type="audio/wav", headers={"Cache-Control": "no-store"})


async def _wav(job: Job) -> AsyncIterator[bytes]:
    """The bytes of a job's WAV as its samples are computed."""
    with job.attended():
        sent, begun = 0, False  # samples
        while job.active or job.performance is not None:
            if not begun and job.performance is not None:
                begun = True
                yield wav_header(job.samples, job.performance.sample_rate, channel_count(job.performance.mix))
            elif begun and sent < job.made and job.performance is not None:
                block = job.performance.mix[sent : min(job.made, sent + BLOCK)].astype("<f4")
                sent += len(block)
                yield block.tobytes()
            elif not job.active:
                return
            else:
                await job.signal.wait(HEARTBEAT)


@router.get(
    "/jobs/{job_id}/result",
    response_class=StreamingResponse,
    responses={200: {"content": {"audio/wav": BINARY, "audio/flac": BINARY}}},
)
async def job_result(job: TheJob, executor: TheExecutor, format: Literal["wav", "flac"] = "wav") -> StreamingResponse:
    """A finished rendering as the file that the job's command line writes. Its tags say how to render it again."""
    performance = job.performance
    if job.state != "done" or performance is None:
        raise RefusedError(409, "not-done", f"the rendering is {job.state}; its result can be had when it is done.")
    if format not in job.files:
        job.files[format] = await executor.run(_encode, performance, format)
    score, size = job.files[format].score, len(job.files[format].data)  # the job alone keeps it, until it is dropped
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in Path(score).stem) or "m2m"
    headers = {"Content-Disposition": f'attachment; filename="{stem}.{format}"', "Content-Length": str(size)}
    return StreamingResponse(_read(job, format, size), media_type=f"audio/{format}", headers=headers)


def _encode(performance: Performance, format: str) -> File:
    made = performance.finish()
    data = audio_bytes(f".{format}", made.audio, made.sample_rate, tags=made.provenance)
    return File(made.provenance["score"]["name"], data)


async def _read(job: Job, format: str, size: int) -> AsyncIterator[bytes]:
    """A job's file, as long as the job keeps it."""
    with job.attended():
        for start in range(0, size, PIECE):
            if format not in job.files:
                raise ClientDisconnect  # it is we who end it, which is the same to the guard
            yield job.files[format].data[start : start + PIECE]


def _info(job: Job, jobs: Jobs) -> m.JobInfo:
    performance = job.performance
    rate = performance.sample_rate if performance else 0
    return m.JobInfo(
        id=job.id,
        state=job.state,
        message=job.message,
        ahead=jobs.position(job),
        progress=job.made / job.samples if job.samples else 0.0,
        made=job.made / rate if rate else 0.0,
        seconds=job.samples / rate if rate else 0.0,
        samples=job.samples,
        sample_rate=rate,
        **job.about,
    )
