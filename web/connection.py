"""Connections that send no request are closed: uvicorn has a time-out between two requests, but none for their headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADER_SECONDS = 10.0  # for the headers of a request, from the connection or the last answer on


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP, of a client whose requests come within `HEADER_SECONDS`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.loop.call_later(HEADER_SECONDS, self._close_unless_asked, None)

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have come already."""
        answered = self.cycle
        super().on_response_complete()
        self.loop.call_later(HEADER_SECONDS, self._close_unless_asked, answered)

    def _close_unless_asked(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last:
            self.transport.close()  # what is written already is still sent
