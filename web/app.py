"""The HTTP API and the page. Handlers are thin: work that takes time is handed to threads, a few at a time."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.sse import EventSourceResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from m2m import __version__
from m2m.core.audio import audio_bytes, wav_header
from m2m.core.errors import explain, one_line
from m2m.web import messages as m
from m2m.web.guard import Guard, problem
from m2m.web.jobs import Job, Jobs
from m2m.web.limits import RefusedError
from m2m.web.studio import Studio

STATIC = Path(__file__).parent / "static"
CLIENT = "m2m-client"  # the cookie that tells the clients behind one address apart
HEARTBEAT = 5.0  # seconds between looks at a job of which nothing is heard
BLOCK = 16_384  # samples sent at once
T = TypeVar("T")

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": m.Problem, "description": text}
    for status, text in {
        400: "Not HTTP as it should be.",
        401: "A token is wanted.",
        403: "Another origin's page asked.",
        404: "There is no such thing (any more).",
        405: "That cannot be done to it.",
        408: "The request took too long to arrive.",
        409: "A component cannot be used.",
        413: "Too large or too long for this server.",
        421: "The server does not go by that name.",
        422: "The request makes no sense to the server.",
        429: "Too many renderings of one client.",
        500: "A bug.",
        503: "Too much is waiting already.",
    }.items()
}


class Desk:
    """Threads for what a handler cannot answer at once; so many requests may wait for them and no more."""

    def __init__(self, most: int) -> None:
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="m2m-desk")
        self._most, self._waiting = most, 0

    async def do(self, work: Callable[..., T], *args: Any) -> T:
        """The result of `work(*args)`. Raises RefusedError where too many wait."""
        if self._waiting >= self._most:
            raise RefusedError(503, "busy", f"{self._waiting} requests wait already; try again in a moment.", 1)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Take no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def build_app(studio: Studio, *, token: str = "", hosts: Iterable[str] = ()) -> FastAPI:
    """The whole application; its lifespan starts and ends the workers."""
    limits = studio.limits

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.studio, app.state.desk, app.state.jobs = studio, Desk(limits.requests), Jobs(limits)
        sweeping = asyncio.create_task(app.state.jobs.keep_sweeping())
        warming = asyncio.get_running_loop().run_in_executor(None, _warm, studio)
        yield
        sweeping.cancel()
        app.state.jobs.close()
        app.state.desk.close()
        await warming

    app = Application(
        title="m2m",
        version=__version__,
        summary="A neural music synthesiser: send a score, take a point in a timbre space, hear it while it is rendered.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's page of documentation loads from other hosts; /docs.html is our own
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(Exception, _refused)
    app.include_router(api)
    app.mount("/", Page(directory=STATIC, html=True))
    app.add_middleware(Guard, hosts=tuple(hosts), token=token, body_bytes=limits.upload_kb << 10)
    return app


class Application(FastAPI):
    """FastAPI, which would describe a refusal as being of the type that the route's success has."""

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI description."""
        described = super().openapi()
        problem = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for methods in described["paths"].values():
            for operation in methods.values():
                for status, answer in operation["responses"].items():
                    if int(status) >= 400:
                        answer["content"] = problem
        return described


class Page(StaticFiles):
    """The page's files; a browser asks each time whether they are still the same, and gets its client cookie."""

    async def get_response(self, path: str, scope: Any) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        if path in (".", "index.html") and CLIENT not in Request(scope).cookies:
            response.set_cookie(CLIENT, secrets.token_urlsafe(9), httponly=True, samesite="strict")
        return response


api = APIRouter(prefix="/api", responses=RESPONSES)


def _studio(request: Request) -> Studio:
    return request.app.state.studio


def _desk(request: Request) -> Desk:
    return request.app.state.desk


def _jobs(request: Request) -> Jobs:
    return request.app.state.jobs


def _client(request: Request) -> str:
    return f"{request.client.host if request.client else ''} {request.cookies.get(CLIENT, '')[:32]}"


