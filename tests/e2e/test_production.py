"""What docker-compose.yml runs, run by hand: an ordinary Redis, PostgreSQL, two APIs, two workers, keys."""

import asyncio
import signal
from collections import Counter

import pytest
from milepost_api.records.revisions import head

from tests.support.postgres import new_database
from tests.support.production import Production, healthy
from tests.support.redis import binaries
from tests.support.wait import eventually

pytestmark = [pytest.mark.postgres, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
async def production(tmp_path_factory, postgres_server):
    """All of it, on the Redis that `dev.py test` found on this machine; the last test here ends it."""
    servers, folder = binaries(), tmp_path_factory.mktemp("production")
    server = servers.get("ordinary", servers["embedded"])
    async with (
        new_database(postgres_server) as url,
        Production(folder, redis_server=server, database_url=url) as running,
    ):
        yield running


def kinds(events):
    return [event["type"] for event in events]


def without_holes(events):
    """Whether a reader saw everything from its snapshot on, once and in order."""
    seqs = [event["seq"] for event in events if event["type"] != "waiting"]
    return seqs == list(range(seqs[0], seqs[0] + len(seqs)))


async def test_a_job_submitted_at_one_api_is_followed_at_the_other(production):
    """Any API answers for any job: the stream, the job, its result, and in the end its row in SQL."""
    job = await production.submit(0, "demo.count", steps=20, delay_seconds=0.05)
    events = await production.follow(job["id"], api=1)

    assert kinds(events)[0] == "snapshot"
    assert kinds(events)[-1] == "end"
    assert without_holes(events)
    for http in production.http:
        seen = (await http.get(job["urls"]["self"])).json()
        assert (seen["status"], seen["result"]) == ("succeeded", 20)

    async def recorded():
        [row] = await production.rows("SELECT status, version, result FROM jobs WHERE id = $1", job["id"])
        return (row["status"], row["version"], row["result"]) == ("succeeded", events[-1]["seq"], "20")

    await eventually(recorded, "the end is in the database")


async def test_the_worker_reads_the_folder_that_is_mounted(production):
    """Out of the box there is a CSV file to profile, and nothing beside it to read."""
    job = await production.submit(0, "csv.profile", path="orders.csv")
    assert (await production.follow(job["id"]))[-1]["result"]["rows"] == 40
    job = await production.submit(0, "csv.profile", path="../pyproject.toml")
    end = (await production.follow(job["id"]))[-1]
    assert (end["status"], end["error"]["type"]) == ("failed", "PathRefused")


async def test_parallel_submissions_are_accepted_once_and_end_once(production):
    """200 jobs, each submitted to both APIs at the same moment under one key: 200 rows, 200 ends."""
    numbers = range(200)

    async def submit(api, number):
        await asyncio.sleep(0)
        return await production.submit(api, "demo.count", key=f"order-{number}", steps=2, delay_seconds=0.01)

    twins = await asyncio.gather(*(submit(api, number) for number in numbers for api in (0, 1)))
    ids = [job["id"] for job in twins]
    assert Counter(Counter(ids).values()) == {2: 200}
    assert all(ids[2 * number] == ids[2 * number + 1] for number in numbers)

    jobs = sorted(set(ids))
    streams = await asyncio.gather(*(production.follow(job, api=n % 2) for n, job in enumerate(jobs)))
    assert {kinds(events).count("end") for events in streams} == {1}
    assert {kinds(events)[-1] for events in streams} == {"end"}
    assert all(without_holes(events) for events in streams)
    assert {events[-1]["status"] for events in streams} == {"succeeded"}

    async def histories():
        replies = [await production.http[0].get(f"/v1/jobs/{job}/events?limit=500") for job in jobs]
        return [kinds(reply.json()["items"]).count("end") for reply in replies]

    assert await histories() == [1] * 200

    async def recorded():
        query = "SELECT status, done, attempt, count(*) FROM jobs WHERE id = ANY($1) GROUP BY 1, 2, 3"
        return [tuple(row) for row in await production.rows(query, jobs)] == [("succeeded", True, 1, 200)]

    await eventually(recorded, "all ends are in the database")


async def test_a_rolling_restart_loses_nothing(production):
    """While jobs run each API restarts and a worker leaves: readers see every event once, no attempt is lost."""
    ids = [
        (await production.submit(n % 2, "demo.count", steps=60, delay_seconds=0.1))["id"] for n in range(12)
    ]
    readers = [asyncio.create_task(production.follow(job, api=n % 2)) for n, job in enumerate(ids)]

    async def all_run():
        rows = [(await production.http[0].get(f"/v1/jobs/{job}/status")).json() for job in ids]
        return all(row["status"] == "running" for row in rows)

    await eventually(all_run, "all jobs run")
    for number in (0, 1):
        assert await production.restart_api(number) == 0
        during = await production.submit(1 - number, "demo.count", steps=1, delay_seconds=0)
        ids.append(during["id"])
        readers.append(asyncio.create_task(production.follow(during["id"], api=number)))
    leaving = production.workers[0]
    leaving.send(signal.SIGTERM)

    streams = await asyncio.gather(*readers)
    assert await asyncio.to_thread(leaving.wait) == 0
    assert all(without_holes(events) for events in streams)
    assert {kinds(events).count("end") for events in streams} == {1}
    assert {(events[-1]["status"], events[-1]["attempt"]) for events in streams} == {("succeeded", 1)}
    assert all("gap" not in kinds(events) for events in streams)

    async def recorded():
        query = "SELECT count(*) FROM jobs WHERE id = ANY($1) AND status = 'succeeded'"
        return (await production.rows(query, ids))[0]["count"] == len(ids)

    await eventually(recorded, "all ends are in the database")


async def test_the_migration_has_run_and_may_run_again(production):
    """It says what it did and where the database is; the second time there is nothing to do."""
    assert production.migration.startswith(f"The database was empty and is at revision {head()} now.")
    assert production.migrate() == f"The database is at revision {head()} already; nothing was done.\n"


async def test_the_health_checks_of_the_image_tell_the_living_from_the_dead(production):
    """The program that Docker runs in each container says whether the process of that container is well."""
    api = production.settings("api", MILEPOST_PORT=str(production.ports[0]))
    worker = production.settings("worker")
    assert healthy("api", api) == (True, "")
    assert healthy("worker", worker) == (True, "")

    for process in (production.apis[0], *production.workers):
        assert await asyncio.to_thread(process.stop) == 0
    well, why = healthy("api", api)
    assert (well, why.startswith("The API does not answer on port")) == (False, True)
    well, why = healthy("worker", worker)
    assert (well, why.startswith("No worker on")) == (False, True)

    await asyncio.to_thread(production.redis.stop)
    assert healthy("worker", worker) == (True, "")  # nobody can tell, and a restart would not help
