"""Scores, written or transcribed from a recording, and their mels."""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from m2m.core.mel import Mel
from m2m.web import messages as m
from m2m.web.routes.dependencies import BINARY, TheExecutor, TheService, TheTranscribing

LOOK = 0.2  # seconds between two looks whether a client still waits for its transcription

router = APIRouter()


@router.post(
    "/scores",
    status_code=201,
    openapi_extra={"requestBody": {"content": {"audio/midi": BINARY}, "required": True}},
)
async def upload_score(
    request: Request, service: TheService, executor: TheExecutor, name: str = "score.mid"
) -> m.ScoreInfo:
    """Send a MIDI or MusicXML file as the request's body. Its id names it in other requests; the latest few are remembered."""
    return await executor.run(service.scores.upload, await request.body(), name)


@router.get("/scores/{score}")
async def get_score(score: str, service: TheService, executor: TheExecutor) -> m.ScoreInfo:
    """A score's notes, track by track."""
    return await executor.run(service.scores.info, score)


@router.post("/mel", responses={200: {"model": m.MelPicture, "content": {"application/octet-stream": BINARY}}})
async def mel(wanted: m.MelRequest, request: Request, service: TheService, executor: TheExecutor) -> Response:
    """The mel of a stretch of a score at a timbre, without a vocoder.

    As JSON, or, with `Accept: application/octet-stream`, as little-endian float32, frame by frame, with the numbers of frames
    and of bands in the headers `M2M-Frames` and `M2M-Bands`.
    """
    return _picture(request, await executor.run(service.mel, wanted), wanted.start)


@router.post(
    "/recordings",
    status_code=201,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": BINARY}, "required": True}},
)
async def upload_recording(
    request: Request, service: TheService, transcribing: TheTranscribing, name: str = "recording.wav"
) -> m.ScoreInfo:
    """Send an audio file as the request's body, as `m2m transcribe` reads it: its notes become a score.

    A client that goes away cancels the transcription.
    """
    stopped = threading.Event()
    work = asyncio.ensure_future(transcribing.run(service.transcribe, await request.body(), name, stopped.is_set))
    try:
        while not (await asyncio.wait({work}, timeout=LOOK))[0]:
            if await request.is_disconnected():
                stopped.set()
        return await work
    finally:
        stopped.set()


@router.get(
    "/scores/{score}/mel", responses={200: {"model": m.MelPicture, "content": {"application/octet-stream": BINARY}}}
)
async def recorded_mel(
    score: str,
    request: Request,
    service: TheService,
    executor: TheExecutor,
    start: Annotated[float, Query(ge=0, le=14_400)] = 0.0,
    stop: Annotated[float, Query(gt=0, le=14_400)] = 10.0,
) -> Response:
    """The mel of a stretch of the recording that a score was transcribed from, in the forms of `/mel`."""
    return _picture(request, await executor.run(service.recorded_mel, score, start, stop), start)


def _picture(request: Request, made: Mel, start: float) -> Response:
    """A mel from `start` on, in the form that the request accepts."""
    if "application/octet-stream" in request.headers.get("accept", ""):
        shape = {"M2M-Frames": str(made.frames), "M2M-Bands": str(made.spec.n_mels)}
        data = np.ascontiguousarray(made.values, "<f4").tobytes()
        return Response(data, media_type="application/octet-stream", headers=shape)
    picture = m.MelPicture(
        start=start,
        frame_rate=made.spec.frame_rate,
        frames=made.frames,
        bands=made.spec.n_mels,
        silence=made.spec.silence,
        values=made.values.tolist(),
    )
    return JSONResponse(picture.model_dump())
