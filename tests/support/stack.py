"""The whole service as processes: API and workers around one Redis and one database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import httpx2

from milepost.log import Catalogue
from milepost.redis import connect
from tests.support.ports import free_port
from tests.support.process import Process
from tests.support.wait import eventually

BUILTIN_TASKS = "milepost_worker.builtin"


class Reached(Protocol):
    """A Redis that runs somewhere."""

    @property
    def url(self) -> str: ...


class Stack:
    """Redis, `apis` API processes and `workers` worker processes on free ports of 127.0.0.1, or of MILEPOST_HOST.

    Leaves when the test leaves. `settings` go to every process (`{"MILEPOST_LEASE_SECONDS": "3"}`);
    `modules` are what the workers load; without `database_url` records are in SQLite below `folder`.
    `redis_url` replaces the server's own, to put a proxy between. `http` is a client of the first API, with
    the first of `MILEPOST_API_KEYS` if they are set.
    """

    def __init__(
        self,
        folder: Path,
        redis: Reached,
        *,
        apis: int = 1,
        workers: int = 1,
        modules: Sequence[str] = (BUILTIN_TASKS,),
        settings: Mapping[str, str] | None = None,
        database_url: str | None = None,
        redis_url: str | None = None,
    ) -> None:
        self.folder, self.redis = folder, redis
        self._modules, self._wanted = tuple(modules), (apis, workers)
        self._settings = {
            "MILEPOST_REDIS_URL": redis_url or redis.url,
            "MILEPOST_DATA_DIR": str(folder / "data"),
            "MILEPOST_LOG_LEVEL": "info",
            **({"MILEPOST_DATABASE_URL": database_url} if database_url else {}),
            **(settings or {}),
        }
        self.apis: list[Process] = []
        self.workers: list[Process] = []
        self.urls: list[str] = []
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        apis, workers = self._wanted
        try:
            # Without TLS to set up: loading certificates takes longer than all that is asked.
            client = httpx2.AsyncClient(timeout=30, trust_env=False, verify=False, headers=self._headers())
            self.http = await self._exit.enter_async_context(client)
            for _ in range(workers):
                self.add_worker()  # they start while the first API does, which brings the database up to date
            for _ in range(apis):
                await self.add_api()
            for worker in self.workers:
                await self.wait_for_worker(worker)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()
        for process in (*self.workers, *self.apis):
            process.kill()

    @property
    def url(self) -> str:
        """Where the first API listens: `http://127.0.0.1:40123`."""
        return self.urls[0]

    async def add_api(self, **settings: str) -> Process:
        """Start one more API and wait until it is ready."""
        port = free_port()
        name = f"api-{len(self.apis) + 1}"
        given = self._settings | {"MILEPOST_PORT": str(port)} | settings
        process = Process.python(name, "-m", "milepost_api", log=self.folder / f"{name}.log", settings=given)
        self.apis.append(process.start())
        self.urls.append(f"http://{given.get('MILEPOST_HOST', '127.0.0.1')}:{port}")
        self.http.base_url = self.url
        await self.wait_for_api(process)
        return process

    def add_worker(self, *modules: str, **settings: str) -> Process:
        """Start one more worker, of other `modules` if named; `wait_for_worker` waits until it is there."""
        name = f"worker-{len(self.workers) + 1}"
        process = Process.python(
            name,
            *("-m", "milepost_worker", *(modules or self._modules)),
            log=self.folder / f"{name}.log",
            settings=self._settings | settings,
        )
        self.workers.append(process.start())
        return process

    async def wait_for_api(self, process: Process) -> None:
        """Wait until `/readyz` says 200."""
        url = self.urls[self.apis.index(process)]

        async def ready() -> bool:
            process.check_alive()
            return bool((await self.http.get(f"{url}/readyz")).status_code == 200)

        await eventually(ready, f"{process.name} is ready", ignoring=(httpx2.HTTPError,))

    async def wait_for_worker(self, process: Process) -> str:
        """Wait until the worker has announced itself and the APIs list it; return its id."""
        redis = connect(self.redis.url)
        try:

            async def announced() -> str:
                process.check_alive()
                return next((w.id for w in await Catalogue(redis).workers() if w.pid == process.pid), "")

            worker_id = await eventually(announced, f"{process.name} has announced itself")
        finally:
            await redis.aclose()
        for url in self.urls:
            await self._listed(url, worker_id)
        return worker_id

    async def submit(self, task: str, **params: Any) -> dict[str, Any]:
        """Submit a job to the first API and return it as the API shows it."""
        reply = await self.http.post("/v1/jobs", json={"task": task, "params": params})
        assert reply.status_code == 202, f"{reply.status_code}: {reply.text}"
        job: dict[str, Any] = reply.json()
        return job

    async def job(self, job_id: str) -> dict[str, Any]:
        """Return the job as the first API shows it."""
        reply = await self.http.get(f"/v1/jobs/{job_id}")
        assert reply.status_code == 200, f"{reply.status_code}: {reply.text}"
        job: dict[str, Any] = reply.json()
        return job

    def stream_url(self, job_id: str) -> str:
        return f"{self.url}/v1/jobs/{job_id}/status/stream"

    def _headers(self) -> dict[str, str]:
        entry = self._settings.get("MILEPOST_API_KEYS", "").partition(",")[0]
        key = entry.partition(":")[2] or entry
        return {"Authorization": f"Bearer {key}"} if key else {}

    async def _listed(self, url: str, worker_id: str) -> None:
        async def listed() -> bool:
            return worker_id in (await self.http.get(f"{url}/v1/workers")).text

        await eventually(listed, f"{url} lists {worker_id}", ignoring=(httpx2.HTTPError,))
