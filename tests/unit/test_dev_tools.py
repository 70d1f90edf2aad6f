"""dev.py test: the tools beyond Python, found or brought or refused with a remedy."""

import shutil

import pytest

from devtools import apt, console, tools

from .test_dev import executable


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A PATH on which nothing stands but what the test puts there, and no apt, brew or network behind it."""
    folder = tmp_path / "path"
    folder.mkdir()
    for name in ("env", "sh", "chmod"):
        (folder / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(tools, "BIN", tmp_path / "bin")
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.delenv("MILEPOST_CHROMIUM", raising=False)
    return folder


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(apt, "privilege", list)


def test_the_named_chromium_wins(path, tmp_path, monkeypatch):
    executable(path / "chromium", "echo Chromium 150.0.1.2")
    named = executable(tmp_path / "mine", "echo Chromium 151.0.1.2")
    monkeypatch.setenv("MILEPOST_CHROMIUM", str(named))

    assert tools.chromium(path) == named


def test_a_named_chromium_that_does_not_start_is_refused_by_name(path, monkeypatch):
    monkeypatch.setenv("MILEPOST_CHROMIUM", "/gone/chromium")

    with pytest.raises(console.Stop, match="MILEPOST_CHROMIUM=/gone/chromium"):
        tools.chromium(path)


def test_a_stub_that_only_says_how_to_install_a_browser_is_passed_over(path):
    executable(path / "chromium", "echo please install the snap; exit 1")
    real = executable(path / "google-chrome", "echo Google Chrome 150.0.1.2")

    assert tools.chromium(path) == real


def test_without_a_way_to_a_browser_the_reader_learns_the_remedy(path, monkeypatch):
    def no_network(node):
        raise console.CommandFailed(["playwright"], "Error: no network")

    monkeypatch.setattr(tools, "chromium_from_playwright", no_network)

    with pytest.raises(console.Stop, match=r"install chromium-headless-shell\) or set MILEPOST_CHROMIUM"):
        tools.chromium(path)


def test_a_redis_of_today_is_taken_and_one_of_yesterday_is_not(path):
    server = executable(path / "redis-server", "echo Redis server v=6.0.16 sha=0")
    assert tools.installed_redis() is None
    executable(server, "echo Redis server v=7.2.4 sha=0")
    assert tools.installed_redis() == server


def test_redis_comes_without_a_service_that_starts_by_itself(path, root):
    """Debian's tools hold the server's program; the package with the service is never asked for."""
    checker = path / "redis-check-rdb"
    asked = path / "asked"
    executable(
        path / "apt-get",
        f'echo "$*" >> {asked}\n'
        f"printf '#!/bin/sh\\necho Redis server v=7.0.15\\n' > {checker}\nchmod 755 {checker}",
    )

    server = tools.redis_server()

    assert server.name == "redis-server"
    assert server.resolve() == checker
    assert "redis-tools" in asked.read_text()
    assert "redis-server" not in asked.read_text()


def test_apt_that_is_busy_is_waited_for(path, root, capfd):
    executable(
        path / "apt-get",
        f"if [ -e {path}/asked-before ]; then exit 0; fi\n"
        f"> {path}/asked-before; echo 'E: Could not get lock /var/lib/dpkg/lock-frontend'; exit 100",
    )

    apt.install("thing", purpose="a thing")

    assert "Another process is installing packages" in capfd.readouterr().err


def test_apt_that_stays_busy_ends_in_a_sentence(path, root, monkeypatch):
    executable(path / "apt-get", "echo 'E: Unable to lock directory /var/lib/apt/lists/'; exit 100")
    monkeypatch.setattr(apt, "LOCK_WAIT_SECONDS", -1)

    with pytest.raises(console.Stop, match="has held apt's lock"):
        apt.install("thing", purpose="a thing")


def test_lists_that_were_never_fetched_are_fetched_once(path, root):
    calls = path / "calls"
    executable(
        path / "apt-get",
        f'echo "$1" >> {calls}\n'
        f'if [ "$1" = update ]; then > {path}/lists; fi\n'
        f"[ -e {path}/lists ] || {{ echo 'E: Unable to locate package thing'; exit 100; }}",
    )

    apt.install("thing", purpose="a thing")

    assert calls.read_text().split() == ["install", "update", "install"]


def test_without_root_apt_is_not_even_tried(path, monkeypatch):
    executable(path / "apt-get", "exit 0")
    monkeypatch.setattr(apt, "privilege", lambda: None)

    with pytest.raises(console.Stop, match="needs root, or sudo without a password"):
        apt.install("thing", purpose="a thing")
