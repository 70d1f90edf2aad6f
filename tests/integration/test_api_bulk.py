"""The same for many jobs: by filter, in portions, with a dry run; on both databases."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from milepost.job import JobError, Status
from milepost.log import TaskInfo
from tests.support.api import COUNT, Api, Hand, announce
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio
BOOM = JobError(code="exception", message="Boom.")
THEIRS = {"Authorization": "Bearer theirs"}


@pytest.fixture
def api(api_of_two: Api) -> Api:
    return api_of_two


async def submitted(api: Api, count: int, **fields: Any) -> list[str]:
    return [job["id"] for job in await asyncio.gather(*(api.submit(**fields) for _ in range(count)))]


async def ended(api: Api, hand: Hand, count: int, status: Status = Status.FAILED, **fields: Any) -> list[str]:
    ids = await submitted(api, count, **fields)
    for job_id in ids:
        await hand.begin(job_id)
        await (hand.succeed() if status == Status.SUCCEEDED else hand.fail(BOOM))

    async def recorded() -> bool:
        return all([(record := await api.services.store.get(job_id)) and record.done for job_id in ids])

    await eventually(recorded, "the ends are recorded")
    return ids


async def bulk(api: Api, what: str, **query: Any) -> Any:
    headers = query.pop("headers", {})
    answer = await api.http.post(f"/v1/jobs/{what}", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def statuses(api: Api, *ids: str) -> list[str]:
    return [(await api.get(f"/v1/jobs/{job_id}"))["status"] for job_id in ids]


async def listed(api: Api, **query: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await api.get("/v1/jobs", **query))["items"]
    return items


async def test_a_dry_run_says_how_many_and_changes_nothing(api: Api, hand: Hand) -> None:
    """Of which status, too; what the action cannot touch does not count."""
    failed = await ended(api, hand, 3, tags=["x"])
    waiting = await submitted(api, 2, tags=["x"])
    for what, by_status in (
        ("cancel", {"queued": 2}),
        ("retry", {"failed": 3}),
        ("delete", {"failed": 3}),
    ):
        outcome = await bulk(api, what, tag="x", dry_run=True)
        assert outcome == {
            "dry_run": True,
            "matched": sum(by_status.values()),
            "by_status": by_status,
            "changed": 0,
            "skipped": 0,
            "capped": [],
            "refusals": [],
            "next_cursor": None,
        }
    assert await statuses(api, *failed, *waiting) == ["failed"] * 3 + ["queued"] * 2
    assert len(await listed(api)) == 5


async def test_all_jobs_of_a_filter_are_cancelled(api: Api, hand: Hand) -> None:
    """Those that wait at once, those that run by their worker; nobody else's."""
    mine = await submitted(api, 4, tags=["x"])
    other = await submitted(api, 1, tags=["y"])
    theirs = (
        await api.http.post(
            "/v1/jobs", json={"task": COUNT.name, "params": {"steps": 1}, "tags": ["x"]}, headers=THEIRS
        )
    ).json()["id"]
    await hand.begin(mine[0])
    outcome = await bulk(api, "cancel", tag="x")

    assert (outcome["matched"], outcome["changed"], outcome["skipped"], outcome["next_cursor"]) == (
        4,
        4,
        0,
        None,
    )
    assert await statuses(api, *mine, *other) == ["running", "cancelled", "cancelled", "cancelled", "queued"]
    assert (await api.get(f"/v1/jobs/{mine[0]}"))["cancel_requested"]
    kept = await api.http.get(f"/v1/jobs/{theirs}", headers=THEIRS)
    assert kept.json()["status"] == "queued"


