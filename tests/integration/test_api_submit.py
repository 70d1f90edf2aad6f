"""Submitting: what is accepted, what is refused, and what a repeated submission gets."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from milepost_api.catalogue import HURRY_SECONDS
from milepost_api.lookup import Found
from redis.asyncio import Redis

from milepost.log import TaskInfo
from tests.support.api import COUNT, Api, Hand, announce, paths, serving, settings
from tests.support.redis import RedisServer
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio


async def test_an_accepted_job_is_committed_and_says_where_to_go(api: Api) -> None:
    """202 means that the row is there, with addresses that work."""
    answer = await api.http.post(
        "/v1/jobs", json={"task": "demo.count", "params": {"steps": 3}, "tags": ["a"]}
    )
    job = answer.json()

    assert answer.status_code == 202
    assert answer.headers["location"] == job["urls"]["self"] == f"/v1/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    record = await api.services.store.get(job["id"])
    assert record is not None
    assert (record.task, record.params, record.tags) == ("demo.count", '{"steps":3}', ["a"])
    for name in ("self", "status", "events"):
        assert (await api.http.get(job["urls"][name])).status_code == 200


async def test_what_is_left_out_comes_from_the_task(api: Api) -> None:
    """Queue, timeouts and attempts are the task's own unless the submission says otherwise."""
    options = {"max_attempts": 7, "queue": "big", "timeout_seconds": 5, "start_timeout_seconds": 60}
    plain, own = await api.submit(), await api.submit(**options)

    record = await api.services.store.get(plain["id"])
    assert record is not None
    assert (plain["queue"], plain["max_attempts"], record.timeout_seconds) == ("default", 2, 60)
    assert record.start_by == record.created_at + timedelta(hours=1)
    record = await api.services.store.get(own["id"])
    assert record is not None
    assert (own["queue"], own["max_attempts"], record.timeout_seconds) == ("big", 7, 5)
    assert record.start_by == record.created_at + timedelta(minutes=1)


async def test_a_delayed_job_is_scheduled(api: Api) -> None:
    """A delay shows as status scheduled with the moment, in the answer and in the log."""
    job = await api.submit(delay_seconds=3600)
    live = await api.get(f"/v1/jobs/{job['id']}")

    assert job["status"] == live["status"] == "scheduled"
    assert live["run_at"] == job["run_at"]


async def test_a_moment_in_the_past_means_now(api: Api) -> None:
    """A job that should have begun already is simply due."""
    job = await api.submit(run_at=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    assert job["status"] == "queued"


async def test_an_unknown_task_names_the_nearest(api: Api) -> None:
    """A slip of the pen is answered with the name that was meant."""
    answer = await api.http.post("/v1/jobs", json={"task": "demo.cuont"})

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:milepost:problem:unknown-task"
    assert "'demo.count'" in answer.json()["detail"]
    assert answer.json()["known_tasks"] == ["demo.count"]


async def test_a_task_that_was_announced_a_moment_ago_is_known(api: Api, redis: Redis) -> None:
    """A cached catalogue does not lock out the worker that has just started."""
    await api.submit()
    await asyncio.sleep(0)
    await announce(redis, COUNT, TaskInfo(name="fresh"))

    async def accepted() -> bool:
        return (await api.http.post("/v1/jobs", json={"task": "fresh"})).status_code == 202

    await eventually(accepted, "the new task is known", deadline=5)


async def test_params_that_do_not_fit_are_listed_with_their_paths(api: Api) -> None:
    """Every error is told at once, each with its JSON path; nothing is accepted."""
    answer = await api.http.post(
        "/v1/jobs", json={"task": "demo.count", "params": {"note": 5, "colour": "red"}}
    )

    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:milepost:problem:invalid-params"
    assert set(paths(answer.json())) == {"$.params.steps", "$.params.note", "$.params.colour"}
    assert (await api.get("/v1/jobs"))["items"] == []


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("priority", 11, "$.priority"),
        ("priority", "1", "$.priority"),
        ("max_attempts", 0, "$.max_attempts"),
        ("timeout_seconds", 0, "$.timeout_seconds"),
        ("delay_seconds", -1, "$.delay_seconds"),
        ("run_at", "2026-01-01T00:00:00", "$.run_at"),
        ("run_at", "9000-01-01T00:00:00Z", "$.run_at"),
        ("queue", "a b", "$.queue"),
        ("tags", ["ok", ""], "$.tags[1]"),
        ("tags", ["a\u0000b"], "$.tags[0]"),
        ("metadata", [], "$.metadata"),
        ("unknown", 1, "$.unknown"),
    ],
)
async def test_a_field_that_is_wrong_is_named(api: Api, field: str, value: object, path: str) -> None:
    """Each wrong field is a 422 with its place, and never a 500."""
    body = {"task": "demo.count", "params": {"steps": 1}, field: value}
    answer = await api.http.post("/v1/jobs", json=body)

    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert paths(answer.json()) == [path]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
