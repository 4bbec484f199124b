"""`m2m serve`: bind, say where, serve until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import uvicorn

from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.web.app import build_app
from m2m.web.limits import Limits
from m2m.web.studio import Studio

CONNECTIONS = 128  # at a time; more are answered 503


def serve(
    host: str,
    port: int,
    *,
    models: Sequence[str | Path] = (),
    limits: Limits,
    token: str = "",
    hosts: Sequence[str] = (),
    told: Callable[[str], None],
) -> None:
    """Serve until a signal comes. `told` is called with the address, as soon as it can be opened.

    token: wanted of every client; where the server can be reached from other machines and none is given, one is made up.
    Raises M2MError where the address cannot be had or a model cannot be read.
    """
    listening = listen(host, port)
    try:
        token = token or ("" if is_loopback(host) else secrets.token_urlsafe(16))
        # Workers render beside one another; each with threads of its own for one operation would only be in the others' way.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // limits.workers))
        app = build_app(Studio(limits, models), token=token, hosts=[host, *hosts])
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            ws="none",
            http="h11",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=2,
        )
        shown = f"[{host}]" if ":" in host else host
        told(f"http://{shown}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}")
        progress.bars = False  # of several threads at once
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises M2MError where the address cannot be had."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise M2MError(f"cannot serve at {host}, port {port}: {reason}; choose another --port or --host.") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
