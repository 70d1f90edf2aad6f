"""Looking at jobs, waiting for them, cancelling them, and what came of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import text

from milepost.events import INLINE_RESULT_BYTES
from milepost.job import ErrorCode, JobError
from milepost.log import Load, WorkerInfo
from milepost.log.keys import result_key
from tests.support.api import COUNT, Api, Hand, announce, serving, settings
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
BOOM = JobError(
    code=ErrorCode.EXCEPTION, message="Boom.", type="ValueError", attempt=1, traceback="secret path"
)


async def recorded(api: Api, job_id: str) -> None:
    async def done() -> bool:
        record = await api.services.store.get(job_id)
        return record is not None and record.done

    await eventually(done, "the end is recorded")


async def test_a_job_is_read_live_and_from_its_record_afterwards(api: Api, hand: Hand, redis: Redis) -> None:
    """What GET says does not change when Redis forgets a finished job, its version included."""
    job = await api.submit(tags=["a"], metadata={"k": [1]})
    await hand.run(job["id"], '{"rows":3}')
    live = await api.http.get(f"/v1/jobs/{job['id']}")
    await recorded(api, job["id"])
    await redis.flushall()
    kept = await api.http.get(f"/v1/jobs/{job['id']}")

    ours = {"heartbeat_at"}  # only a live job has one
    assert {k: v for k, v in live.json().items() if k not in ours} == {
        k: v for k, v in kept.json().items() if k not in ours
    }
    assert live.headers["etag"] == kept.headers["etag"]
    assert kept.json()["result"] == {"rows": 3}


async def test_a_finished_job_is_read_while_redis_is_away(
    api: Api, hand: Hand, redis_server: RedisServer
) -> None:
    """What has ended stays as it is, so the record may speak; a job that lives may not be guessed."""
    ended, living = await api.submit(), await api.submit()
    await hand.run(ended["id"])
    await recorded(api, ended["id"])
    redis_server.stop()

    assert (await api.get(f"/v1/jobs/{ended['id']}"))["result"] == 3
    assert await api.get(f"/v1/jobs/{ended['id']}/result") == 3
    away = await api.http.get(f"/v1/jobs/{living['id']}")
    assert (away.status_code, away.headers["retry-after"]) == (503, "2")


async def test_a_redis_that_hangs_is_not_waited_for(
    tmp_path: Path, redis_server: RedisServer, redis: Redis
) -> None:
    """Connections that stay open and say nothing cost a few seconds, then 503."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, redis_answer_seconds=0.3)) as api:
        job = await api.submit()
        redis_server.pause()
        try:
            answer = await api.http.get(f"/v1/jobs/{job['id']}", timeout=8)
            ready = await api.http.get("/readyz", timeout=8)
        finally:
            redis_server.resume()
    assert answer.status_code == ready.status_code == 503
    assert ready.json()["parts"]["database"] == "ok" != ready.json()["parts"]["redis"]


async def test_an_unchanged_job_is_not_sent_again(api: Api, hand: Hand) -> None:
    """The ETag is the version: 304 until something happens."""
    job = await api.submit()
    first = await api.http.get(job["urls"]["self"])
    same = await api.http.get(job["urls"]["self"], headers={"if-none-match": f'"x", {first.headers["etag"]}'})
    await hand.begin(job["id"])
    other = await api.http.get(job["urls"]["self"], headers={"if-none-match": first.headers["etag"]})

    assert (same.status_code, same.content) == (304, b"")
    assert (other.status_code, other.json()["status"]) == (200, "running")
    assert other.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("job_id", ["0", "0" * 64, "0" * 65, "a b", "%00", "..", "é", "x" * 5000])