TheStudio = Annotated[Studio, Depends(_studio)]
TheDesk = Annotated[Desk, Depends(_desk)]
TheJobs = Annotated[Jobs, Depends(_jobs)]


def _job(job_id: str, jobs: TheJobs) -> Job:
    return jobs.find(job_id)


TheJob = Annotated[Job, Depends(_job)]


@api.get("/about")
async def about(studio: TheStudio) -> m.About:
    """The server's version and limits; also how a client learns that the server is there."""
    return m.About(m2m=__version__, limits=studio.limits)


@api.get("/components")
async def components(studio: TheStudio, desk: TheDesk) -> m.Components:
    """Models, vocoders, conditioners and encoders by name, and what keeps any of them from being used."""
    return await desk.do(studio.components)


@api.post("/ready")
async def ready(wanted: m.ReadyRequest, studio: TheStudio, desk: TheDesk) -> m.Ready:
    """Load a model and a vocoder, so that a rendering with them begins at once; or learn why that cannot be."""
    pipeline = await desk.do(studio.pipeline, wanted.model, wanted.vocoder)
    return m.Ready(
        model=wanted.model or studio.default_model,
        vocoder=pipeline.vocoder_name,
        sample_rate=pipeline.spec.sample_rate,
        notice=one_line(pipeline.vocoder.notice),
    )


@api.get("/models/{model}/map")
async def timbre_map(model: str, studio: TheStudio, desk: TheDesk) -> m.Map:
    """Where a model's instruments lie on the map of its timbre space."""
    return await desk.do(studio.map, model)


@api.get("/models/{model}/shade")
async def map_shade(model: str, studio: TheStudio, desk: TheDesk, by: m.Shading = "centroid") -> m.Shade:
    """The map's shade, by spectral centroid or mean energy. Computed once, which takes some seconds."""
    return await desk.do(studio.shade, model, by)


@api.get("/examples")
async def examples(studio: TheStudio) -> list[m.Example]:
    """Scores that ship with m2m; they need not be uploaded."""
    return studio.examples()


@api.post(
    "/scores",
    status_code=201,
    openapi_extra={"requestBody": {"content": {"audio/midi": BINARY}, "required": True}},
)
async def upload_score(request: Request, studio: TheStudio, desk: TheDesk, name: str = "score.mid") -> m.ScoreInfo:
    """Send a Standard MIDI File as the request's body. Its id names it in other requests; the latest few are remembered."""
    return await desk.do(studio.upload, await request.body(), name)


@api.get("/scores/{score}")
async def get_score(score: str, studio: TheStudio, desk: TheDesk) -> m.ScoreInfo:
    """A score's notes, track by track."""
    return await desk.do(studio.score_info, score)


@api.post("/mel", responses={200: {"model": m.MelPicture, "content": {"application/octet-stream": BINARY}}})
async def mel(wanted: m.MelRequest, request: Request, studio: TheStudio, desk: TheDesk) -> Response:
    """The mel of a stretch of a score at a timbre, without a vocoder.

    As JSON, or, with `Accept: application/octet-stream`, as little-endian float32, frames of bands, the shape in the headers
    `M2M-Frames` and `M2M-Bands`.
    """
    made = await desk.do(studio.glance, wanted)
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


@api.post("/jobs", status_code=202)
async def begin_job(
    wanted: m.JobRequest, request: Request, studio: TheStudio, desk: TheDesk, jobs: TheJobs
) -> m.JobInfo:
    """Begin to render. Then read `/jobs/{id}/stream`; a rendering that nobody listens to, watches or asks for is cancelled."""
    model, vocoder = await desk.do(studio.check, wanted)
    chosen = wanted.model_dump() | {"model": model, "vocoder": vocoder}
    chosen["command"] = studio.command(wanted, model, vocoder)
    return _info(jobs.submit(_client(request), lambda: studio.begin(wanted), chosen), jobs)


@api.get("/jobs/{job_id}")
async def get_job(job: TheJob, jobs: TheJobs) -> m.JobInfo:
    """How far a rendering is."""
    return _info(job, jobs)


