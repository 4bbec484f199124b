"""Connections that only hold a place are closed: uvicorn and h11 have no time-outs for headers and for readers, and no
bound by client.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

HEADER_SECONDS = 10.0  # for the headers of a request, from the connection or the last answer on
READ_SECONDS = 30.0  # for a client to take what is written, 64 kB at a time (web/guard.py)
SHARE = 4  # an address may hold one connection in so many


class PromptProtocol(H11Protocol):
    """uvicorn's HTTP, of a client whose requests come within `HEADER_SECONDS`, and which reads what it has asked for."""

    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request, unless the client's address has its share of connections already."""
        super().connection_made(transport)
        addresses = [other.client[0] for other in self.connections if isinstance(other, H11Protocol) and other.client]
        theirs = addresses.count(self.client[0]) if self.client else 0
        if self.limit_concurrency and theirs > max(1, self.limit_concurrency // SHARE):
            transport.abort()
        else:
            self.loop.call_later(HEADER_SECONDS, self._close_unless_asked, None)

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have come already."""
        answered = self.cycle
        super().on_response_complete()
        self.loop.call_later(HEADER_SECONDS, self._close_unless_asked, answered)

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._stuck = self.loop.call_later(READ_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read."""
        super().resume_writing()
        if self._stuck:
            self._stuck.cancel()

    def _close_unless_asked(self, last: RequestResponseCycle | None) -> None:
        if self.cycle is last:
            self.transport.close()  # what is written already is still sent
            self.loop.call_later(READ_SECONDS, self.transport.abort)
