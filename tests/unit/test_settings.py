"""Settings: read once, refused with a sentence."""

from __future__ import annotations

import os

import pytest
from pydantic import ValidationError

from milepost.errors import SettingsError
from milepost.settings import Settings, load


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with an environment without any Milepost settings."""
    for name in list(os.environ):
        if name.upper().startswith("MILEPOST_"):
            monkeypatch.delenv(name)


def test_the_defaults_are_valid() -> None:
    """Nothing needs to be set on one machine."""
    settings = load(Settings)
    assert settings.redis_url == "redis://127.0.0.1:6379/0"


def test_the_environment_is_read_and_the_command_line_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that was not given (None) leaves the environment alone."""
    monkeypatch.setenv("MILEPOST_LEASE_SECONDS", "30")
    monkeypatch.setenv("MILEPOST_LOG_LEVEL", "debug")
    settings = load(Settings, lease_seconds=40, log_level=None)
    assert (settings.lease_seconds, settings.log_level) == (40, "debug")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("MILEPOST_LEASE_SECONDS", "soon", r"MILEPOST_LEASE_SECONDS is 'soon': .*number.*\."),
        ("MILEPOST_HISTORY_LIMIT_EVENTS", "3", r"MILEPOST_HISTORY_LIMIT_EVENTS is '3': .*10\."),
        ("MILEPOST_LOG_LEVEL", "loud", r"MILEPOST_LOG_LEVEL is 'loud': .*'debug'.*\."),
        ("MILEPOST_LEASE_SECONDS", "nan", r"MILEPOST_LEASE_SECONDS is 'nan': .*\."),
        ("MILEPOST_LEASE_SECONDS", "inf", r"MILEPOST_LEASE_SECONDS is 'inf': .*finite.*\."),
    ],
)
def test_a_wrong_setting_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    """Its name, its value, what is wrong with it."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{says}$"):
        load(Settings)


def test_a_wrong_option_is_named_with_its_own_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the good one that stands in the environment."""
    monkeypatch.setenv("MILEPOST_LEASE_SECONDS", "30")
    with pytest.raises(SettingsError, match=r"MILEPOST_LEASE_SECONDS is 0\.1: "):
        load(Settings, lease_seconds=0.1)


def test_every_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One start shows all there is to mend."""
    monkeypatch.setenv("MILEPOST_LEASE_SECONDS", "x")
    monkeypatch.setenv("MILEPOST_LOG_FORMAT", "y")
    with pytest.raises(SettingsError) as caught:
        load(Settings)
    assert len(str(caught.value).splitlines()) == 2


def test_readers_are_told_of_silence_before_the_lease_ends() -> None:
    """Otherwise `stalled` would come after the retry."""
    with pytest.raises(SettingsError, match=r"MILEPOST_SILENCE_SECONDS \(12\) must be less than .*ends\.$"):
        load(Settings, silence_seconds=12)


@pytest.mark.parametrize(("lease", "silence"), [(12, 6), (1, 0.5), (60, 2)])
def test_heartbeats_are_frequent_enough(lease: float, silence: float) -> None:
    """One may be lost before readers are told, three before the job is."""
    heartbeat = load(Settings, lease_seconds=lease, silence_seconds=silence).heartbeat_seconds
    assert heartbeat * 2 <= silence
    assert heartbeat * 4 <= lease


def test_settings_cannot_be_changed() -> None:
    """One frozen object per process."""
    with pytest.raises(ValidationError):
        load(Settings).lease_seconds = 1  # type: ignore[misc]
