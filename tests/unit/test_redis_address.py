"""MILEPOST_REDIS_URL: what it can say, and how what it cannot say is refused."""

from __future__ import annotations

import pytest

from milepost.errors import SettingsError
from milepost.redis import check_url, place, user_of
from milepost.redis.address import Address, parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h:1/2", Address("redis://h:1/2")),
        (
            "redis+sentinel://s1:1,s2,[::1]:3,[fe80::1]/mymaster",
            Address(
                "redis://master/0", (("s1", 1), ("s2", 26379), ("::1", 3), ("fe80::1", 26379)), "mymaster"
            ),
        ),
        (
            "rediss+sentinel://u:p%40w@s/the%20one/7?sentinel_username=a&sentinel_password=b%26c&ssl_ca_certs=/x",
            Address("rediss://u:p%40w@master/7?ssl_ca_certs=%2Fx", (("s", 26379),), "the one", "a", "b&c"),
        ),
        ("REDIS+SENTINEL://:pw@s/m/", Address("redis://:pw@master/0", (("s", 26379),), "m")),
    ],
)
def test_an_address_is_taken_apart(url: str, address: Address) -> None:
    """One server as redis-py writes it; Sentinels as redis-sentinel-url and Prefect do."""
    assert parse(url) == address
    check_url(url.replace("&ssl_ca_certs=/x", ""))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sentinel://s:26379/0", ["'sentinel' is not known", "redis+sentinel://"]),
        ("redis-sentinel://s/m", ["'redis-sentinel' is not known", "redis+sentinel://"]),
        ("redis+sentinel://s1,s2", ["which service", "/SERVICE/0"]),
        ("redis+sentinel://s1,,s2/m", ["no host"]),
        ("redis+sentinel://s1:port/m", ["the port of the Sentinel s1"]),
        ("redis+sentinel://s1:70000/m", ["1 to 65535"]),
        ("redis+sentinel://s1/m/jobs", ["'jobs' is no number of a database"]),
        ("redis+sentinel://s1/m?colour=red", ["colour"]),
        ("redis+sentinel://s1/m?sentinel_colour=red", ["sentinel_colour"]),
        ("redis://user:s3cret/rest@h/0", ["port", "%2F"]),
        ("redis+sentinel://user:s3cret/rest@h/0", ["redis+sentinel://"]),
        ("rediss://h/0?ssl_ca_certs=/nowhere", ["the file of ssl_ca_certs, /nowhere, cannot be read"]),
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(url: str, words: list[str]) -> None:
    """It says what is wrong and how it is written, and repeats no password."""
    with pytest.raises(SettingsError) as refused:
        check_url(url)
    said = str(refused.value)
    assert [word for word in ("MILEPOST_REDIS_URL", *words) if word not in said] == [], said
    assert "s3cret" not in said
    assert "rest" not in said.replace("the rest", "")


@pytest.mark.parametrize(
    ("url", "where", "user"),
    [
        ("redis://u%40v:s3cret@h:7/0", "h:7", "u@v"),
        ("redis://:s3cret@h", "h:6379", "default"),
        ("unix:///run/redis.sock", "/run/redis.sock", "default"),
        ("redis+sentinel://u:s3cret@a,b:2/m?sentinel_password=s3cret", "m (Sentinels: a:26379, b:2)", "u"),
    ],
)
def test_a_place_is_named_without_its_secrets(url: str, where: str, user: str) -> None:
    """For sentences and log lines."""
    assert (place(url), user_of(url)) == (where, user)
