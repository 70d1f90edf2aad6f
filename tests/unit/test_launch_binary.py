"""Which server program is started, and with what sentence none is."""

from __future__ import annotations

from pathlib import Path

import pytest

from milepost.errors import SettingsError
from milepost.launch.binary import find_server, packaged_server, version_of


def program(folder: Path, name: str, says: str) -> Path:
    """A program that answers --version, as far as anybody can see from outside."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


def none_packaged() -> None:
    return None


def test_the_named_program_wins(tmp_path: Path) -> None:
    """MILEPOST_REDIS_SERVER goes before all."""
    named = program(tmp_path, "mine", "Valkey server v=8.1.0 sha=0:0 malloc=libc bits=64 build=1")
    packaged = program(tmp_path, "packaged", "Valkey server v=9.1.2")
    assert find_server({"MILEPOST_REDIS_SERVER": str(named)}, packaged=lambda: packaged) == named


@pytest.mark.parametrize("says", ["Redis server v=6.2.14 sha=00000000:0", "hello"])
def test_a_named_program_that_will_not_do_is_refused(tmp_path: Path, says: str) -> None:
    """It was asked for: another one in its place would be a surprise."""
    named = program(tmp_path, "mine", says)
    with pytest.raises(SettingsError, match="MILEPOST_REDIS_SERVER"):
        find_server({"MILEPOST_REDIS_SERVER": str(named)})


@pytest.mark.parametrize("named", ["/nowhere/redis-server", "/etc", "/etc/hostname"])
def test_a_name_that_is_no_program_is_refused(named: str) -> None:
    """Missing, a folder, a file that cannot be run."""
    with pytest.raises(SettingsError, match="no Redis or Valkey server"):
        find_server({"MILEPOST_REDIS_SERVER": named})


def test_the_packaged_program_goes_before_path(tmp_path: Path) -> None:
    """Its version is known."""
    packaged = program(tmp_path, "packaged", "Valkey server v=9.1.2")
    assert find_server({}, packaged=lambda: packaged, on_path=lambda name: f"/usr/bin/{name}") == packaged


def test_on_path_an_old_one_is_passed_over_for_a_newer(tmp_path: Path) -> None:
    """valkey-server 6 does not hide redis-server 7."""
    program(tmp_path, "valkey-server", "Valkey server v=6.9.9")
    redis = program(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0")
    assert find_server({}, packaged=none_packaged, on_path=lambda name: str(tmp_path / name)) == redis


def test_only_old_ones_are_named_in_the_refusal(tmp_path: Path) -> None:
    """The sentence says what was found and what to do."""
    old = program(tmp_path, "redis-server", "Redis server v=6.0.16")
    with pytest.raises(SettingsError, match=r"redis-server \(version 6\.0\)(?s:.)*pip install"):
        find_server({}, packaged=none_packaged, on_path=lambda name: str(old) if "redis" in name else None)


def test_without_any_the_refusal_says_what_to_install() -> None:
    """Nothing is downloaded behind anybody's back."""
    with pytest.raises(SettingsError, match=r"milepost\[embedded\]"):
        find_server({}, packaged=none_packaged, on_path=lambda _: None)


def test_the_wheel_is_found_and_new_enough() -> None:
    """What `milepost[embedded]` brings can be started here."""
    found = packaged_server()
    assert found is not None
    assert (version_of(found) or (0, 0)) >= (7, 0)
