"""An HTTP server that answers what the test wrote down, misbehaving included: cuts, resets, silence."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: close sends RST


@dataclass(frozen=True)
class Request:
    """One request as it arrived; names of headers in lower case."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: bytes


Answer = Callable[[socket.socket], None]


@dataclass
class ScriptedServer:
    """Answers its n-th request with the n-th of `answers`, each on a connection of its own.

    A request beyond the script is refused with a status no client retries, and kept in `requests` like all.
    """

    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed: the test is over
            answer = (
                self.answers.pop(0) if self.answers else answer_json(418, {"detail": "not in the script"})
            )
            thread = threading.Thread(target=self._one, args=(client, answer), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _one(self, client: socket.socket, answer: Answer) -> None:
        with client:
            self.requests.append(_read(client))
            answer(client)


def answer_json(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """A whole answer. 204 has no body."""
    body = b"" if status == 204 else json.dumps(document).encode()
    lines = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
    if status != 204:
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())

    def answer(client: socket.socket) -> None:
        client.sendall(f"HTTP/1.1 {status} -\r\n{head}\r\n".encode() + body)

    return answer


def answer_stream(body: bytes, then: str = "close", *, content_type: str = "text/event-stream") -> Answer:
    """The head of a chunked stream and `body`, then what `then` says.

    `finish`: the body ends as it should; `close`: the connection closes in its middle; `reset`: it is reset;
    `mute`: nothing comes any more until the client hangs up.
    """
    lines = (
        "HTTP/1.1 200 OK",
        f"Content-Type: {content_type}",
        "Transfer-Encoding: chunked",
        "Connection: close",
    )
    head = "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    def answer(client: socket.socket) -> None:
        client.sendall(head + (b"%x\r\n%s\r\n" % (len(body), body) if body else b""))
        if then == "finish":
            client.sendall(b"0\r\n\r\n")
        if then == "mute":
            client.settimeout(30)
            client.recv(1)
        if then == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)

    return answer


def hang_up(client: socket.socket) -> None:
    """Close without a word."""


def _read(client: socket.socket) -> Request:
    data = b""
    while b"\r\n\r\n" not in data and (more := client.recv(65_536)):
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += client.recv(65_536)
    method, target, *_ = [*first.split(" "), "", ""]
    parts = urlsplit(target)
    return Request(method, parts.path, parse_qsl(parts.query), headers, body)
