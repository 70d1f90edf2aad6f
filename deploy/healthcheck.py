"""Whether the Milepost process of this container is well: exit code 0 or 1, and a sentence when it is not.

`healthcheck.py api` asks its own /healthz. `healthcheck.py worker` looks whether the worker still announces
itself. Without an argument it looks at what the container runs. Neither fails because Redis or the database
is away: a restart would not bring them back, and a worker that is restarted hands its jobs back for nothing.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import sys
from pathlib import Path

ANSWER_SECONDS = 4


def api() -> str:
    """Return what is wrong with the API of this container, "" if nothing is."""
    port = int(os.environ.get("MILEPOST_PORT") or 8000)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"The API does not answer on port {port}: {error}."
    finally:
        connection.close()
    return "" if status == 200 else f"GET /healthz answers {status}."


def worker() -> str:
    """Return what is wrong with the worker of this container, "" if nothing is or nobody can tell."""
    from milepost_worker.checking import look

    wrong, sentence = asyncio.run(look())
    return sentence if wrong else ""


CHECKS = {"api": api, "worker": worker}


def running() -> str:
    """Return which of the checks fits what the container runs, "" if none does."""
    words = Path("/proc/1/cmdline").read_bytes().split(b"\0")
    return next((name for name in CHECKS if name.encode() in words), "")


def main(arguments: list[str]) -> int:
    """Print what is wrong and return 1, or return 0."""
    check = CHECKS.get(arguments[0] if arguments else running())
    wrong = check() if check else ""
    if wrong:
        sys.stdout.write(wrong + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
