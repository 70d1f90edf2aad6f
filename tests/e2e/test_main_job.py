"""The main job, whole: a real tree, a real worker, real HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from milepost.background import end
from tests.support.proxy import TcpProxy
from tests.support.sse import open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually

FILES = 1200


@pytest.fixture
def tree(files_root: Path) -> Path:
    """Folders within folders, 1,200 files, some empty, some larger than a read."""
    top = files_root / "tree"
    for i in range(FILES):
        file = top / f"d{i % 7}" / f"e{i % 31}" / f"{i:05} \u00fc.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(hashlib.sha256(str(i).encode()).digest() * (i % 300))
    (top / "large").write_bytes(os.urandom(9_000_000))
    return top


def digest_of(tree: Path) -> str:
    """Return what the task's docstring says, by other means: sha256sum of `sha256sum` of the sorted paths."""
    paths = sorted(os.fsencode(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())
    lines = (
        hashlib.sha256((tree / os.fsdecode(path)).read_bytes()).hexdigest().encode() + b"  " + path + b"\n"
        for path in paths
    )
    return hashlib.sha256(b"".join(lines)).hexdigest()


def assert_dense(events: list[dict[str, Any]]) -> None:
    """The first is the snapshot, the last the end, and nothing is missing or told twice between."""
    assert events[0]["type"] == "snapshot"
    assert events[-1]["type"] == "end"
    seqs = [event["seq"] for event in events if "seq" in event]
    assert seqs == list(range(seqs[0], seqs[-1] + 1))
    assert len({event["cursor"].split("-")[0] for event in events if "seq" in event}) == 1


async def test_the_checksum_of_a_tree_is_followed_to_its_end(service: Stack, tree: Path) -> None:
    """Snapshot, ordered progress without a hole, the right digest, a clean end; then 204, or snapshot and end."""
    job = await service.submit("files.checksum", path="tree")
    assert job["urls"]["stream"] == f"/v1/jobs/{job['id']}/status/stream"
    async with open_stream(service.stream_url(job["id"])) as stream:
        events = await stream.rest()
    assert stream.ended_clean
    assert_dense(events)
    end = events[-1]
    assert (end["status"], end["progress"]["percent"]) == ("succeeded", 100)
    assert end["result"]["digest"] == digest_of(tree)
    assert (end["result"]["files"], end["result"]["kind"]) == (FILES + 1, "tree")
    percents = [e["progress"]["percent"] for e in events if e["type"] == "progress"]
    known = [percent for percent in percents if percent is not None]
    assert known == sorted(known)
    assert all(percent < 100 for percent in known)

    again = await service.http.get(service.stream_url(job["id"]), headers={"Last-Event-ID": end["cursor"]})
    assert (again.status_code, again.content) == (204, b"")
    async with open_stream(service.stream_url(job["id"])) as fresh:
        snapshot, last = await fresh.rest()
    assert fresh.ended_clean
    assert (snapshot["type"], snapshot["job"]["status"], last) == ("snapshot", "succeeded", end)
    async with open_stream(
        service.stream_url(job["id"]), headers={"Accept": "application/x-ndjson"}
    ) as ndjson:
        lines = [json.loads(line) async for line in ndjson.lines()]
    assert [line["type"] for line in lines] == ["snapshot", "end"]
    assert lines[-1] == end
    assert (await service.job(job["id"]))["result"]["digest"] == end["result"]["digest"]


async def test_a_job_that_is_streamed_live_is_dense_from_the_first_event(service: Stack) -> None:
    """A reader that is there before the worker begins sees queued, running, every report, the end."""
    job = (
        await service.http.post(
            "/v1/jobs",
            json={"task": "demo.count", "params": {"steps": 8, "delay_seconds": 0.12}, "delay_seconds": 1},
        )
    ).json()
    async with open_stream(service.stream_url(job["id"])) as stream:
        events = await stream.rest()
    assert_dense(events)
    assert events[0]["job"]["status"] == "scheduled"
    # The last step's progress may travel with the end.
    assert [e["progress"]["current"] for e in events if "progress" in e][:8] == list(range(8))
    assert (events[-1]["progress"]["current"], events[-1]["result"]) == (8, 8)


async def test_200_parallel_submissions_are_accepted_once_and_all_end(service: Stack) -> None:
    """SQLite and the embedded server: every one gets an id of its own, one record, and its end."""
    sent = {"task": "demo.count", "params": {"steps": 2, "delay_seconds": 0.01}, "tags": ["200"]}
    answers = await asyncio.gather(*(service.http.post("/v1/jobs", json=sent) for _ in range(200)))
    assert {answer.status_code for answer in answers} == {202}
    jobs = [answer.json() for answer in answers]
    assert len({job["id"] for job in jobs}) == 200

    async def follow(job_id: str) -> None:
        async with open_stream(service.stream_url(job_id), deadline=60) as stream:
            events = await stream.rest()
        assert_dense(events)
        assert events[-1]["status"] == "succeeded"

    await asyncio.gather(*(follow(job["id"]) for job in jobs))

    async def listed() -> bool:
        seen, more = [], {"tag": "200", "limit": "100"}
        while more:
            page = (await service.http.get("/v1/jobs", params=more)).json()
            seen += page["items"]
            more = page["next_cursor"] and more | {"cursor": page["next_cursor"]}
        assert len(seen) == 200
        return all(job["status"] == "succeeded" for job in seen)

    await eventually(listed, "every record says that its job has ended")


async def test_streams_cut_by_the_network_lose_nothing(service: Stack) -> None:
    """Two APIs behind proxies that cut every 100 ms, four jobs: together the pieces are 1..N, once, in order."""
    async with TcpProxy(service.urls[0]) as one, TcpProxy(service.urls[1]) as other:
        proxies = [one, other]
        jobs = [await service.submit("demo.count", steps=30, delay_seconds=0.1) for _ in range(4)]

        async def cut() -> None:
            while True:
                for (
                    proxy
                ) in proxies:  # something has passed: on a busy machine 100 ms can be too short for a byte
                    await eventually(partial(has_carried_more, proxy, proxy.reply_bytes), "something passes")
                    await asyncio.sleep(0.05)
                    proxy.drop_all()

        async def follow(job_id: str) -> tuple[list[int], int]:
            seqs: list[int] = []
            cursor, connections = None, 0
            while True:
                url = proxies[connections % 2].url + f"/v1/jobs/{job_id}/status/stream"
                connections += 1
                try:
                    async with open_stream(url, last_event_id=cursor) as stream:
                        async for event in stream.events():
                            if event["type"] == "snapshot":
                                assert cursor is None, "only a fresh reader gets one"
                            if "seq" in event:
                                seqs.append(event["seq"])
                                cursor = event["cursor"]
                            if event["type"] == "end":
                                return seqs, connections
                            assert event["type"] not in ("gap", "reconnect")
                except (OSError, asyncio.IncompleteReadError):
                    continue  # cut before the head

        cutting = asyncio.create_task(cut())
        async with asyncio.timeout(60):
            followed = await asyncio.gather(*(follow(job["id"]) for job in jobs))
        await end(cutting)
    for seqs, connections in followed:
        assert seqs == list(range(seqs[0], seqs[-1] + 1))
        assert connections > 5


async def test_a_stream_cut_by_a_proxy_at_a_sample_of_bytes(service: Stack) -> None:
    """Around the edges of every frame and at 100 places between: what was read and the rest are the run."""
    job = await service.submit("test.say", texts=["one", "\r\n\0\u2028", "\U0001f680" * 40, "x" * 500])
    url = service.stream_url(job["id"])
    async with open_stream(url) as first:
        events = await first.rest()
    begin = f"{events[0]['cursor'].split('-')[0]}-0"
    async with TcpProxy(service.url) as proxy:
        through = url.replace(service.url, proxy.url)
        async with open_stream(through, last_event_id=begin) as stream:
            whole = [frame.id async for frame in stream.frames()]
        size = proxy.reply_bytes

        async def read_until_cut(cut: int) -> tuple[list[str], str]:
            proxy.cut_next_after(cut)
            seen: list[str] = []
            try:
                async with open_stream(through, last_event_id=begin) as part:
                    seen += [frame.id async for frame in part.frames()]
                    assert part.ended_clean is (cut >= size)
                    return seen, part.decoder.last_event_id or begin
            except asyncio.IncompleteReadError:
                return [], begin  # in the middle of the head

        cuts = set(range(1, size, size // 100)) | {
            size - len(stream.body) - back + edge + near
            for edge in edges(bytes(stream.body))
            for near in (-1, 0, 1)
            for back in (5, 10)  # the last chunk stands behind the body, and the end of the one before
        }
        resumed = {whole[-1]: list[str]()}
        for cut in sorted(cuts):
            seen, last = await read_until_cut(cut)
            if last not in resumed:
                async with open_stream(url, last_event_id=last) as rest:
                    resumed[last] = [frame.id async for frame in rest.frames()]
            assert seen + resumed[last] == whole, f"cut after {cut} bytes"


def has_carried_more(proxy: TcpProxy, before: int) -> bool:
    return proxy.reply_bytes > before


def edges(body: bytes) -> list[int]:
    """Where the blocks of a stream end."""
    return [i + 2 for i in range(len(body)) if body.startswith(b"\n\n", i)]
