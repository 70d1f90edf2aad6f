"""The processes of docker-compose.yml, started by hand: their commands, their settings, other addresses."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import asyncpg
import httpx2

from milepost.log import Catalogue
from milepost.redis import connect
from tests.support import compose
from tests.support.ports import free_port
from tests.support.process import Process, python_environment
from tests.support.sse import open_stream
from tests.support.wait import eventually

KEY = "production-test-key"
SECRETS = {"MILEPOST_API_KEYS": f"another-key,{KEY}", "POSTGRES_PASSWORD": "unused"}
HEADERS = {"Authorization": f"Bearer {KEY}"}
HEALTHCHECK = compose.ROOT / "deploy" / "healthcheck.py"


class Production:
    """Redis, `apis` APIs and `workers` workers as Compose would run them, on this machine's addresses.

    `redis_server` is the program to run with the arguments of the file, `database_url` an empty database.
    """

    def __init__(
        self, folder: Path, *, redis_server: Path, database_url: str, apis: int = 2, workers: int = 2
    ) -> None:
        self.folder, self.database_url = folder, database_url
        self._redis_server, self._wanted = redis_server, (apis, workers)
        self._redis_port, self._exit = free_port(), AsyncExitStack()
        self._services = compose.services(SECRETS)
        self.redis_url = f"redis://127.0.0.1:{self._redis_port}/0"
        self.apis: list[Process] = []
        self.workers: list[Process] = []
        self.ports: list[int] = []
        self.http: list[httpx2.AsyncClient] = []
        self.migration = ""

    async def __aenter__(self) -> Self:
        apis, workers = self._wanted
        try:
            self.redis = self._start_redis()
            self.migration = self._migrate()
            for _ in range(apis):
                await self._add_api()
            for number in range(workers):
                worker = self._milepost("worker", f"worker-{number + 1}", self._settings("worker"))
                self.workers.append(worker.start())
            await asyncio.gather(*(self.wait_for_api(number) for number in range(apis)))
            await self._wait_for_workers()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()
        for process in (*self.workers, *self.apis, self.redis):
            process.kill()

    def url(self, api: int) -> str:
        return f"http://127.0.0.1:{self.ports[api]}"

    def settings(self, name: str, **other: str) -> dict[str, str]:
        """Return the whole environment of that service's process, for a program beside it."""
        return python_environment(self._settings(name) | other)

    async def restart_api(self, number: int) -> int:
        """Stop an API as Compose does, start it again at the same address, and return its exit code."""
        code = await asyncio.to_thread(self.apis[number].stop, signal.SIGTERM)
        self.apis[number].start()
        await self.wait_for_api(number)
        return code

    async def submit(self, api: int, task: str, *, key: str | None = None, **params: Any) -> dict[str, Any]:
        """Submit a job to that API, with an idempotency key if given; return the job as accepted."""
        sent = {"Idempotency-Key": key} if key else {}
        reply = await self.http[api].post("/v1/jobs", json={"task": task, "params": params}, headers=sent)
        assert reply.status_code == 202, f"{reply.status_code}: {reply.text}"
        job: dict[str, Any] = reply.json()
        return job

    async def follow(self, job_id: str, *, api: int = 0) -> list[dict[str, Any]]:
        """Return the durable events of a job, read as a browser behind the proxy does.

        When a connection ends before the job, the next one is made to the next API, with the last id.
        """
        seen: list[dict[str, Any]] = []
        last_id: str | None = None
        for attempt in range(api, api + 200):
            url = f"{self.url(attempt % len(self.ports))}/v1/jobs/{job_id}/status/stream"
            try:
                async with open_stream(url, last_event_id=last_id, headers=HEADERS) as stream:
                    assert stream.status == 200, bytes(stream.body)
                    async for frame in stream.frames():
                        last_id = frame.id or last_id
                        event = json.loads(frame.data)
                        if "seq" in event:
                            seen.append(event)
                    if seen and seen[-1]["type"] == "end":
                        return seen
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)  # what the proxy's lb_try_interval is for
        raise AssertionError(f"no end after 200 connections; seen: {[event['type'] for event in seen]}")

    async def rows(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        """Ask the database."""
        connection = await asyncpg.connect(self.database_url.replace("+asyncpg", ""))
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    async def wait_for_api(self, number: int) -> None:
        """Wait until that API says that it is ready."""

        async def ready() -> bool:
            self.apis[number].check_alive()
            return bool((await self.http[number].get("/readyz")).status_code == 200)

        await eventually(ready, f"api {number} is ready", ignoring=(httpx2.HTTPError,))

    def _settings(self, name: str) -> dict[str, str]:
        given: Mapping[str, str] = self._services[name]["environment"]
        here = {
            "MILEPOST_REDIS_URL": self.redis_url,
            "MILEPOST_DATABASE_URL": self.database_url.replace("+asyncpg", ""),
            "MILEPOST_FILES_ROOT": str(self.folder),
        }
        return {key: here.get(key, value) for key, value in given.items()}

    def _milepost(self, service: str, name: str, settings: Mapping[str, str]) -> Process:
        command = self._services[service]["command"]
        argv = ("-m", "milepost.cli.main", *command)
        return Process.python(name, *argv, log=self.folder / f"{name}.log", settings=settings)

    def _start_redis(self) -> Process:
        _, *arguments = self._services["redis"]["command"]
        here = ["--port", str(self._redis_port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        log = self.folder / "redis.log"
        process = Process("redis", [self._redis_server, *arguments, *here], log=log).start()
        process.wait_until(self._redis_answers)
        return process

    def _redis_answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        with Redis.from_url(self.redis_url) as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False

    def _migrate(self) -> str:
        command = self._services["migrate"]["command"]
        done = subprocess.run(
            [sys.executable, "-m", "milepost.cli.main", *command],
            env=self.settings("migrate"),
            cwd=compose.ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def _add_api(self) -> None:
        port, name = free_port(), f"api-{len(self.apis) + 1}"
        process = self._milepost("api", name, self._settings("api") | {"MILEPOST_PORT": str(port)})
        self.apis.append(process.start())
        self.ports.append(port)
        client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=60, trust_env=False
        )
        self.http.append(await self._exit.enter_async_context(client))

    async def _wait_for_workers(self) -> None:
        redis = connect(self.redis_url)
        pids = {worker.pid for worker in self.workers}

        async def announced() -> bool:
            for worker in self.workers:
                worker.check_alive()
            return pids == {info.pid for info in await Catalogue(redis).workers()}

        try:
            await eventually(announced, "the workers have announced themselves")
        finally:
            await redis.aclose()


def healthy(service: str, environment: Mapping[str, str]) -> tuple[bool, str]:
    """Run the health check of the image as Docker would, and return what it says."""
    command = [sys.executable, str(HEALTHCHECK), service]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode == 0, done.stdout + done.stderr