@pytest.mark.parametrize("suffix", ["", "/status", "/result", "/events"])
async def test_a_job_that_is_not_there_is_404(api: Api, job_id: str, suffix: str) -> None:
    """Whatever stands where an id should: not found, as a problem."""
    answer = await api.http.get(f"/v1/jobs/{job_id}{suffix}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


async def test_cancel_says_what_it_did(api: Api, hand: Hand) -> None:
    """A waiting job ends at once, a running one is asked, a finished one stays."""
    waiting, running, done = await api.submit(), await api.submit(), await api.submit()
    await hand.run(done["id"])
    await hand.begin(running["id"])

    async def cancel(job: dict[str, Any]) -> object:
        return (await api.http.post(job["urls"]["cancel"])).json()["outcome"]

    assert await cancel(waiting) == "cancelled"
    assert await cancel(running) == "requested"
    assert await cancel(done) == "already_done"
    assert (await api.get(waiting["urls"]["self"]))["status"] == "cancelled"
    assert (await api.http.post("/v1/jobs/unknown/cancel")).status_code == 404


async def test_cancel_works_before_the_job_has_reached_redis(api: Api, redis: Redis) -> None:
    """Accepted means that it can be cancelled, whatever the log has of it; and its history has its end."""
    job = await api.submit()
    await redis.delete(f"mp:{{{job['id']}}}:state", f"mp:{{{job['id']}}}:events")

    answer = await api.http.post(job["urls"]["cancel"])

    assert answer.json() == {"id": job["id"], "outcome": "cancelled"}
    assert [event["type"] for event in (await api.get(job["urls"]["events"]))["items"]] == ["status", "end"]


async def test_cancel_of_a_job_that_only_the_record_knows_is_already_done(
    api: Api, hand: Hand, redis: Redis
) -> None:
    """A finished job is not brought back to life by a late cancel."""
    job = await api.submit()
    await hand.run(job["id"])
    await recorded(api, job["id"])
    await redis.flushall()

    assert (await api.http.post(job["urls"]["cancel"])).json()["outcome"] == "already_done"


async def test_results_of_any_size_come_whole(api: Api, hand: Hand, redis: Redis) -> None:
    """A large result is left out of the job, and fetched by its address, from the log and from the record."""
    job = await api.submit()
    large = '"' + "x" * (INLINE_RESULT_BYTES + 1) + '"'
    await hand.run(job["id"], large)

    assert (await api.get(job["urls"]["self"]))["result_omitted"] is True
    assert (await api.http.get(job["urls"]["result"])).text == large
    await recorded(api, job["id"])
    await redis.flushall()
    assert (await api.get(job["urls"]["self"]))["result_omitted"] is True
    assert (await api.http.get(job["urls"]["result"])).text == large


async def test_a_result_that_is_not_there_says_why(api: Api, hand: Hand, redis: Redis) -> None:
    """Not yet, never, and no longer are three different answers."""
    waiting, failed, lost = await api.submit(), await api.submit(), await api.submit()
    await hand.begin(failed["id"])
    await hand.fail(BOOM)
    await hand.run(lost["id"])
    await redis.execute_command("HDEL", f"mp:{{{lost['id']}}}:state", "result")
    await recorded(api, lost["id"])
    record = await api.services.store.get(lost["id"])
    assert record is not None
    if record.result is not None:  # the recorder may have been faster than the test's theft
        async with api.services.engines.writer.begin() as connection:
            await connection.execute(text("UPDATE jobs SET result = NULL WHERE id = :id"), {"id": lost["id"]})

    not_ready = await api.http.get(waiting["urls"]["result"])
    never = await api.http.get(failed["urls"]["result"])
    gone = await api.http.get(lost["urls"]["result"])

    assert (not_ready.status_code, not_ready.json()["type"]) == (409, "urn:milepost:problem:not-ready")
    assert "retry-after" in not_ready.headers
    assert (never.status_code, never.json()["type"]) == (409, "urn:milepost:problem:no-result")
    assert never.json()["error"]["message"] == "Boom."
    assert (gone.status_code, gone.json()["type"]) == (410, "urn:milepost:problem:expired")


async def test_a_large_result_that_redis_lost_is_not_told_as_null(api: Api, hand: Hand, redis: Redis) -> None:
    """It is read from the record; lost before it was recorded, every answer says that it was left out, and its address
    that it is gone.
    """
    kept, lost, null = [await api.submit() for _ in range(3)]
    large = '"' + "x" * (INLINE_RESULT_BYTES + 1) + '"'
    for job, result in ((kept, large), (lost, large), (null, "null")):
        await hand.run(job["id"], result)
        await recorded(api, job["id"])
        await redis.delete(result_key(job["id"]))
    async with api.services.engines.writer.begin() as connection:
        await connection.execute(text("UPDATE jobs SET result = NULL WHERE id = :id"), {"id": lost["id"]})

    async def told() -> list[tuple[bool, int]]:
        return [
            (
                (await api.get(job["urls"]["self"]))["result_omitted"],
                (await api.http.get(job["urls"]["result"])).status_code,
            )
            for job in (kept, lost, null)
        ]

    live = await told()
    assert (await api.http.get(kept["urls"]["result"])).text == large
    await redis.flushall()
    assert live == await told() == [(True, 200), (True, 410), (False, 200)]
    stream = await api.http.get(lost["urls"]["stream"], headers={"accept": "application/x-ndjson"})
    end = json.loads(stream.text.splitlines()[-1])
    assert (end["type"], end["status"], end["result_omitted"]) == ("end", "succeeded", True)


async def test_a_traceback_is_kept_and_shown_to_no_client(api: Api, hand: Hand) -> None:
    """Operators find it in the records; no answer of the API holds it."""
    job = await api.submit()
    await hand.begin(job["id"])
    await hand.fail(BOOM)
    await recorded(api, job["id"])

    record = await api.services.store.get(job["id"])
    assert record is not None
    assert record.traceback == "secret path"
    for address in ("self", "status", "events", "result", "stream"):
        assert "secret path" not in (await api.http.get(job["urls"][address])).text


async def test_events_come_in_pages_that_join_without_a_hole(api: Api, hand: Hand) -> None:
    """Following `next` reads every event once, in order, down to the end."""
    job = await api.submit()
    await hand.begin(job["id"])
    for number in range(7):
        await hand.say("info", str(number))
    await hand.succeed()

    seen, after, more = [], None, True
    while more:
        params = {"limit": 3} if after is None else {"limit": 3, "after": after}
        page = await api.get(job["urls"]["events"], **params)
        seen += page["items"]
        after, more = page["next"], page["more"]

    assert [event["seq"] for event in seen] == list(range(1, 11))
    assert seen[-1]["type"] == "end"
    assert (await api.get(job["urls"]["events"], after=after))["items"] == []


async def test_a_cursor_that_cannot_be_served_gets_a_snapshot(api: Api, hand: Hand) -> None:
    """A cursor of another history or of the future is answered with where the job stands, and why."""
    job = await api.submit()
    here = (await api.get(job["urls"]["status"]))["cursor"]

    for after, reason in (("zzzzzzzz-1", "epoch"), (f"{here.split('-')[0]}-99", "ahead")):
        page = await api.get(job["urls"]["events"], after=after)
        assert (page["gap"], page["next"]) == (reason, here)
        assert page["items"][0]["type"] == "snapshot"
    assert (await api.http.get(job["urls"]["events"], params={"after": "x" * 5000})).status_code == 422


async def test_history_that_is_no_longer_kept_is_410(api: Api, hand: Hand, redis: Redis) -> None:
    """The outcome outlives the history, and the answer says so."""
    job = await api.submit()
    await hand.run(job["id"])
    await recorded(api, job["id"])
    await redis.flushall()
    assert (await api.http.get(job["urls"]["events"])).status_code == 410


async def test_a_long_poll_answers_when_the_job_moves(api: Api, hand: Hand) -> None:
    """The answer comes with the change, not with the end of the wait."""
    job = await api.submit()
    before = await api.get(job["urls"]["status"])
    polling = asyncio.create_task(api.get(job["urls"]["status"], wait=60, after=before["cursor"]))
    await eventually(lambda: api.services.hub.streams == 1, "the poll waits at the hub")
    await hand.begin(job["id"])
    after = await asyncio.wait_for(polling, 20)

    assert (before["status"], after["status"]) == ("queued", "running")
    assert api.services.hub.streams == 0


async def test_a_long_poll_answers_at_once_when_there_is_news_or_an_end(api: Api, hand: Hand) -> None:
    """Behind, from another history, or finished: nothing to wait for."""
    job = await api.submit()
    old = (await api.get(job["urls"]["status"]))["cursor"]
    await hand.run(job["id"])

    async with asyncio.timeout(20):
        assert (await api.get(job["urls"]["status"], wait=60, after=old))["done"]
        assert (await api.get(job["urls"]["status"], wait=60, after="zzzzzzzz-9"))["done"]
        last = await api.get(job["urls"]["status"], wait=60)
        assert (await api.get(job["urls"]["status"], wait=60, after=last["cursor"])) == last


async def test_a_long_poll_without_news_ends_with_its_time(api: Api) -> None:
    """Nothing happened is an answer too: the same state, and when to ask again."""
    job = await api.submit()
    first = await api.get(job["urls"]["status"])
    assert await api.get(job["urls"]["status"], wait=0.2, after=first["cursor"]) == first


@pytest.mark.parametrize("query", ["wait=-1", "wait=nan", "wait=x", "after=", "after=a:1", "wait=inf"])
async def test_a_poll_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    """Wrong values are said to be wrong, at once."""
    job = await api.submit()
    assert (await api.http.get(f"{job['urls']['status']}?{query}")).status_code == 422


async def test_jobs_are_listed_newest_first_in_pages(api: Api) -> None:
    """Pages join without hole or double, in both orders, also while jobs are added."""
    jobs = [(await api.submit())["id"] for _ in range(5)]

    first = await api.get("/v1/jobs", limit=2)
    await api.submit()
    second = await api.get("/v1/jobs", limit=2, cursor=first["next_cursor"])
    third = await api.get("/v1/jobs", limit=2, cursor=second["next_cursor"])
    oldest = await api.get("/v1/jobs", limit=100, order="oldest")

    listed = [job["id"] for page in (first, second, third) for job in page["items"]]
    assert listed == jobs[::-1]
    assert third["next_cursor"] is None
    assert [job["id"] for job in oldest["items"]][:5] == jobs


async def test_jobs_are_found_by_what_they_are(api: Api, hand: Hand) -> None:
    """Each filter alone, and several together; wildcards of SQL are plain text."""
    one = await api.submit(tags=["user:1", "100%"], metadata={"city": "Zürich"}, queue="big")
    two = await api.submit(tags=["user:10"])
    await hand.run(two["id"])
    await recorded(api, two["id"])

    async def found(**filters: Any) -> list[str]:
        return [job["id"] for job in (await api.get("/v1/jobs", **filters))["items"]]

    assert await found(tag="user:1") == [one["id"]]
    assert await found(queue="big") == [one["id"]]
    assert await found(status="succeeded") == [two["id"]]
    assert await found(status=["queued", "succeeded"]) == [two["id"], one["id"]]
    assert await found(task=COUNT.name, tag="user:10") == [two["id"]]
    assert await found(q="zÜRich") == [one["id"]]
    assert await found(q="00%") == [one["id"]]
    assert await found(q="10%") == await found(q="1_0") == []
    assert await found(q=two["id"]) == [two["id"]]
    assert await found(created_after=two["created_at"]) == [two["id"]]
    assert await found(created_before=one["created_at"]) == []


async def test_a_list_shows_live_jobs_as_they_are_now(api: Api, hand: Hand) -> None:
    """A list does not show a job as queued that runs already."""
    job = await api.submit()
    await hand.begin(job["id"])
    assert (await api.get("/v1/jobs"))["items"][0]["status"] == "running"
    assert (await api.get("/v1/jobs", status="queued"))["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "status=nope",
        "limit=0",
        "limit=x",
        "cursor=a%20b",
        "cursor=00",
        "cursor=ffffffffffffffff",
        "cursor=019c2f00-0000-7000-8000-000000000000",
        "q=",
        "q=ab",
        "batch=",
        "tag=%00",
        "created_after=yesterday",
        "order=up",
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(api: Api, query: str) -> None:
    """A wrong filter is named; it is not ignored."""
    answer = await api.http.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"].startswith(query.split("=", maxsplit=1)[0])


async def test_the_catalogue_says_who_offers_what(api: Api, redis: Redis) -> None:
    """Tasks come with their schemas and the number of workers that are there for them."""
    await announce(redis, worker="w2")
    [task] = (await api.get("/v1/tasks"))["items"]
    workers = (await api.get("/v1/workers"))["items"]

    assert (task["name"], task["workers"], task["params_schema"]) == (COUNT.name, 2, COUNT.params_schema)
    assert [worker["id"] for worker in workers] == ["w1", "w2"]
    assert workers[0].keys() == {field.name for field in fields(WorkerInfo)}
    assert workers[0]["load"].keys() == {field.name for field in fields(Load)}
