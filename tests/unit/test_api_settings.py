"""Settings of the API: closed by default, and refused in sentences."""

from __future__ import annotations

from pathlib import Path

import pytest
from milepost_api.auth import KeyRing
from milepost_api.settings import ApiSettings

from milepost.errors import SettingsError
from milepost.settings import load


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ApiSettings.model_fields:
        monkeypatch.delenv(f"MILEPOST_{name.upper()}", raising=False)


def test_by_default_only_this_machine_is_served() -> None:
    """No setting at all: loopback, SQLite below the data directory."""
    settings = load(ApiSettings)
    assert (settings.host, settings.port, settings.keys) == ("127.0.0.1", 8000, {})
    assert settings.database == f"sqlite+aiosqlite:///{Path('.milepost').resolve()}/milepost.db"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """Nobody else can reach it."""
    assert load(ApiSettings, host=host).host == host


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "localhost.example.org"])
def test_anything_else_needs_a_key(host: str) -> None:
    """An address that others may reach is refused, until there is a key."""
    with pytest.raises(SettingsError, match="MILEPOST_API_KEYS"):
        load(ApiSettings, host=host)
    assert load(ApiSettings, host=host, api_keys="k").host == host


def test_blank_keys_are_no_keys() -> None:
    """Commas and spaces alone open nothing, and close nothing either."""
    with pytest.raises(SettingsError):
        load(ApiSettings, host="0.0.0.0", api_keys=" , ,")


def test_keys_come_from_text_and_file(tmp_path: Path) -> None:
    """Both at once, each key once."""
    (tmp_path / "keys").write_text("two\n\nacme:three\n")
    assert load(ApiSettings, api_keys="one, two", api_keys_file=tmp_path / "keys").keys == {
        "one": "default",
        "two": "default",
        "three": "acme",
    }


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("acme:one, acme:two", {"one": "acme", "two": "acme"}),
        ("a-1_b:one,one:two", {"one": "a-1_b", "two": "one"}),
        ("acme:one,acme:one", {"one": "acme"}),
        ("default:one,one", {"one": "default"}),
        ("default:has:colons:", {"has:colons:": "default"}),
    ],
)
def test_a_key_belongs_to_the_tenant_before_its_first_colon(text: str, keys: dict[str, str]) -> None:
    """Several keys of one tenant may be valid at a time; what follows the first colon is the key, whatever it is."""
    assert load(ApiSettings, api_keys=text).keys == keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acme:hunter2,globex:hunter2", "the tenants 'acme' and 'globex' are given the same key"),
        ("hunter2, acme:hunter2", "the tenants 'default' and 'acme' are given the same key"),
        ("Acme:hunter2", "names no tenant"),
        (":hunter2", "names no tenant"),
        ("hunter2hunter2!:x", "write a key that contains a colon as default:KEY"),
        (f"{'a' * 65}:hunter2", "names no tenant"),
        ("acme:", "the tenant 'acme' is given an empty key"),
        ("acme:hunter2 hunter2", "plain ASCII without spaces"),
    ],
)
def test_keys_that_do_not_say_whose_they_are_are_refused(text: str, said: str, tmp_path: Path) -> None:
    """A sentence at start, wherever they stand, that shows no key and no half of one."""
    (tmp_path / "keys").write_text(text.replace(",", "\n"))
    for given in ({"api_keys": text}, {"api_keys_file": tmp_path / "keys"}):
        with pytest.raises(SettingsError, match=said) as refused:
            load(ApiSettings, **given)
        assert "hunter" not in str(refused.value)


def test_secrets_are_not_shown() -> None:
    """A settings object that ends up in a log tells neither key nor password."""
    shown = repr(load(ApiSettings, api_keys="hunter2", database_url="postgres://u:hunter3@h/d"))
    assert "hunter" not in shown


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("postgresql+asyncpg://u@h/d", "postgresql+asyncpg://u@h/d"),
        ("sqlite:////tmp/x.db", "sqlite+aiosqlite:////tmp/x.db"),
    ],
)
def test_the_usual_names_of_a_database_are_understood(given: str, used: str) -> None:
    """What hosting platforms hand out works as it is."""
    assert load(ApiSettings, database_url=given).database == used


def test_a_ring_knows_its_keys_only_and_whose_they_are() -> None:
    """By value, whole, and never when it is empty."""
    ring = KeyRing({"one": "acme", "two": "globex"})
    assert [ring.tenant(key) for key in (b"one", b"two", b"on", b"", b"acme:one")] == [
        "acme",
        "globex",
        None,
        None,
        None,
    ]
    assert KeyRing({}).tenant(b"") is None


def test_records_are_kept_at_least_as_long_as_redis_keeps_jobs() -> None:
    """0 and nothing mean for ever; less than Redis keeps them is refused with both numbers."""
    for given in (0, "", " "):
        assert load(ApiSettings, history_retention_days=given).history_retention_days == 0
    assert load(ApiSettings, history_retention_days="1").history_retention_days == 1
    with pytest.raises(SettingsError, match=r"0\.5 \(43200 s\).*86400"):
        load(ApiSettings, history_retention_days=0.5)
    assert load(ApiSettings, history_retention_days=0.5, redis_retention_seconds=3600).history_retention_days
