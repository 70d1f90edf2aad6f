"""`python bootstrap.py DESCRIPTOR`: becomes the fork server. Standard library only, until it knows the worker's path."""

import json
import socket
import struct
import sys

LENGTH = struct.Struct(">I")


def main() -> None:
    """Hear from the worker what to import, and from where."""
    control = socket.socket(fileno=int(sys.argv[1]))
    with control.makefile("rb", buffering=0) as file:
        (length,) = LENGTH.unpack(file.read(LENGTH.size))
        config = json.loads(_exactly(file, length))
    sys.path[:] = config["path"]
    from milepost_worker.processes.server import serve  # only now can it be found

    serve(control, config)


def _exactly(file, length):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - a worker that dies is an error here
    raw = b""
    while len(raw) < length:
        raw += file.read(length - len(raw)) or sys.exit(1)
    return raw


if __name__ == "__main__":
    main()