async def test_numbers_that_json_does_not_have_are_refused(api: Api, value: str) -> None:
    """Python reads NaN as JSON; no other reader of the job would."""
    body = f'{{"task":"demo.count","params":{{"steps":1,"note":{value}}}}}'
    answer = await api.http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 422
    assert paths(answer.json()) == ["$.params"]


async def test_params_that_nest_too_deep_are_refused(api: Api) -> None:
    """Depth breaks parsers further on; the limit is said, and the server lives."""
    for depth, codes in ((65, {422}), (100_000, {400, 422})):
        nested = "[" * depth + "]" * depth
        body = f'{{"task":"demo.count","params":{{"steps":1,"note":{nested}}}}}'
        answer = await api.http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
        assert answer.status_code in codes, answer.text[:200]


async def test_text_that_breaks_databases_is_kept(api: Api) -> None:
    """NUL and emoji arrive as they were sent; half a surrogate pair, which is no text, as U+FFFD."""
    params, metadata = r'{"steps":1,"note":"\u0000\ud800\ud83d\ude00"}', r'{"k":"\u0000\udfff"}'
    body = f'{{"task":"demo.count","params":{params},"metadata":{metadata}}}'
    answer = await api.http.post("/v1/jobs", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 202, answer.text
    claim = await Hand(api.services.log).begin(answer.json()["id"])
    assert claim.params["note"] == "\x00\ufffd\U0001f600"
    assert (await api.get(f"/v1/jobs/{claim.job_id}"))["metadata"] == {"k": "\x00\ufffd"}


async def test_the_same_key_and_body_get_the_same_job(api: Api) -> None:
    """A repeated submission is answered with the job of the first, however its JSON is written."""
    key = {"idempotency-key": "order-17"}
    first = await api.http.post(
        "/v1/jobs", json={"task": "demo.count", "params": {"steps": 1, "note": "x"}}, headers=key
    )
    second = await api.http.post(
        "/v1/jobs", json={"params": {"note": "x", "steps": 1}, "task": "demo.count", "tags": []}, headers=key
    )

    assert second.status_code == first.status_code == 202
    assert second.json()["id"] == first.json()["id"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len((await api.get("/v1/jobs"))["items"]) == 1


async def test_the_same_key_with_another_body_is_refused(api: Api) -> None:
    """A key that is used for something else is a mistake of the client, and said to be one."""
    key = {"idempotency-key": "order-18"}
    await api.http.post("/v1/jobs", json={"task": "demo.count", "params": {"steps": 1}}, headers=key)
    other = await api.http.post("/v1/jobs", json={"task": "demo.count", "params": {"steps": 2}}, headers=key)

    assert other.status_code == 422
    assert other.json()["type"] == "urn:milepost:problem:idempotency-mismatch"


async def test_parallel_submissions_under_one_key_make_one_job(api: Api) -> None:
    """The unique constraint decides, not a look before: forty at once are one job."""
    body = {"task": "demo.count", "params": {"steps": 1}}
    answers = await asyncio.gather(
        *(api.http.post("/v1/jobs", json=body, headers={"idempotency-key": "k"}) for _ in range(40))
    )

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len((await api.get("/v1/jobs"))["items"]) == 1


async def test_a_key_replays_even_when_its_task_is_gone(api: Api, redis: Redis) -> None:
    """The first answer holds, whatever has become of the workers since."""
    body, key = {"task": "demo.count", "params": {"steps": 1}}, {"idempotency-key": "k"}
    first = await api.http.post("/v1/jobs", json=body, headers=key)
    await redis.delete("mp:tasks")
    assert (await api.http.post("/v1/jobs", json=body, headers=key)).json()["id"] == first.json()["id"]


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "é"])
async def test_a_key_that_no_record_can_hold_is_refused(api: Api, key: str) -> None:
    """Keys are plain, printable and at most 255 characters."""
    answer = await api.http.post(
        "/v1/jobs",
        json={"task": "demo.count", "params": {"steps": 1}},
        headers=[(b"idempotency-key", key.encode("latin-1"))],
    )
    assert answer.status_code == 422


async def test_two_hundred_parallel_submissions_are_all_accepted_once(api: Api) -> None:
    """Writers of SQLite stand in line; none is turned away."""
    jobs = await asyncio.gather(*(api.submit() for _ in range(200)))

    assert len({job["id"] for job in jobs}) == 200
    positions = await api.services.log.positions([job["id"] for job in jobs])
    assert None not in positions


async def test_prefer_wait_answers_200_with_the_result_when_done_in_time(api: Api) -> None:
    """A quick job needs no second request."""
    hand = Hand(api.services.log)

    async def work() -> None:
        async def first() -> str:
            items = (await api.get("/v1/jobs"))["items"]
            return items[0]["id"] if items else ""

        await hand.run(await eventually(first, "a job is there"))

    working = asyncio.create_task(work())
    answer = await api.http.post(
        "/v1/jobs", json={"task": "demo.count", "params": {"steps": 3}}, headers={"prefer": "wait=30"}
    )
    await working

    assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (200, "succeeded", 3)
    assert answer.headers["preference-applied"] == "wait=30"


