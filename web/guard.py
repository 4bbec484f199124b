"""What is checked of every request before the application sees it: its host, its origin, its token and its size.

A page of another site can send requests to a server on this machine. If it lets a domain name of its own resolve to this
machine's address (DNS rebinding), it can read the answers too. So the Host must be an address, `localhost`, or a name that
the owner has given; a request that a page of another origin caused is refused; and no answer allows another origin to read
it (CORS).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from m2m.web.limits import RefusedError

COOKIE = "m2m-token"
UPLOAD_SECONDS = 30.0  # in which the whole body of a request must arrive
PIECE = 1 << 16  # bytes of an answer that are written at once, so that a client's pace can be seen
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; media-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
LOCKED = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>m2m is locked</title><link rel="stylesheet" href="/style.css"><main class="locked"><h1>This instrument is locked.</h1>
<p>Open it with the whole address that <code>m2m serve</code> has printed; it ends in <code>?token=…</code></p></main></html>"""


@dataclass
class LargeBodies:
    """The bodies that an address takes which are larger than elsewhere.

    size: the largest, in bytes. most: how many may be in memory at a time, arriving or in use. now: how many are.
    """

    size: int
    most: int
    now: int = 0


class Guard:
    """ASGI middleware.

    hosts: names that are allowed besides addresses and localhost. token: that a request must have; "" asks for none.
    body_bytes: the largest size of a body. large: by path, where larger ones are taken.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = (),
        token: str = "",
        body_bytes: int,
        large: Mapping[str, LargeBodies] | None = None,
    ) -> None:
        self.app, self.token, self.body_bytes, self.large = app, token, body_bytes, dict(large or {})
        self.hosts = {name.lower() for name in hosts} | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                extra = [
                    (k.lower().encode(), v.encode()) for k, v in HEADERS.items() if k.lower().encode() not in names
                ]
                message = {**message, "headers": [*message["headers"], *extra]}
            for piece in _pieces(message):
                await send(piece)

        request = Request(scope, receive)
        try:
            self._check_host(request)
            self._check_origin(request)
            answer = self._check_token(request)
            if answer is None:
                await self._pass_on(request, send_guarded)
                return
        except RefusedError as refusal:
            answer = problem(refusal)
        except ClientDisconnect:  # in the middle of its request, so there is no client to answer
            return
        await answer(scope, receive, send_guarded)

    def _check_host(self, request: Request) -> None:
        host = request.headers.get("host", "")
        name = (re.fullmatch(r"\[?(.*?)\]?(?::\d{1,5})?", host) or [host, host])[1].lower()
        if name not in self.hosts and not _is_address(name):
            raise RefusedError(
                421, "host", "this server does not go by that name; its owner can allow it with --allow-host."
            )

    def _check_origin(self, request: Request) -> None:
        origin, host = request.headers.get("origin"), request.headers.get("host", "")
        site = request.headers.get("sec-fetch-site", "none")
        visit = request.headers.get("sec-fetch-mode") == "navigate" and request.method == "GET"
        foreign = origin is not None and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}")
        if foreign or (site not in ("same-origin", "none") and not visit):
            raise RefusedError(
                403, "origin", "a page of another origin caused this request, which this server does not answer."
            )

    def _check_token(self, request: Request) -> Response | None:
        """None where the request may pass, else the answer."""
        if not self.token or request.url.path in ("/style.css", "/favicon.svg"):
            return None
        page = request.method == "GET" and not request.url.path.startswith("/api/")
        if page and self._fits(request.query_params.get("token", "")):
            answer = RedirectResponse(request.url.path, 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="lax")
            return answer
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if self._fits(request.cookies.get(COOKIE, "")) or (scheme.lower() == "bearer" and self._fits(given.strip())):
            return None
        if page:
            return HTMLResponse(LOCKED, 401)
        raise RefusedError(401, "token", "this server wants a token: 'Authorization: Bearer ...'.")

    def _fits(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self.token.encode())

    async def _pass_on(self, request: Request, send: Send) -> None:
        """Give the application a request with its whole body. Raises RefusedError where the body is not taken."""
        large = self.large.get(request.url.path)
        if large is None or request.method != "POST":
            body = await self._body(request, self.body_bytes)
            await self.app(request.scope, _replay(body, request.receive), send)
            return
        if large.now >= large.most:
            raise RefusedError(503, "busy", f"{large.now} uploads are in work already; try again in a moment.", 2)
        large.now += 1
        try:
            body = await self._body(request, large.size)
            await self.app(request.scope, _replay(body, request.receive), send)
        finally:
            large.now -= 1

    async def _body(self, request: Request, most: int) -> bytes:
        """The whole body, of at most `most` bytes. Raises RefusedError where it is larger or arrives too slowly."""
        refusal = RefusedError(
            413, "too-large", f"more than {most >> 10:,} kB came; that is the most this server takes."
        )
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > most:
            raise refusal
        body = bytearray()
        try:
            async with asyncio.timeout(UPLOAD_SECONDS):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > most:
                        raise refusal
        except TimeoutError as error:
            raise RefusedError(408, "too-slow", f"the request did not arrive within {UPLOAD_SECONDS:g} s.") from error
        return bytes(body)


def problem(refusal: RefusedError) -> JSONResponse:
    """The answer to a request that is refused."""
    headers = {"Retry-After": str(refusal.retry_after)} if refusal.retry_after else {}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    about = {"kind": refusal.kind, "message": refusal.message, "retry_after": refusal.retry_after}
    return JSONResponse(about, refusal.status, headers)


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body that was read already, then what follows it, such as a disconnect."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _pieces(message: Message) -> Iterator[Message]:
    """A message with its body in several of at most PIECE bytes each."""
    body = message.get("body", b"")
    last = max(0, len(body) - 1) // PIECE * PIECE
    for start in range(0, last, PIECE):
        yield {"type": message["type"], "body": body[start : start + PIECE], "more_body": True}
    yield {**message, "body": body[last:]} if last else message


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
