"""uvicorn around the page: one process, ended by a signal once the requests at work are answered."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable

import uvicorn
from sqlalchemy import Engine

from sandwiching.launch.page.app import make_app
from sandwiching.launch.page.records import Terms

GRACE_SECONDS = 10
CONNECTIONS = 512
"""Requests at work at most; more are answered 503."""


def serve(engine: Engine, terms: Terms, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until a signal (SIGINT, SIGTERM); port 0 takes a free one. ready: told the address once it listens.

    Raises ValueError when nothing can be served, or the address is taken.
    """
    config = uvicorn.Config(
        make_app(engine, terms),
        host=host,
        port=port,
        lifespan="off",
        log_level="warning",
        # Requests name secrets, which have no place in a log.
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise ValueError(f"--host, --port: cannot listen on {host}:{port}: {error.strerror}") from error
        listener.listen(CONNECTIONS)
        name = f"[{host}]" if ":" in host else host
        ready(f"http://{name}:{listener.getsockname()[1]}")
        # uvicorn stops gracefully, then raises the signal once more for whoever handled it before.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        uvicorn.Server(config).run(sockets=[listener])
    engine.dispose()