async def test_prefer_wait_answers_202_when_it_takes_longer(api: Api) -> None:
    """Not done in time is not an error: the job goes on."""
    answer = await api.http.post(
        "/v1/jobs", json={"task": "demo.count", "params": {"steps": 3}}, headers={"prefer": "wait=0"}
    )
    assert answer.status_code == 202


def lookups(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the ids that are looked up from now on."""
    ids, find = [], api.services.lookup.find

    async def counted(job_id: str, tenant: str) -> Found:
        ids.append(job_id)
        return await find(job_id, tenant)

    monkeypatch.setattr(api.services.lookup, "find", counted)
    return ids


async def test_who_waits_for_a_job_is_told_202_when_the_process_leaves(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and without asking Redis over and over: it is accepted, wherever it is asked for next."""
    body, asked = {"task": "demo.count", "params": {"steps": 3}}, lookups(api, monkeypatch)
    waits = asyncio.create_task(api.http.post("/v1/jobs", json=body, headers={"prefer": "wait=60"}))
    await eventually(lambda: api.services.hub.streams == 1, "it waits")
    api.services.hub.drain()
    answer = await waits
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    assert answer.headers["location"].endswith(answer.json()["id"])
    assert len(asked) == 2


async def test_who_waits_for_a_job_costs_nothing_while_it_reports(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the end is waited for, however much is said before."""
    body, hand = {"task": "demo.count", "params": {"steps": 3}}, Hand(api.services.log)
    asked = lookups(api, monkeypatch)
    waits = asyncio.create_task(api.http.post("/v1/jobs", json=body, headers={"prefer": "wait=60"}))
    await eventually(lambda: api.services.hub.streams == 1, "it waits")
    await hand.begin((await api.get("/v1/jobs"))["items"][0]["id"])
    for number in range(50):
        await hand.say("info", str(number))
    await hand.succeed()
    assert (await waits).json()["status"] == "succeeded"
    assert len(asked) == 2


async def test_a_job_is_accepted_while_redis_is_away(api: Api, redis_server: RedisServer) -> None:
    """What is committed is accepted; the dispatcher brings it to Redis when that is back, unasked."""
    await api.submit()  # so that the catalogue is known
    redis_server.stop()

    job = await api.submit()
    redis_server.start()

    async def there() -> bool:
        return (await api.services.log.positions([job["id"]]))[0] is not None

    await eventually(there, "the dispatcher has brought the job", ignoring=(OSError, Exception))


async def test_who_wants_to_wait_hears_202_when_redis_is_away(api: Api, redis_server: RedisServer) -> None:
    """It is committed, whoever waits for it: after a 503 a client without a key would submit it twice."""
    await api.submit()  # so that the catalogue is known
    redis_server.stop()
    body = {"task": "demo.count", "params": {"steps": 3}}
    answer = await api.http.post("/v1/jobs", json=body, headers={"prefer": "wait=1"})

    assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text
    assert answer.headers["location"].endswith(answer.json()["id"])


async def test_a_job_is_accepted_while_redis_is_frozen(
    tmp_path: Path, redis_server: RedisServer, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers nobody: what workers announced before is what params are checked against."""
    await announce(redis)
    async with serving(settings(tmp_path, redis_server.url, redis_answer_seconds=0.3)) as api:
        await api.submit()
        monkeypatch.setattr(api.services.offers._kept, "_asked_at", float("-inf"))  # long ago
        redis_server.pause()
        try:
            answer = await api.http.post("/v1/jobs", json={"task": "demo.count", "params": {"steps": 3}})
        finally:
            redis_server.resume()
    assert (answer.status_code, answer.json()["status"]) == (202, "queued"), answer.text


async def test_params_that_fit_the_task_of_a_deploy_are_accepted_at_once(
    api: Api, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept of the tasks may be of before it: nothing is refused by that. Wrong params are refused by both."""
    await api.submit()
    kept = api.services.offers._kept
    strict = {"type": "object", "properties": {"steps": {"type": "string"}}}
    await announce(redis, TaskInfo(name=COUNT.name, params_schema=strict))
    monkeypatch.setattr(kept, "_asked_at", kept._clock() - HURRY_SECONDS)  # fresh, and not of this moment
    refused = await api.http.post("/v1/jobs", json={"task": COUNT.name, "params": {"steps": []}})
    assert (refused.status_code, refused.json()["type"]) == (422, "urn:milepost:problem:invalid-params")
    job = await api.http.post("/v1/jobs", json={"task": COUNT.name, "params": {"steps": "three"}})
    assert job.status_code == 202, job.text


async def test_an_api_that_knows_no_tasks_says_503_while_redis_is_away(
    api: Api, redis_server: RedisServer
) -> None:
    """Without any catalogue params cannot be checked: come back later, rather than accept anything."""
    redis_server.stop()
    answer = await api.http.post("/v1/jobs", json={"task": "demo.count"})

    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:milepost:problem:unavailable"
    assert int(answer.headers["retry-after"]) >= 1
