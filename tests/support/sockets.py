"""What the kernel holds for the connections of a server, read from outside with `ss` (iproute2, Linux)."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass


@dataclass(frozen=True)
class Connection:
    """The server's end of one connection. `held_bytes`: memory of the kernel for it, both directions."""

    state: str
    peer: str
    held_bytes: int
    send_buffer_bytes: int
    keepalive: bool


def connections_of(port: int) -> list[Connection]:
    """Return the connections of whoever listens on `port`, those that are being closed included."""
    command = ("ss", "--no-header", "--tcp", "--memory", "--options", "--numeric", "state", "connected")
    listed = subprocess.run(
        (*command, "(", "sport", "=", f":{port}", ")"), capture_output=True, text=True, check=True
    ).stdout
    return [_read(line) for line in re.sub(r"\n[ \t]+", " ", listed).splitlines() if line.strip()]


def _read(line: str) -> Connection:
    state, _, _, _, peer, *_ = line.split()
    # ss(8): rmem_alloc, rcv_buf, wmem_alloc, snd_buf, fwd_alloc, wmem_queued, ropt_mem, back_log, sock_drop
    memory = re.search(r"skmem:\(r(\d+),rb\d+,t(\d+),tb(\d+),f(\d+),w(\d+)", line)
    if memory is None:  # what is closed and waits for its last packet has given its memory back
        return Connection(state, peer, 0, 0, False)
    received, _, limit, ahead, queued = map(int, memory.groups())
    return Connection(state, peer, received + ahead + queued, limit, "timer:(keepalive" in line)
