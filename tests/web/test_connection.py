"""Connections on which no request comes."""

import socket
from collections.abc import Callable

import httpx
import pytest

from m2m.web import connection

PATIENCE = 120.0  # seconds until a wait has failed: a busy machine is no failure


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
@pytest.mark.parametrize("before", [False, True])
def test_a_connection_without_headers_is_closed(
    serve: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch, sent: bytes, before: bool
) -> None:
    monkeypatch.setattr(connection, "HEADER_SECONDS", 1.0)
    address = serve().base_url
    with socket.create_connection((address.host, address.port or 80), timeout=PATIENCE) as client:
        if before:  # a request that is answered, and then the same
            client.sendall(b"GET /api/about HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert client.recv(12) == b"HTTP/1.1 200"
        client.sendall(sent)
        while client.recv(65_536):  # raises TimeoutError where the connection stays open
            pass
