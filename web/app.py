"""The application: the API, the page, and what starts and ends with them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from m2m import __version__
from m2m.core.errors import explain
from m2m.web.executor import Executor
from m2m.web.guard import Guard, LargeBodies, problem
from m2m.web.jobs import Jobs
from m2m.web.limits import RefusedError
from m2m.web.messages import MelRequest
from m2m.web.routes import api
from m2m.web.routes.dependencies import CLIENT
from m2m.web.service import Service

STATIC = Path(__file__).parent / "static"


def build_app(service: Service, *, token: str = "", hosts: Iterable[str] = ()) -> FastAPI:
    """The whole application; its lifespan starts and ends the workers.

    token: that every client must send; "" asks for none. hosts: names that the server may be asked for by, besides addresses
    and localhost.
    """
    limits = service.limits

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service, app.state.executor, app.state.jobs = service, Executor(limits.requests), Jobs(limits)
        app.state.transcribing = Executor(limits.audio_uploads, threads=1)
        sweeping = asyncio.create_task(app.state.jobs.keep_sweeping())
        warming = asyncio.get_running_loop().run_in_executor(None, _warm, service)
        yield
        sweeping.cancel()
        app.state.jobs.close()
        app.state.executor.close()
        app.state.transcribing.close()
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
    for failure in (RefusedError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(failure, _refused)
    app.include_router(api)
    app.mount("/", PageFiles(directory=STATIC, html=True))
    large = {"/api/recordings": LargeBodies(limits.audio_kb << 10, limits.audio_uploads)}
    app.add_middleware(Guard, hosts=tuple(hosts), token=token, body_bytes=limits.upload_kb << 10, large=large)
    return app


class Application(FastAPI):
    """FastAPI, whose description says of every failure that its body is a Problem."""

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


class PageFiles(StaticFiles):
    """The page's files. A browser asks each time whether they have changed; the page sets its client cookie."""

    async def get_response(self, path: str, scope: Any) -> Response:
        """One file."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        if path in (".", "index.html") and CLIENT not in Request(scope).cookies:
            response.set_cookie(CLIENT, secrets.token_urlsafe(9), httponly=True, samesite="strict")
        return response


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


def _warm(service: Service) -> None:
    """Load the defaults and predict once, which is slow the first time in PyTorch, before the first client asks."""
    with contextlib.suppress(RefusedError):
        pipeline = service.pipeline(None, None)
        for example in service.scores.examples():
            service.mel(MelRequest(score=example.id, timbre=next(iter(pipeline.timbres.instruments)), stop=1.0))
        service.shade(service.default_model, "centroid")
