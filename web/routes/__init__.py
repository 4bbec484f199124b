"""The routes of the API, below /api. Handlers are short: what takes time is handed to the executor or to a job."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from m2m.web.limits import RefusedError
from m2m.web.messages import Problem
from m2m.web.routes import catalogue, jobs, scores

RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "The request is not valid HTTP.",
        401: "The server wants a token.",
        403: "A page of another origin caused the request.",
        404: "There is no such thing, or no longer.",
        405: "The address does not take this method.",
        408: "The request took too long to arrive.",
        409: "A component cannot be used.",
        413: "Too large or too long for this server.",
        421: "The server does not go by that name.",
        422: "A value of the request is not allowed.",
        429: "Too many renderings of one client.",
        500: "A bug.",
        503: "Too many requests or renderings wait already.",
    }.items()
}

api = APIRouter(prefix="/api", responses=RESPONSES)
for part in (catalogue, scores, jobs):
    api.include_router(part.router)


@api.api_route("/{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def unknown_address(path: str) -> None:
    """Refuse any other address below /api/, where the page's files would else be looked for."""
    raise RefusedError(
        404, "no-such-address", f"there is nothing at /api/{path[:100]}; /api/openapi.json tells what there is."
    )
