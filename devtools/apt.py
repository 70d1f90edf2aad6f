"""Asking Debian's package manager for something, where we may."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

from devtools.console import CommandFailed, Stop, quietly, say, works

LOCK_WAIT_SECONDS = 300  # unattended upgrades of a fresh machine take a few minutes


def privilege() -> list[str] | None:
    """Return what to put before a command to run it as root without being asked anything, or None."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and works(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def install(*packages: str, purpose: str) -> None:
    """Install Debian packages, or raise Stop with the reason why that is not possible."""
    if shutil.which("apt-get") is None:
        raise Stop("there is no apt-get on this machine")
    as_root = privilege()
    if as_root is None:
        raise Stop(f"installing {' '.join(packages)} with apt needs root, or sudo without a password")
    say(f"Installing {purpose} with apt: {' '.join(packages)}.")
    apt = [*as_root, "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get"]
    wanted = [*apt, "install", "-y", "--no-install-recommends", "-qq", *packages]
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    try:
        try:
            patiently(wanted, deadline)
        except CommandFailed:
            # A machine that never asked for the lists of packages, or asked long ago.
            patiently([*apt, "update", "-qq"], deadline)
            patiently(wanted, deadline)
    except CommandFailed as failure:
        raise Stop(f"apt could not install {' '.join(packages)}:\n{failure.tail(6)}") from None


def unpack(*packages: str, folder: Path, purpose: str) -> None:
    """Unpack Debian packages, and what they need that is not here, below a folder; or raise Stop with the reason.

    Nothing is installed: no service starts or is enabled, no port is taken, and no root is needed.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Stop("there is no apt-get on this machine")
    say(f"Fetching {purpose} with apt, to use them here only: {' '.join(packages)}.")
    try:
        try:
            fetch(packages, folder)
        except CommandFailed:
            # A machine that never asked for the lists of packages, or asked long ago. Asking needs root.
            if (as_root := privilege()) is None:
                raise
            deadline = time.monotonic() + LOCK_WAIT_SECONDS
            patiently([*as_root, "env", "LC_ALL=C", "apt-get", "update", "-qq"], deadline)
            fetch(packages, folder)
    except CommandFailed as failure:
        raise Stop(f"apt could not fetch {' '.join(packages)}:\n{failure.tail(6)}") from None


def fetch(packages: tuple[str, ...], folder: Path) -> None:
    """Download what installing the packages would add to this machine, and unpack it below the folder."""
    wanted = ["apt-get", "install", "--simulate", "--no-install-recommends", *packages]
    # `Inst NAME (VERSION ...)`; with `[OLD]` after the name it is here already, in a version that will do.
    missing = re.findall(r"^Inst (\S+) \(", quietly(wanted, env={"LC_ALL": "C"}), re.MULTILINE)
    with tempfile.TemporaryDirectory() as archives:
        quietly(["apt-get", "download", "-qq", *missing], env={"LC_ALL": "C"}, cwd=Path(archives))
        folder.mkdir(parents=True, exist_ok=True)
        for archive in sorted(Path(archives).glob("*.deb")):
            quietly(["dpkg-deb", "--extract", archive, folder])


def patiently(command: list[str], deadline: float) -> None:
    """Run apt-get; while another process holds one of its locks, wait and try again."""
    announced = False
    while True:
        try:
            quietly(command)
            return
        except CommandFailed as failure:
            # apt can wait for one of its three locks by itself, but not for the other two.
            if "Could not get lock" not in failure.output and "Unable to lock" not in failure.output:
                raise
            if time.monotonic() > deadline:
                raise Stop(
                    "Another process has held apt's lock for five minutes. Let it finish (ps -C apt,"
                    f"apt-get,dpkg,unattended-upgr shows it) and run this again.\n{failure.tail(3)}"
                ) from None
        if not announced:
            say("Another process is installing packages; waiting for it to finish.")
            announced = True
        time.sleep(2)
