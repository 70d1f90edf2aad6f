"""`python bootstrap.py DESCRIPTOR`: becomes the fork server. Standard library only, until it has the worker's path."""

import json
import socket
import struct
import sys

LENGTH = struct.Struct(">I")


def main() -> None:
    """Hear from the worker what to import, and from where."""
    control = socket.socket(fileno=int(sys.argv[1]))
    (length,) = LENGTH.unpack(_exactly(control, LENGTH.size))
    config = json.loads(_exactly(control, length))
    sys.path[:] = config["path"]
    from milepost_worker.processes.server import serve  # only now can it be found

    serve(control, config)


def _exactly(control: socket.socket, length: int) -> bytes:
    raw = b""
    while len(raw) < length:
        part = control.recv(length - len(raw))
        if not part:
            sys.exit(1)  # the worker has died
        raw += part
    return raw


if __name__ == "__main__":
    main()