@api.delete("/jobs/{job_id}", status_code=204)
async def cancel_job(job: TheJob, jobs: TheJobs) -> None:
    """Cancel a rendering, or forget a finished one."""
    jobs.cancel(job)


@api.get("/jobs/{job_id}/events", response_class=EventSourceResponse)
async def job_events(job: TheJob, jobs: TheJobs) -> AsyncIterator[m.JobInfo]:
    """A rendering's progress as server-sent events, until it has ended."""
    with job.attended():
        while True:
            info = _info(job, jobs)
            yield info
            if not job.active:
                return
            while job.active and _info(job, jobs) == info:
                await job.bell.wait(HEARTBEAT / 10)  # a place in the queue moves without this job's bell


@api.get("/jobs/{job_id}/stream", response_class=StreamingResponse, responses={200: {"content": {"audio/wav": BINARY}}})
async def stream_job(job: TheJob) -> StreamingResponse:
    """The audio while it is rendered: a float32 WAV whose header tells the whole length.

    Peaks are as they fall and may pass full scale; `/result` has them tamed. A stream that ends early belongs to a job
    that failed.
    """
    return StreamingResponse(_sound(job), media_type="audio/wav", headers={"Cache-Control": "no-store"})


async def _sound(job: Job) -> AsyncIterator[bytes]:
    with job.attended():
        sent = -1
        while True:
            performance, made = job.performance, job.made
            if performance is not None and sent < 0:
                sent = 0
                yield wav_header(len(performance.mix), performance.sample_rate)
            while performance is not None and sent < made:
                block = performance.mix[sent : min(made, sent + BLOCK)]
                sent += len(block)
                yield block.astype("<f4").tobytes()
            if not job.active and (performance is None or sent == len(performance.mix)):
                return
            if job.made == made and job.performance is performance and job.active:
                await job.bell.wait(HEARTBEAT)


@api.get(
    "/jobs/{job_id}/result",
    response_class=Response,
    responses={200: {"content": {"audio/wav": BINARY, "audio/flac": BINARY}}},
)
async def job_result(job: TheJob, desk: TheDesk, format: Literal["wav", "flac"] = "wav") -> Response:
    """A finished rendering as a file, the one that the job's command line makes; its tags tell how to make it again."""
    performance = job.performance
    if job.state != "done" or performance is None:
        raise RefusedError(409, "not-done", f"the rendering is {job.state}; its result can be had when it is done.")

    def encode() -> tuple[bytes, str]:
        made = performance.finish()
        return audio_bytes(f".{format}", made.audio, made.sample_rate, tags=made.provenance), made.provenance["score"][
            "name"
        ]

    data, score = await desk.do(encode)
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in Path(score).stem) or "m2m"
    headers = {"Content-Disposition": f'attachment; filename="{stem}.{format}"'}
    return Response(data, media_type=f"audio/{format}", headers=headers)


@api.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def nothing(path: str) -> None:
    """Whatever else begins with /api/ is no page."""
    raise RefusedError(
        404, "no-such-address", f"there is nothing at /api/{path[:100]}; /api/openapi.json tells what there is."
    )


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


async def _refused(_: Request, error: Exception) -> Response:
    """Every failure, as a Problem."""
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        error = RefusedError(422, "invalid", f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}.")
    elif isinstance(error, HTTPException):
        error = RefusedError(error.status_code, "http", f"{error.detail}.")
    elif not isinstance(error, RefusedError):
        error = RefusedError(500, "bug", explain(error))
    return problem(error)


def _warm(studio: Studio) -> None:
    """Load the defaults and run a first prediction, which in PyTorch is slow, before somebody waits for them."""
    with contextlib.suppress(RefusedError):
        pipeline = studio.pipeline(None, None)
        for example in studio.examples():
            studio.glance(m.MelRequest(score=example.id, timbre=next(iter(pipeline.timbres.instruments)), stop=1.0))
        studio.shade(studio.default_model, "centroid")
