"""A house: one Redis, APIs, a crew of workers, and all that can be done to them. It outlives its rounds.

Leases are short, so that a round is. The API speaks to Redis through a proxy that can eat replies, and so does
the last worker, which alone listens on the queue `wired`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from redis.exceptions import RedisError

from milepost.background import end
from milepost.client import AsyncClient
from milepost.client.backoff import Backoff
from tests.faults import records
from tests.faults.baseline import excess
from tests.faults.doom import FOLDER_VARIABLE, FULL, SPACE, disarm
from tests.faults.failover import AnyRedis, FailingOver
from tests.faults.kinds import APART, PLAIN, Kind
from tests.faults.laws import FOREVER
from tests.faults.postgres import Postgres
from tests.faults.story import Hurt
from tests.faults.witness import PATH_VARIABLE, Run, Witness
from tests.support.process import ROOT, Process
from tests.support.proxy import TcpProxy
from tests.support.redis import RedisServer
from tests.support.stack import Stack
from tests.support.wait import eventually

LEASE_SECONDS, SILENCE_SECONDS = 2.0, 1.0
HEARTBEAT_SECONDS = min(LEASE_SECONDS / 4, SILENCE_SECONDS / 2)
DRAIN_SECONDS, STOP_GRACE_SECONDS = 0.5, 0.4
SKEWED, DOOMED = Path(__file__).with_name("skewed"), Path(__file__).with_name("doomed")
LOSS_SECONDS = 0.02
MODULES = {APART: ("tests.faults.tasks", "tests.faults.apart")}
SETTINGS = {
    "MILEPOST_LEASE_SECONDS": str(LEASE_SECONDS),
    "MILEPOST_SILENCE_SECONDS": str(SILENCE_SECONDS),
    "MILEPOST_DRAIN_SECONDS": str(DRAIN_SECONDS),
    "MILEPOST_STOP_GRACE_SECONDS": str(STOP_GRACE_SECONDS),
    "MILEPOST_POLL_SECONDS": "0.2",
    "MILEPOST_CONCURRENCY": "6",
}


class House:
    """Opened once for many rounds; `repair` makes it whole again after each."""

    def __init__(self, folder: Path, kind: Kind = PLAIN) -> None:
        self.folder, self.kind = folder, kind
        self.doom = folder / "doom"
        self.postgres = Postgres(folder / "postgres") if kind.postgres else None
        self.witness = Witness(folder / "witness.jsonl")
        self.redis: AnyRedis
        if kind.sentinels:
            self.redis = FailingOver(folder / "redis")
            self.proxy = TcpProxy(("127.0.0.1", self.redis.ports[0]))  # nobody asks it where Sentinels answer
        else:
            self.redis = RedisServer(folder / "redis", appendfsync="everysec")
            self.proxy = TcpProxy(self.redis.url)
        self.crew: list[Process] = []
        self._queues: dict[Process, str] = {}
        self.hurt: list[Hurt] = []
        self.losses: list[float] = []
        self._frozen: dict[int, float] = {}
        self._fallen: list[str] = []
        self._front: TcpProxy | None = None
        self._full: list[int] = []
        self._read: dict[Process, int] = {}
        self._exit = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._open(self.redis)
            await self._exit.enter_async_context(self.proxy)
            self.database_url = await self._open_database()
            self.stack = await self._exit.enter_async_context(self._new_stack())
            crew = self._hire_missing()  # they start while the APIs do
            doomed = self._doomed() if self.kind.doomed else {}
            await asyncio.gather(*(self.stack.add_api(**doomed) for _ in range(self.kind.apis)))
            await self.there(*crew)
            if self.kind.apis > 1:
                self._front = await self._exit.enter_async_context(TcpProxy(*self.stack.urls))
            await self.repair()
        except BaseException:
            await self._exit.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exit.aclose()

    async def _open(self, servers: AbstractContextManager[Any]) -> None:
        """Start them in a thread: other houses are played meanwhile.

        A child dies with the thread that forked it, and those of asyncio's pool live as long as its loop.
        """
        await asyncio.to_thread(self._exit.enter_context, servers)

    async def _open_database(self) -> str:
        """Make the records and return where they are."""
        if self.postgres is None:
            url = f"sqlite+aiosqlite:///{self.folder / 'milepost.db'}"
            await records.upgrade(url)  # several APIs start at the same time
            return url
        await self._open(self.postgres)
        return await self.postgres.new_database()

    def _doomed(self) -> dict[str, str]:
        self.doom.mkdir(exist_ok=True)
        return {
            FOLDER_VARIABLE: str(self.doom),
            "PYTHONPATH": path_from(DOOMED),
            "MILEPOST_HISTORY_RETENTION_DAYS": str(records.RETENTION_DAYS),
        }

    def _new_stack(self) -> Stack:
        return Stack(
            self.folder,
            self.redis,
            apis=0,
            workers=0,
            modules=("tests.faults.tasks",),
            settings=SETTINGS | {PATH_VARIABLE: str(self.witness.path)},
            database_url=self.database_url,
            redis_url=self.redis.url if self.kind.sentinels else self.proxy.url,
        )

    @property
    def api(self) -> Process:
        return self.stack.apis[0]

    @property
    def url(self) -> str:
        """Where clients go: to the API, or to what stands before several of them and avoids the dead."""
        return self._front.url if self._front else self.stack.url

    def client(self, url: str | None = None) -> AsyncClient:
        """Return a client that comes back soon: rounds are short."""
        return AsyncClient(
            url or self.url,
            backoff=lambda: Backoff(base_seconds=0.1, cap_seconds=0.4),
            silence_seconds=20,
        )

    # Workers.

    def hire(self, *modules: str, queues: str = "default", **settings: str) -> Process:
        """Start a worker; `there` waits until it is at work."""
        url = {"MILEPOST_REDIS_URL": self.redis.url} if "wired" not in queues.split(",") else {}
        worker = self.stack.add_worker(*modules, MILEPOST_QUEUES=queues, **url, **settings)
        self.crew.append(worker)
        self._queues[worker] = queues
        return worker

    async def there(self, *workers: Process) -> None:
        for worker in workers:
            await self.stack.wait_for_worker(worker)

    def by_pid(self, pid: int) -> Process | None:
        return next((worker for worker in self.crew if worker.pid == pid), None)

    async def kill(self, worker: Process) -> None:
        """SIGKILL."""
        self.hurt.append(Hurt(worker.pid, time.time(), FOREVER))
        worker.send(signal.SIGKILL)
        await self.gone(worker)

    def freeze(self, worker: Process) -> None:
        """SIGSTOP."""
        self._frozen[worker.pid] = time.time()
        worker.pause()

    def thaw(self, worker: Process) -> None:
        """SIGCONT."""
        worker.resume()
        if (since := self._frozen.pop(worker.pid, None)) is not None:
            self.hurt.append(Hurt(worker.pid, since, time.time()))

    async def gone(self, worker: Process) -> int:
        """Wait until it has left, and return its exit code."""
        await eventually(lambda: not worker.alive, f"{worker.name} has left", deadline=40)
        if worker in self.crew:
            self.crew.remove(worker)
        return worker.wait()

    # Redis.

    async def stop_redis(self, number: int) -> None:
        """End it; the kernel has all that it has acknowledged, also if it is killed."""
        process = self.redis.process
        if number == signal.SIGKILL:
            await asyncio.to_thread(self._write_at_once)
        process.send(number)
        await eventually(lambda: not process.alive, "redis has left")

    async def start_redis(self) -> None:
        self.redis.process.start()  # in this thread: the child dies with the thread that forked it
        ignored = (RedisError, OSError)
        await eventually(lambda: asyncio.to_thread(self._redis_answers), "redis is back", ignoring=ignored)

    def pause_redis(self) -> None:
        """SIGSTOP."""
        self.redis.process.pause()

    def resume_redis(self) -> None:
        self.redis.process.resume()

    def _write_at_once(self) -> None:
        # With `everysec` it holds back for up to 2 s what it has acknowledged while a slow disk syncs the second
        # before. To lose that is the matter of `redis_power`; this answer comes when everything is written.
        with self.redis.client() as client:
            client.config_set("appendfsync", "no")

    def _redis_answers(self) -> bool:
        with self.redis.client() as client:
            return bool(client.ping())

    def written(self) -> tuple[Path, int]:
        """Return the file that Redis appends to, and how long it is."""
        file = max(
            (self.redis.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime
        )
        return file, file.stat().st_size

    def lost_data(self) -> None:
        """Say that Redis has just forgotten something that it had acknowledged."""
        self.losses.append(time.time())

    async def start_postgres(self) -> None:
        """Start it again after it was killed."""
        assert self.postgres is not None
        await asyncio.to_thread(self.postgres.start)

    @property
    def redis_ports(self) -> frozenset[int]:
        """Where an API may be connected to that has to do with Redis."""
        servers = self.redis.server_ports if isinstance(self.redis, FailingOver) else {self.redis.port}
        return frozenset({self.proxy.port, *servers})

    @asynccontextmanager
    async def losing(self) -> AsyncIterator[None]:
        """Say that Redis forgets something at some moment while the block lasts."""

        async def again_and_again() -> None:
            while True:
                self.lost_data()
                await asyncio.sleep(LOSS_SECONDS)

        losing = asyncio.create_task(again_and_again())
        try:
            yield
        finally:
            await end(losing)
            self.lost_data()

    # The API.

    async def restart_api(self) -> None:
        self.api.kill()
        self.api.start()
        await self.stack.wait_for_api(self.api)

    def revive_apis(self) -> None:
        """Start those that are dead; they are not waited for."""
        for api in self.stack.apis:
            if not api.alive:
                self._note(api)
                api.start()

    def fill_disks(self) -> None:
        """Let the kernel refuse whatever the APIs write to a file from now on, their logs included."""
        for api in self.stack.apis:
            api.send(FULL)
            self._full.append(api.pid)

    def free_disks(self) -> None:
        for api in self.stack.apis:
            if api.alive and api.pid in self._full:
                api.send(SPACE)
        self._full.clear()

    def _note(self, api: Process) -> None:
        if api.returncode != -signal.SIGKILL:
            self._fallen.append(f"{api.name} left by itself with {api.returncode}: {_last_line(api)}")

    async def add_skewed_api(self, seconds: float) -> tuple[Process, str]:
        """Start one more API whose host's clock is so many seconds ahead; return it and where it is."""
        api = await self.stack.add_api(**skew(seconds))
        return api, self.stack.urls[-1]

    async def drop_api(self, api: Process) -> None:
        """Kill one that was added."""
        api.kill()
        at = self.stack.apis.index(api)
        del self.stack.apis[at], self.stack.urls[at]

    # All of it.

    def runs(self) -> dict[str, list[Run]]:
        """Return what the witness saw, by the clock of Redis."""
        offset = time.time() - time.monotonic()
        return {job: [run.moved(offset) for run in runs] for job, runs in self.witness.runs().items()}

    def hurts(self) -> list[Hurt]:
        """Return who was hurt and when: by the suite, or by a task that ended its own process."""
        exits = [run for runs in self.runs().values() for run in runs if run.exits and run.ended is not None]
        frozen = [Hurt(pid, since, FOREVER) for pid, since in self._frozen.items()]
        return [*self.hurt, *frozen, *(Hurt(run.pid, run.ended or 0.0, FOREVER) for run in exits)]

    async def repair(self) -> None:
        """Make it whole: everything runs, with the right clock, and as many workers as there should be."""
        self.proxy.eat_reply_to(None)
        self.proxy.delay_seconds = 0.0
        if isinstance(self.redis, FailingOver):
            await self.redis.whole()
        else:
            self.redis.resume() if self.redis.process.alive else await self.start_redis()
        if self.postgres is not None:
            self.postgres.resume() if self.postgres.process.alive else await self.start_postgres()
        for api in self.stack.apis[self.kind.apis :]:
            await self.drop_api(api)
        if self.kind.doomed:
            self._fallen += [f"nobody passed {point}" for point in disarm(self.doom)]
        await self._serving()
        self._bury()
        for worker in self.crew:
            self.thaw(worker)
        await self.there(*self._hire_missing())

    async def _serving(self) -> None:
        for api in self.stack.apis:
            if api.alive:
                api.resume()
        self.free_disks()
        self.revive_apis()
        for api in self.stack.apis:
            await self.stack.wait_for_api(api)

    def _hire_missing(self) -> list[Process]:
        wanted = Counter(self.kind.crew) - Counter(self._queues[worker] for worker in self.crew)
        return [self.hire(*MODULES.get(queues, ()), queues=queues) for queues in wanted.elements()]

    def _bury(self) -> None:
        for worker in [worker for worker in self.crew if not worker.alive]:
            self.crew.remove(worker)
            self._fallen.append(
                f"{worker.name} left by itself with {worker.returncode}: {_last_line(worker)}"
            )

    def fallen(self) -> list[str]:
        """Return which workers have left although nobody had told them to, since the last time this was asked."""
        self._bury()
        fallen, self._fallen = self._fallen, []
        return fallen

    async def excess(self) -> list[str]:
        """Return what is held beyond what a house at rest needs."""
        return await excess(self)

    def bugs(self) -> list[str]:
        """Return what the APIs have logged since the last time this was asked that nobody should have to read."""
        bugs: list[str] = []
        for api in self.stack.apis:
            text = api.log.read_text("utf-8", "replace")
            fresh, self._read[api] = text[self._read.get(api, 0) :], len(text)
            bugs += [f"{api.name} logged: {line.strip()}" for line in fresh.splitlines() if _is_bug(line)]
        return bugs

    async def let_go(self, *workers: Process) -> None:
        """Dismiss workers that only one round wanted."""
        for worker in workers:
            if worker.alive:
                worker.send(signal.SIGTERM)
        for worker in workers:
            await self.gone(worker)


def skew(seconds: float) -> dict[str, str]:
    """Return the settings of a process whose host's clock is so far ahead."""
    return {"FAULTS_CLOCK_AHEAD_SECONDS": str(seconds), "PYTHONPATH": path_from(SKEWED)}


def path_from(first: Path) -> str:
    return os.pathsep.join(map(str, (first, ROOT, ROOT / "api", ROOT / "worker")))


def _last_line(process: Process) -> str:
    return "".join(process.output().strip().splitlines()[-1:])


def _is_bug(line: str) -> bool:
    """An outage is told in a line; a traceback is what nobody had expected."""
    return any(word in line for word in ("Traceback (most recent call last)", "background.bug", "hub.bug"))
