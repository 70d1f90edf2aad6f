"""Clients that others wrote read what was said, character for character. Chromium has its own file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import httpx_sse
import pytest

from tests.support.node import node_module, node_path
from tests.support.process import ROOT
from tests.support.stack import Stack

TEXTS = [
    "NUL \0 in the middle",
    "CR \r LF \n CRLF \r\n\r\n two",
    "data: not\n\nevent: end\nid: 99\n\nretry: 1\n: comment",
    "U+2028 \u2028 U+2029 \u2029 U+0085 \u0085 \v \f \x1c \x1d \x1e \x1f",
    "\ufeffBOM, \U0001f680\U0001f468\u200d\U0001f469\u200d\U0001f467, \u00fc, \x7f",
    "",
]
MEGABYTE = "\U0001f680\r\n\u2028 abc"  # times 125,000

Read = Callable[[str], Awaitable[list[dict[str, Any]]]]


async def by_npm_eventsource(url: str) -> list[dict[str, Any]]:
    modules = node_module("eventsource").parent
    script = ROOT / "tests/tools/read_stream.mjs"
    process = await asyncio.create_subprocess_exec(
        node_path(), str(script), url, str(modules), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0
    events = []
    for kind, last_event_id, data in json.loads(said):
        events.append(event := json.loads(data))
        assert (kind, last_event_id) == (event["type"], event["cursor"])
    return events


async def by_httpx_sse(url: str) -> list[dict[str, Any]]:
    events = []
    async with httpx.AsyncClient(timeout=60) as client, httpx_sse.aconnect_sse(client, "GET", url) as source:
        async for said in source.aiter_sse():
            if said.data:  # httpx-sse dispatches a block of `retry` alone, too
                events.append(event := said.json())
                assert (said.event, said.id) == (event["type"], event["cursor"])
    return events


async def by_lines(url: str) -> list[dict[str, Any]]:
    """What a stranger writes without a library: `iter_lines`, which splits at every line end of Unicode."""
    async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", url) as reply:
        return [json.loads(line[6:]) async for line in reply.aiter_lines() if line.startswith("data: ")]


async def by_ndjson_lines(url: str) -> list[dict[str, Any]]:
    headers = {"Accept": "application/x-ndjson"}
    async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", url, headers=headers) as reply:
        return [json.loads(line) async for line in reply.aiter_lines()]


CLIENTS = [by_npm_eventsource, by_httpx_sse, by_lines, by_ndjson_lines]


@pytest.mark.parametrize("read", CLIENTS)
async def test_what_was_said_arrives(service: Stack, read: Read) -> None:
    """Logs, outputs and the result, with everything that ends a line or a string somewhere."""
    job = await service.submit("test.say", texts=TEXTS)
    live, late = await asyncio.gather(
        read(service.stream_url(job["id"])), _replayed(service, job["id"], read)
    )
    for events in (live, late):
        assert events[-1]["type"] == "end"
    assert [e["message"] for e in late if e["type"] == "log"] == TEXTS
    assert [e["data"] for e in late if e["type"] == "output"] == TEXTS
    assert late[-1]["result"] == live[-1]["result"] == TEXTS


async def _replayed(service: Stack, job_id: str, read: Read) -> list[dict[str, Any]]:
    """Read the whole history: from the cursor before the first event."""
    url = service.stream_url(job_id)
    async with httpx.AsyncClient(timeout=60) as client, client.stream("GET", url) as reply:
        [first, *_] = [line async for line in reply.aiter_lines() if line.startswith("id: ")]
    epoch = first.removeprefix("id: ").split("-")[0]
    return await read(f"{url}?last_event_id={epoch}-0")


@pytest.mark.parametrize("read", CLIENTS)
async def test_a_megabyte_arrives_in_one_piece(service: Stack, read: Read) -> None:
    """As a line of the log and as output; neither the encoding nor the chunks lose anything."""
    job = await service.submit("test.say", texts=[MEGABYTE], repeat=125_000)
    events = await _replayed(service, job["id"], read)
    whole = MEGABYTE * 125_000
    assert len(whole.encode()) > 1_000_000
    assert [e["message"] for e in events if e["type"] == "log"] == [whole]
    assert [e["data"] for e in events if e["type"] == "output"] == [whole]
    assert events[-1]["status"] == "succeeded"


@pytest.mark.parametrize("read", CLIENTS)
async def test_halves_of_surrogate_pairs_arrive_as_replacement_characters(service: Stack, read: Read) -> None:
    """UTF-8 cannot say them and strict readers refuse the whole event; a task has them from a broken file name."""
    job = await service.submit("test.surrogates")
    events = await _replayed(service, job["id"], read)
    assert [e["message"] for e in events if e["type"] == "log"] == ["\ufffd lone \ufffd"]
    assert [e["data"] for e in events if e["type"] == "output"] == ["\ufffd"]
    assert events[-1]["result"] == "\ufffd"


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
async def test_what_is_no_number_fails_the_job_with_a_sentence(service: Stack, number: str) -> None:
    """NaN is not JSON: refused where it was reported, and the job says so."""
    job = await service.submit("test.report", number=number)
    end = (await by_lines(service.stream_url(job["id"])))[-1]
    assert (end["status"], end["error"]["code"]) == ("failed", "serialization")
    assert f"progress() was given {number}, which is not a finite number" in end["error"]["message"]
