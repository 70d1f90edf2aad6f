"""A user of Redis with the rights that the documentation names, and with one less."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from redis.asyncio import Redis

from milepost.errors import SettingsError
from milepost.log.door import knock
from milepost.log.rights import EXAMPLES, acl_rules, command_of, refused_calls
from milepost.redis import connect
from tests.support.process import ROOT, refused
from tests.support.redis import RedisServer, binaries, every_redis
from tests.support.sse import open_stream
from tests.support.stack import Stack
from tests.support.wait import eventually

Start = Callable[..., Awaitable[Stack]]
DOCUMENTED = re.search(
    r"^```acl\n(.*?)\n```$", (ROOT / "docs" / "operations.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
)
assert DOCUMENTED
LINE = DOCUMENTED[1]
PASSWORD = "s3cret"


@pytest.fixture
def guarded(tmp_path: Path, redis_kind: str) -> Iterator[RedisServer]:
    """A Redis whose ACL file is what the documentation says; `url` is that of the user in it."""
    acl = tmp_path / "users.acl"
    acl.write_text(LINE.replace("PASSWORD", PASSWORD) + "\n", "utf-8")
    with RedisServer(tmp_path / "redis", binary=binaries()[redis_kind], aclfile=str(acl)) as server:
        yield server


def url_of(server: RedisServer, user: str = "milepost", password: str = PASSWORD) -> str:
    return server.url.replace("redis://", f"redis://{user}:{password}@")


def test_the_documented_rights_are_those_that_are_asked_for() -> None:
    """So that documentation and program cannot part."""
    assert LINE.split() == ["user", "milepost", "on", ">PASSWORD", *acl_rules()]


def test_what_the_scripts_call_is_among_the_rights() -> None:
    """A script that calls another command must ask for it at the start."""
    files = [*(ROOT / "milepost/log").glob("*.py"), *(ROOT / "milepost/log/lua").glob("*.lua")]
    sources = "\n".join(path.read_text("utf-8") for path in files)
    called = {name.lower() for name in re.findall(r"redis\.p?call\(\s*['\"](\w+)['\"]", sources)}
    assert "xadd" in called
    assert called - {command_of(example) for example in EXAMPLES} == set()


def test_what_the_log_sends_is_among_the_rights() -> None:
    """The same for what is sent without a script, by the methods of redis-py that are called in milepost.log."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "milepost/log").glob("*.py"))
    methods = set(re.findall(r"\b(?:pipe|redis|_redis)\.([a-z_]+)\(", sources))
    called = {name.replace("_", "|") for name in methods - NO_COMMANDS}
    assert {"strlen", "xgroup|create"} <= called
    assert called - {command_of(example) for example in EXAMPLES} == set()


NO_COMMANDS = {
    "pipeline",
    "execute",
    "execute_command",
    "lock",
    "call",
    "error_reply",
    "acl_check_cmd",
    "config_get",
}
"""What redis-py sends nothing for, what stands in Lua, and the one question that may be refused (fitness.py)."""


@every_redis
async def test_the_documented_user_can_do_everything(stack: Start, guarded: RedisServer) -> None:
    """Submit, run, report, retry, cancel, stream, list, leave: and Redis has refused nothing."""
    running = await stack(
        redis=guarded,
        redis_url=url_of(guarded),
        modules=("milepost_worker.builtin", "tests.support.tasks.played"),
        settings={"MILEPOST_DRAIN_SECONDS": "0"},
    )
    done = await running.submit("test.say", texts=["one", "two"])
    async with open_stream(running.stream_url(done["id"])) as stream:
        assert (await stream.rest())[-1]["status"] == "succeeded"
    large = await running.submit("test.say", texts=["x" * 100_000])
    await eventually(
        lambda: is_recorded(running, large["id"]), "its result has a place of its own, and is recorded"
    )
    long = await running.submit("test.count", steps=1000, delay_seconds=0.1)
    later = await running.http.post(
        "/v1/jobs",
        json={"task": "test.count", "params": {"steps": 1, "delay_seconds": 0}, "delay_seconds": 900},
    )
    await eventually(lambda: is_running(running, long["id"]), "it runs")
    for job_id in (long["id"], later.json()["id"]):
        assert (await running.http.post(f"/v1/jobs/{job_id}/cancel")).status_code < 300
        await eventually(partial(is_done, running, job_id), "it is cancelled")
    for path in ("/v1/workers", "/v1/queues", "/v1/tasks", "/v1/jobs", "/readyz"):
        assert (await running.http.get(path)).status_code == 200
    left = await running.submit("test.count", steps=1000, delay_seconds=0.1)
    await eventually(lambda: is_running(running, left["id"]), "it runs")
    running.workers[0].stop()  # what it hands back is reported, too
    running.apis[0].stop()
    with guarded.client() as admin:
        refused = {str(entry["object"]) for entry in admin.acl_log(1000)}
    assert {name for name in refused if not name.lower().startswith("client")} == set()


