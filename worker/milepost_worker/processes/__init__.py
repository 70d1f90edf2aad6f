"""Tasks in processes of their own (`@task(process=True)`): a server that forks them, and what both sides say.

    worker                       fork server (`server`)            the task's process (`child`)
    `ForkServer` ── start, signal ──▸ imports the tasks once,
                 ◂── ended ────────── forks, reaps, watches ──────▸ runs one attempt
    `in_a_process` ◂═════════ reports, result, exception ═════════▸ `Relay`

The worker has threads and an event loop, so it must not fork itself. The server has neither.
"""

from milepost_worker.processes.forkserver import ForkServer, launched
from milepost_worker.processes.run import KILL_SECONDS, in_a_process

__all__ = ["KILL_SECONDS", "ForkServer", "in_a_process", "launched"]