async def test_a_job_that_has_begun_since_does_not_wait(
    api: Api, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The records say `queued` a moment longer: who cancels what waits does not stop what runs."""
    [job] = await submitted(api, 1, tags=["x"])
    monkeypatch.setattr(api.services.store, "change", _for_ever)  # no recorder comes by
    await hand.begin(job)
    outcome = await bulk(api, "cancel", tag="x", status="queued")
    assert (outcome["changed"], outcome["skipped"]) == (0, 1)
    assert not (await api.get(f"/v1/jobs/{job}"))["cancel_requested"]


async def _for_ever(*_: Any) -> None:
    await asyncio.Event().wait()


async def test_more_than_one_request_does_is_gone_through_by_the_cursor(api: Api) -> None:
    """Each job is touched once, in as many requests as it takes; the last says that there is no more."""
    ids = await submitted(api, 25, tags=["x"])
    outcome = await bulk(api, "cancel", tag="x", limit=10)
    done = [outcome]
    while outcome["next_cursor"]:
        outcome = await bulk(api, "cancel", tag="x", limit=10, cursor=outcome["next_cursor"])
        done.append(outcome)
    assert [one["changed"] for one in done] == [10, 10, 5]
    assert set(await statuses(api, *ids)) == {"cancelled"}


async def test_jobs_are_done_again_once_however_often_it_is_asked(api: Api, hand: Hand) -> None:
    """A lost answer is no reason for a second run, and what the operation has made is not done again by it."""
    failed = await ended(api, hand, 7, tags=["x"])
    key = {"headers": {"idempotency-key": "after-the-fix"}}
    first = await bulk(api, "retry", tag="x", limit=5, **key)
    again = await bulk(api, "retry", tag="x", limit=5, **key)
    rest = await bulk(api, "retry", tag="x", cursor=again["next_cursor"], **key)
    assert [one["changed"] for one in (first, again, rest)] == [5, 5, 2]

    new = [job for job in await listed(api, tag="x") if job["retry_of"]]
    assert sorted(job["retry_of"] for job in new) == sorted(failed)
    for job in new:
        await hand.begin(job["id"])
        await hand.fail(BOOM)

    async def recorded() -> bool:
        return len(await listed(api, tag="x", status="failed")) == 14

    await eventually(recorded, "the new ones have failed as well")
    outcome = await bulk(api, "retry", tag="x", **key)
    assert (outcome["changed"], outcome["skipped"]) == (7, 7)
    assert len(await listed(api, tag="x")) == 14


async def test_what_has_succeeded_is_done_again_only_by_name(api: Api, hand: Hand) -> None:
    """Work that is done is not done twice because its tag was named."""
    await ended(api, hand, 1, tags=["x"])
    [good] = await ended(api, hand, 1, Status.SUCCEEDED, tags=["x"])
    assert (await bulk(api, "retry", tag="x"))["by_status"] == {"failed": 1}
    assert (await bulk(api, "retry", tag="x", status="succeeded"))["changed"] == 1
    assert [job["id"] for job in await listed(api, tag="x") if job["retry_of"] == good] != []


async def test_what_cannot_be_done_again_is_named(api: Api, hand: Hand, redis: Redis) -> None:
    """Its task is gone, say: the others are done again, and the answer tells of it."""
    await ended(api, hand, 2, tags=["x"])
    strict = TaskInfo(name=COUNT.name, params_schema={"properties": {"steps": {"type": "string"}}})
    await announce(redis, strict)

    async def refused() -> Any:
        outcome = await bulk(api, "retry", tag="x", headers={"idempotency-key": "k"})
        return outcome if outcome["refusals"] else None

    await api.services.offers._at_most(-1)  # what was announced now
    outcome = await eventually(refused, "the new schema is known")
    assert (outcome["changed"], outcome["skipped"]) == (0, 2)
    assert {one["type"] for one in outcome["refusals"]} == {"urn:milepost:problem:invalid-params"}


async def test_finished_jobs_of_a_filter_are_deleted(api: Api, hand: Hand) -> None:
    """Records and what Redis has of them; those that live stay."""
    failed = await ended(api, hand, 3, tags=["x"])
    [waiting] = await submitted(api, 1, tags=["x"])
    outcome = await bulk(api, "delete", tag="x")
    assert (outcome["matched"], outcome["changed"], outcome["by_status"]) == (3, 3, {"failed": 3})
    assert [job["id"] for job in await listed(api, tag="x")] == [waiting]
    for job_id in failed:
        assert (await api.http.get(f"/v1/jobs/{job_id}")).status_code == 404


async def test_all_jobs_have_to_be_meant(api: Api, hand: Hand) -> None:
    """A filter that was forgotten is no reason to delete everything."""
    await ended(api, hand, 1)
    queries: list[dict[str, Any]] = [{}, {"all": True, "tag": "x"}]
    for query in queries:
        for what in ("cancel", "retry", "delete"):
            answer = await api.http.post(f"/v1/jobs/{what}", params=query)
            assert answer.status_code == 422
            assert answer.json()["errors"][0]["path"] == "all"
    assert (await bulk(api, "delete", all=True))["changed"] == 1


async def test_a_bulk_request_that_is_wrong_is_refused(api: Api) -> None:
    """With the place and a sentence; nothing is done."""
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("delete", {"status": "running"}, "status"),
        ("cancel", {"status": "failed"}, "status"),
        ("cancel", {"tag": "x", "cursor": "nonsense"}, "cursor"),
        ("cancel", {"tag": "x", "limit": 0}, "limit"),
        ("cancel", {"status": "nonsense"}, "status[0]"),
    ]
    for what, query, path in cases:
        answer = await api.http.post(f"/v1/jobs/{what}", params=query)
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["path"] == path


async def test_redis_is_never_held_up(api: Api, redis: Redis) -> None:
    """Hundreds of jobs cancelled and deleted: no step takes it longer than 5 ms.

    A machine that stands still makes one slow now and then. What is slow by itself is slow in every round.
    """
    await redis.config_set("slowlog-log-slower-than", 5000)
    slow = await _slow_steps(api, redis, "once")
    for tag in ("again", "at last"):
        slow = slow and await _slow_steps(api, redis, tag)
    assert slow == []


async def _slow_steps(api: Api, redis: Redis, tag: str) -> list[object]:
    await submitted(api, 300, tags=[tag])
    await redis.slowlog_reset()
    await redis.config_resetstat()
    assert (await bulk(api, "cancel", tag=tag))["changed"] == 300

    async def recorded() -> bool:
        return bool((await bulk(api, "delete", tag=tag, dry_run=True))["matched"] == 300)

    await eventually(recorded, "the ends are recorded")
    assert (await bulk(api, "delete", tag=tag))["changed"] == 300
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] >= 600  # one for each of both
    return [entry for entry in await redis.slowlog_get() if b"EVALSHA" in entry["command"].upper()]
