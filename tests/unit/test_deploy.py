"""The proxies' files in deploy/ and the API's settings: numbers that must agree, whoever changes one of them."""

import re

import pytest
import uvicorn
from milepost_api.settings import ApiSettings
from milepost_api.streaming import NDJSON, SSE

from tests.support.compose import seconds
from tests.support.fronts import DEPLOY

NGINX = (DEPLOY / "nginx.conf").read_text()
HAPROXY = (DEPLOY / "haproxy.cfg").read_text()
CADDY = (DEPLOY / "Caddyfile").read_text()
TEXTS = {"nginx.conf": NGINX, "haproxy.cfg": HAPROXY, "Caddyfile": CADDY}

# How long silence of the API, or on the way to the reader, is borne. Caddy bears it for ever unless it is told not to.
PATIENCE = {
    "nginx proxy_read_timeout": (NGINX, r"^\s*proxy_read_timeout (\S+);"),
    "haproxy timeout client": (HAPROXY, r"^\s*timeout client (\S+)$"),
    "haproxy timeout server": (HAPROXY, r"^\s*timeout server (\S+)$"),
}


def only(pattern, text):
    """Return the one value that the file gives."""
    [found] = re.findall(pattern, text, re.MULTILINE)
    return found


def without_comments(text):
    return re.sub(r"#.*", "", text)


@pytest.mark.parametrize("name", PATIENCE)
def test_time_outs_are_longer_than_any_silence_of_the_api(name):
    """A silent stream has pings, a long poll has nothing for a minute; both with room for a slow machine."""
    text, pattern = PATIENCE[name]
    patience, api = seconds(only(pattern, text)), ApiSettings()
    assert patience >= 2 * api.ping_seconds
    assert patience >= api.long_poll_seconds_max + 10


def test_old_processes_of_a_reloaded_proxy_stay_until_their_streams_have_come_back():
    """Every stream is asked to come back before it is so old: nothing is cut by a reload."""
    for pattern, text in (
        (r"^worker_shutdown_timeout (\S+);", NGINX),
        (r"^\s*hard-stop-after (\S+)", HAPROXY),
    ):
        assert seconds(only(pattern, text)) > ApiSettings().stream_seconds_max


def test_caddy_has_no_time_out_that_cuts_streams():
    """read_timeout and write_timeout count from the beginning of an answer, however lively it is."""
    assert not re.findall(r"(read_timeout|write_timeout|read_body|\bwrite )", without_comments(CADDY))


def test_the_limit_of_bodies_is_the_apis():
    """nginx has one of its own if it is not told; the other two leave it to the API."""
    assert only(r"client_max_body_size (\d+)m;", NGINX) == str(ApiSettings().body_limit_bytes >> 20)
    assert "body_size" not in without_comments(HAPROXY)
    assert "max_size" not in without_comments(CADDY)


def test_silent_connections_to_the_api_are_dropped_by_the_proxy_first():
    """When both sides wait equally long, a request meets a connection that is being closed, and a POST is lost."""
    kept = uvicorn.Config("app").timeout_keep_alive
    assert seconds(only(r"^\s*keepalive_timeout (\S+);", NGINX)) < kept
    assert seconds(only(r"^\s*keepalive (\d+s)$", CADDY)) < kept
    assert seconds(only(r"pool-purge-delay (\S+)$", HAPROXY)) < kept


@pytest.mark.parametrize("name", TEXTS)
def test_streams_are_never_compressed(name):
    """Only what is named is compressed, and the two types of streams are not."""
    text = without_comments(TEXTS[name])
    named = re.findall(r"(?:gzip_types|compression type|header Content-Type) ([^;\n]+(?:\n[^;\n]+;)?)", text)
    compressed = " ".join(named)
    assert "application/json" in compressed
    assert "text/*" not in compressed
    if name == "Caddyfile":
        compressed = text[text.index("encode gzip") : text.index("reverse_proxy")]
    assert SSE not in compressed
    assert NDJSON not in compressed
