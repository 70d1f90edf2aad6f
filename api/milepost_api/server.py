"""uvicorn, told how to serve Milepost."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from milepost_api.descriptors import raise_limit
from milepost_api.listening import listen
from milepost_api.protocol import StreamingProtocol
from milepost_api.services import Services
from milepost_api.settings import ApiSettings

EXIT_INTERRUPTED = 130

log = structlog.get_logger("milepost.api")


def config(app: FastAPI, settings: ApiSettings, *, http: Any = StreamingProtocol) -> uvicorn.Config:
    """Return how `app` is served. `http` is a protocol class of uvicorn's, or the name of one."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=http,
        ws="none",
        log_config=None,  # `milepost_api.logs` has configured logging already
        access_log=False,  # it would write query strings, and with them tokens
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        lifespan="on",
    )


def sockets(settings: ApiSettings) -> list[socket.socket]:
    """Return what to listen on. Raises `SettingsError`."""
    return listen(settings.host, settings.port, lost_seconds=settings.lost_reader_seconds)


class Server(uvicorn.Server):
    """Leaves in peace: tells the app that it is leaving before it waits for open connections,

    and keeps the signal that ended it to itself. uvicorn raises it once more, and the process would die
    of it before whoever called could finish (an exit code of -15 for a clean end).
    """

    signalled: signal.Signals | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        taken = (signal.SIGINT, signal.SIGTERM)
        before = {sig: signal.signal(sig, self.handle_exit) for sig in taken}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.signalled = self.signalled or signal.Signals(sig)
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:  # uvicorn says where it listens only when it has chosen that itself
            host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
            log.info("api.listening", url=f"http://{host}:{sockets[0].getsockname()[1]}")

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app = self.config.app
        services = getattr(app.state, "services", None) if isinstance(app, FastAPI) else None
        for listener in (*self.servers, *(sockets or ())):
            listener.close()  # first: who is told to come back must not come back to this process
        if isinstance(services, Services):
            services.hub.drain()  # open streams say `reconnect` and end, or they would be cut
        await super().shutdown(sockets)


def serve(app: FastAPI, settings: ApiSettings, *, http: Any = StreamingProtocol) -> int:
    """Serve until a signal comes. Returns the exit code: 0, 130 after Ctrl-C, 1 if it could not start.

    Raises `SettingsError` if nobody can listen where the settings say.
    """
    raise_limit()
    server = Server(config(app, settings, http=http))
    server.run(sockets(settings))
    if not server.started:
        return 1
    return EXIT_INTERRUPTED if server.signalled is signal.SIGINT else 0
