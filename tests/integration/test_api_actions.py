"""Ids of the client's own, doing jobs again, and deleting them; on both databases."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from milepost_api.records import new_job
from redis.asyncio import Redis

from milepost.log import TaskInfo, many
from milepost.log.keys import LIFECYCLE
from tests.support.api import COUNT, Api, Hand, announce
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
BODY = {"task": "demo.count", "params": {"steps": 3}}


@pytest.fixture
def api(api_of_two: Api) -> Api:
    return api_of_two


THEIRS = {"Authorization": "Bearer theirs"}


async def recorded(api: Api, job_id: str) -> None:
    async def done() -> bool:
        record = await api.services.store.get(job_id)
        return record is not None and record.done

    await eventually(done, "the end is recorded")


async def finished(api: Api, hand: Hand, **fields: Any) -> dict[str, Any]:
    job = await api.submit(**fields)
    await hand.run(job["id"])
    await recorded(api, job["id"])
    return job


def problem(answer: Any) -> str:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return str(answer.json()["type"]).removeprefix("urn:milepost:problem:")


# --- PUT -----------------------------------------------------------------------------------------


async def test_a_job_gets_the_id_that_was_chosen(api: Api) -> None:
    """It is accepted as by POST, and the same body again, however it is written, is answered as a replay."""
    first = await api.http.put("/v1/jobs/order-17", json=BODY)
    again = await api.http.put(
        "/v1/jobs/order-17", json={"params": {"steps": 3}, "priority": 0, "task": "demo.count"}
    )

    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["id"] == again.json()["id"] == "order-17"
    assert first.headers["location"] == "/v1/jobs/order-17"
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (await api.get("/v1/jobs/order-17"))["status"] == "queued"


async def test_a_chosen_id_with_another_body_is_taken(api: Api) -> None:
    """So is the id of a job that POST has made: nobody sent this body for it."""
    await api.http.put("/v1/jobs/a", json=BODY)
    other = await api.http.put("/v1/jobs/a", json={**BODY, "tags": ["x"]})
    posted = await api.http.put(f"/v1/jobs/{(await api.submit())['id']}", json=BODY)

    for answer in (other, posted):
        assert (answer.status_code, problem(answer)) == (409, "id-taken")
        assert "another body" in answer.json()["detail"]


async def test_the_id_of_somebody_elses_job_is_taken_and_nothing_more_is_said(api: Api) -> None:
    """Not even that the same body came for it."""
    await api.http.put("/v1/jobs/a", json=BODY)
    answer = await api.http.put("/v1/jobs/a", json=BODY, headers=THEIRS)

    assert (answer.status_code, problem(answer)) == (409, "id-taken")
    assert answer.json()["detail"] == "This id is taken. Choose another one."
    assert answer.json().keys() == {"type", "title", "status", "detail"}


async def test_an_id_that_cannot_be_one_is_refused(api: Api) -> None:
    """By a 422 that says what an id is."""
    for job_id in ("x" * 65, "a.b", "a%20b", "%C3%A9", "cancel", "counts"):
        answer = await api.http.put(f"/v1/jobs/{job_id}", json=BODY)
        assert (answer.status_code, problem(answer)) == (422, "invalid-request")
        assert answer.json()["errors"][0]["in"] == "path"
        assert "letters, digits, _ and -" in answer.json()["detail"]


async def test_no_word_in_the_place_of_an_id_can_be_chosen(api: Api) -> None:
    """What another address has there would hide the job."""
    paths = (await api.get("/openapi.json"))["paths"]
    words = {path.split("/")[3] for path in paths if path.startswith("/v1/jobs/")} - {"{job_id}"}
    for word in words:
        assert (await api.http.put(f"/v1/jobs/{word}", json=BODY)).status_code == 422


async def test_a_hundred_parallel_puts_make_one_job(api: Api) -> None:
    """The primary key decides, not a look before."""

    async def put() -> Any:
        # A slow machine may have no connection to its database for the last of them in time: they come again.
        while (answer := await api.http.put("/v1/jobs/one", json=BODY)).status_code == 503:
            pass
        return answer

    answers = await asyncio.gather(*(put() for _ in range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) <= 1
    assert [job["id"] for job in (await api.get("/v1/jobs"))["items"]] == ["one"]


async def test_put_waits_as_post_does(api: Api, hand: Hand) -> None:
    """`Prefer: wait` answers 200 when the job is done, also to a replay."""
    await api.http.put("/v1/jobs/w", json=BODY)
    await hand.run("w")
    answer = await api.http.put("/v1/jobs/w", json=BODY, headers={"prefer": "wait=30"})

    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")
    assert answer.headers["idempotency-replayed"] == "true"


# --- retry ---------------------------------------------------------------------------------------


async def test_a_job_is_done_again_as_a_new_one(api: Api, hand: Hand) -> None:
    """All that was asked for is the same, the old one stays as it is, and each has one end."""
    asked = {
        "params": {"steps": 5, "note": "\x00é"},
        "queue": "big",
        "priority": 3,
        "tags": ["a", "b"],
        "metadata": {"k": [1]},
        "max_attempts": 7,
        "timeout_seconds": 9.5,
        "start_timeout_seconds": 60,
    }
    old = await api.submit(**asked)
    await hand.run(old["id"])
    answer = await api.http.post(f"/v1/jobs/{old['id']}/retry")
    new = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == new["urls"]["self"] == f"/v1/jobs/{new['id']}"
    assert new["retry_of"] == old["id"] != new["id"]
    same = ("task", "queue", "priority", "tags", "metadata", "max_attempts")
    assert {name: new[name] for name in same} == {name: old[name] for name in same}
    records = [await api.services.store.get(job["id"]) for job in (old, new)]
    limits = [
        (r.params, r.timeout_seconds, r.start_timeout_seconds, r.start_by - r.created_at)
        for r in records
        if r and r.start_by
    ]
    assert len(limits) == 2
    assert limits[0] == limits[1]

    assert (await api.get(f"/v1/jobs/{new['id']}"))["retry_of"] == old["id"]
    claim = await hand.begin(new["id"])
    await hand.succeed()
    assert claim.params == asked["params"]
    await recorded(api, new["id"])
    assert [await ends(api, job["id"]) for job in (old, new)] == [1, 1]


async def ends(api: Api, job_id: str) -> int:
    return [event["type"] for event in (await api.get(f"/v1/jobs/{job_id}/events"))["items"]].count("end")


async def test_only_what_has_ended_is_done_again(api: Api) -> None:
    """A job that lives is a 409 with its status, an unknown one a 404, and so is somebody else's."""
    job = await api.submit()
    answer = await api.http.post(f"/v1/jobs/{job['id']}/retry")

    assert (answer.status_code, problem(answer)) == (409, "not-ready")
    assert answer.json()["job_status"] == "queued"
    for headers, job_id in (({}, "never"), (THEIRS, job["id"])):
        answer = await api.http.post(f"/v1/jobs/{job_id}/retry", headers=headers)
        assert (answer.status_code, problem(answer)) == (404, "job-not-found")


