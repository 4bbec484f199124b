"""`m2m serve`: bind an address, announce it, serve until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import uvicorn
from fastapi import FastAPI

from m2m.core.errors import M2MError
from m2m.core.system import progress
from m2m.web.app import build_app
from m2m.web.connection import PromptProtocol
from m2m.web.limits import ServerLimits
from m2m.web.service import Service


def serve(
    host: str,
    port: int,
    *,
    models: Sequence[str | Path] = (),
    limits: ServerLimits,
    token: str = "",
    hosts: Sequence[str] = (),
    device: str = "cpu",
    announce: Callable[[str], None],
) -> None:
    """Serve until a signal comes.

    models: folders of trained models, beside those that ship. token: that every client must send; "" makes one up where other
    machines can reach the server. hosts: names that the server may be asked for by. device: that renders. announce: called with
    the address of the page, as soon as it can be opened.

    Raises M2MError where the server cannot listen at the address, a model cannot be read, or there is no such device.
    """
    listening = listen(host, port)
    try:
        token = token or ("" if is_loopback(host) else secrets.token_urlsafe(16))
        # Workers render beside one another: together they have one thread of PyTorch for each processor.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // limits.workers))
        app = build_app(Service(limits, models, device), token=token, hosts=[host, *hosts])
        shown = f"[{host}]" if ":" in host else host
        announce(f"http://{shown}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}")
        progress.bars = False  # of several threads at once
        uvicorn.Server(configure(app, limits)).run(sockets=[listening])
    finally:
        listening.close()


def configure(app: FastAPI, limits: ServerLimits) -> uvicorn.Config:
    """How uvicorn serves the application. Connections beyond the limit are answered with status 503."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="none",
        http=PromptProtocol,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=2,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises M2MError where the server cannot listen there."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=256)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise M2MError(f"cannot serve at {host}, port {port}: {reason}; choose another --port or --host.") from error


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
