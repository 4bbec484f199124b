"""Scores and their mels."""

from __future__ import annotations

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from m2m.web import messages as m
from m2m.web.routes.dependencies import BINARY, TheExecutor, TheService

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
    made = await executor.run(service.mel, wanted)
    if "application/octet-stream" in request.headers.get("accept", ""):
        shape = {"M2M-Frames": str(made.frames), "M2M-Bands": str(made.spec.n_mels)}
        data = np.ascontiguousarray(made.values, "<f4").tobytes()
        return Response(data, media_type="application/octet-stream", headers=shape)
    picture = m.MelPicture(
        start=wanted.start,
        frame_rate=made.spec.frame_rate,
        frames=made.frames,
        bands=made.spec.n_mels,
        silence=made.spec.silence,
        values=made.values.tolist(),
    )
    return JSONResponse(picture.model_dump())