async def test_a_lost_answer_does_not_retry_twice(api: Api, hand: Hand) -> None:
    """The same key answers with the new job of the first time, even when the old one is gone."""
    job, key = await finished(api, hand), {"idempotency-key": "k"}
    address = f"/v1/jobs/{job['id']}/retry"
    answers = await asyncio.gather(*(api.http.post(address, headers=key) for _ in range(20)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1

    assert (await api.http.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await api.http.post(address, headers=key)).json()["id"] == answers[0].json()["id"]
    other = await api.http.post("/v1/jobs", json=BODY, headers=key)
    assert (other.status_code, problem(other)) == (422, "idempotency-mismatch")


async def test_params_are_checked_against_the_schema_of_today(api: Api, hand: Hand, redis: Redis) -> None:
    """What was right when it was submitted may be wrong now; a task that is gone has to be allowed."""
    job = await finished(api, hand)
    address = f"/v1/jobs/{job['id']}/retry"
    strict = TaskInfo(name=COUNT.name, params_schema={"properties": {"steps": {"type": "string"}}})
    await announce(redis, strict)

    async def refused() -> bool:
        return (
            problem(answer) == "invalid-params"
            if (answer := await api.http.post(address)).is_error
            else False
        )

    await eventually(refused, "the new schema is known")
    await redis.delete("mp:tasks")

    async def unknown() -> bool:
        answer = await api.http.post(address)
        return answer.is_error and problem(answer) == "unknown-task"

    await eventually(unknown, "the task is known to be gone")
    assert (await api.http.post(address, json={"allow_unknown_task": True})).status_code == 202
    assert (await api.http.post(address, json={"colour": "red"})).status_code == 422


# --- delete --------------------------------------------------------------------------------------


async def test_a_deleted_job_is_gone_everywhere(api: Api, hand: Hand, redis: Redis) -> None:
    """Its addresses say 404, its tags find nothing, and its key and its id make a new job."""
    key = {"idempotency-key": "k"}
    answer = await api.http.post("/v1/jobs", json={**BODY, "tags": ["t"]}, headers=key)
    job = answer.json()
    await hand.run(job["id"], '"' + "x" * 20_000 + '"')
    await recorded(api, job["id"])
    deleted = await api.http.delete(f"/v1/jobs/{job['id']}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    for name in ("self", "status", "stream", "result", "events"):
        assert (await api.http.get(job["urls"][name])).status_code == 404, name
    for address in (job["urls"]["cancel"], job["urls"]["retry"]):
        assert (await api.http.post(address)).status_code == 404
    assert (await api.http.delete(job["urls"]["self"])).status_code == 404
    assert (await api.get("/v1/jobs", tag="t"))["items"] == []
    assert [name async for name in redis.scan_iter(match=f"*{job['id']}*")] == [
        f"mp:{{{job['id']}}}:forgotten".encode()
    ]
    fresh = await api.http.post("/v1/jobs", json={**BODY, "tags": ["t"]}, headers=key)
    assert "idempotency-replayed" not in fresh.headers
    assert fresh.json()["id"] != job["id"]
    assert (await api.http.put(job["urls"]["self"], json=BODY)).json()["status"] == "queued"


async def test_what_has_not_ended_is_not_deleted(api: Api, hand: Hand) -> None:
    """409 with a sentence that says what to do; somebody else's job is not there."""
    waiting, running = await api.submit(), await api.submit()
    await hand.begin(running["id"])
    for job, status in ((waiting, "queued"), (running, "running")):
        answer = await api.http.delete(f"/v1/jobs/{job['id']}")
        assert (answer.status_code, problem(answer)) == (409, "not-ready")
        assert answer.json()["job_status"] == status
        assert "Cancel it first" in answer.json()["detail"]
        assert (await api.http.delete(f"/v1/jobs/{job['id']}", headers=THEIRS)).status_code == 404
        assert (await api.http.get(f"/v1/jobs/{job['id']}")).status_code == 200


async def test_a_job_that_only_the_records_remember_is_deleted(api: Api, hand: Hand, redis: Redis) -> None:
    """Redis forgets a finished job by itself after a while."""
    job = await finished(api, hand)
    await redis.flushall()
    assert (await api.http.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await api.http.get(f"/v1/jobs/{job['id']}")).status_code == 404


async def test_nothing_is_deleted_while_redis_is_away(
    api: Api, hand: Hand, redis_server: RedisServer
) -> None:
    """Half deleted, it would be found again when Redis is back."""
    job = await finished(api, hand)
    redis_server.stop()
    answer = await api.http.delete(f"/v1/jobs/{job['id']}")
    assert (answer.status_code, problem(answer)) == (503, "unavailable")
    assert await api.services.store.get(job["id"]) is not None
    redis_server.start()


async def test_a_delete_that_was_cut_off_is_finished_by_the_next(api: Api, hand: Hand) -> None:
    """The record is gone and the log has the job: as a process leaves it that dies between the two."""
    job = await finished(api, hand)
    await api.services.store.delete([job["id"]], "default")
    assert (await api.http.delete(f"/v1/jobs/{job['id']}")).status_code == 204
    assert (await api.http.get(f"/v1/jobs/{job['id']}")).status_code == 404


async def test_an_id_can_be_given_again_after_a_delete_that_was_cut_off(api: Api, hand: Hand) -> None:
    """Nobody sees the earlier job in the place of the later one, which runs."""
    await api.http.put("/v1/jobs/one", json=BODY)
    await hand.run("one")
    await recorded(api, "one")
    await api.services.store.delete(["one"], "default")
    assert (await api.http.put("/v1/jobs/one", json=BODY)).status_code == 202
    assert (await api.get("/v1/jobs/one"))["status"] == "queued"
    await hand.run("one")
    assert (await api.get("/v1/jobs/one"))["status"] == "succeeded"


async def test_an_open_stream_of_a_deleted_job_ends(api: Api, hand: Hand) -> None:
    """Messages were lost, the end among them: it is found out and told, and whoever comes back gets 404."""
    job = await api.submit()
    async with api.http.stream(
        "GET", job["urls"]["stream"], headers={"accept": "application/x-ndjson"}
    ) as stream:
        lines = stream.aiter_lines()
        assert json.loads(await anext(lines))["type"] == "snapshot"
        api.services.hub._reader._heard = lambda _channel, _message: None
        await hand.run(job["id"])
        assert (await api.http.delete(job["urls"]["self"])).status_code == 204
        last = [json.loads(line) async for line in lines][-1]
    assert (last["type"], last["reason"]) == ("reconnect", "deleted")
    assert (await api.http.get(job["urls"]["stream"])).status_code == 404


async def test_a_late_dispatcher_brings_nothing_back(api: Api, hand: Hand) -> None:
    """It has read the record before the job ran, ended and was deleted."""
    job = await api.submit()
    record = await api.services.store.get(job["id"])
    assert record is not None
    await hand.run(job["id"])
    assert (await api.http.delete(job["urls"]["self"])).status_code == 204
    assert await api.services.log.create(new_job(record)) is None
    assert await many.statuses(api.services.redis, [job["id"]]) == [None]


async def test_events_of_a_deleted_job_are_not_those_of_the_next_with_its_id(
    api: Api, hand: Hand, redis: Redis
) -> None:
    """A recorder that was cut off after its commit hands the events on, and they are recorded again."""
    await api.http.put("/v1/jobs/one", json=BODY)
    kept: list[dict[Any, Any]] = []
    await hand.run("one")
    for _, fields in await redis.xrange(LIFECYCLE):
        kept.append(fields)
    await recorded(api, "one")
    if not any(
        b'"end"' in fields[b"e"] for fields in kept
    ):  # recorded before it could be kept: make one like it
        events = (await api.get("/v1/jobs/one/events"))["items"]
        record = await api.services.store.get("one")
        assert record is not None
        moment = new_job(record).created_at
        kept = [{b"e": json.dumps(event).encode(), b"c": moment.encode()} for event in events]
    assert (await api.http.delete("/v1/jobs/one")).status_code == 204
    assert (await api.http.put("/v1/jobs/one", json=BODY)).status_code == 202
    for fields in kept:
        await redis.xadd(LIFECYCLE, fields)

    async def all_taken() -> bool:
        return bool(await redis.xlen(LIFECYCLE) == 0)

    await eventually(all_taken, "all events are recorded")
    record = await api.services.store.get("one")
    assert record is not None
    assert (record.done, record.status) == (False, "queued")
    assert (await api.get("/v1/jobs/one"))["status"] == "queued"