async def is_recorded(running: Stack, job_id: str) -> bool:
    listed = (await running.http.get("/v1/jobs", params={"status": "succeeded"})).json()["items"]
    return job_id in [job["id"] for job in listed]


async def is_running(running: Stack, job_id: str) -> bool:
    return bool((await running.job(job_id))["status"] == "running")


async def is_done(running: Stack, job_id: str) -> bool:
    return bool((await running.job(job_id))["done"])


ASKED_WITH = {"PING", "EVALSHA x 0", "SCRIPT LOAD x"}
"""Without these the question itself is refused."""


async def test_every_right_that_is_missing_is_named(guarded: RedisServer, redis: Redis) -> None:
    """Take one away at a time: the refusal names the user, the call and what to give, and no password."""
    url = url_of(guarded)
    async with connect(guarded.url) as admin, connect(url, retries=0) as ours:
        assert await knock(ours, url) is None
        for example in EXAMPLES:
            command = command_of(example)
            await admin.execute_command("ACL", "SETUSER", "milepost", f"-{command}")
            await admin.script_flush()
            if example not in ASKED_WITH:
                assert await refused_calls(ours) == [example]
            with pytest.raises(SettingsError) as refused:
                await knock(ours, url)
            said = str(refused.value)
            assert "'milepost'" in said
            assert command.partition("|")[0] in said.lower(), said
            assert "Access control" in said
            assert PASSWORD not in said
            await admin.execute_command("ACL", "SETUSER", "milepost", f"+{command}")
        assert await knock(ours, url) is None


@pytest.mark.parametrize(
    ("rule", "call"), [("resetkeys", "HSET mp:x a 1"), ("resetchannels", "SUBSCRIBE mp:x")]
)
async def test_keys_and_channels_that_are_missing_are_named(
    guarded: RedisServer, rule: str, call: str
) -> None:
    """The commands may be allowed and still not on our keys."""
    async with connect(guarded.url) as admin, connect(url_of(guarded), retries=0) as ours:
        await admin.execute_command("ACL", "SETUSER", "milepost", rule)
        assert call in await refused_calls(ours)


@pytest.mark.parametrize("module", ["milepost_api", "milepost_worker"])
@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("milepost", "wrong-w0rd", ["does not let us in", "invalid username-password pair"]),
        ("nobody", "wrong-w0rd", ["does not let us in"]),
        ("poor", "wrong-w0rd", ["the user 'poor'", "XADD mp:x * a 1", "+xadd", "Access control"]),
    ],
)
def test_a_start_that_redis_refuses_is_refused(
    tmp_path: Path, guarded: RedisServer, module: str, user: str, password: str, words: list[str]
) -> None:
    """One sentence and exit code 2 at once, from the API as from the worker; no password in it."""
    with guarded.client() as admin:
        rules = [rule for rule in acl_rules() if rule != "+xadd"]
        admin.execute_command("ACL", "SETUSER", "poor", "on", ">wrong-w0rd", *rules)
    everything = refused(module, tmp_path, url_of(guarded, user, password))
    said = everything.splitlines()[-1]
    assert [word for word in ("MILEPOST_REDIS_URL", *words) if word not in said] == [], said
    assert "wrong-w0rd" not in everything
