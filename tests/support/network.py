"""A second network beside ours, on a wire that can be cut without a word to either end (Linux, as root)."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

_CLONE_NEWNET = 0x40000000
_NOBODY = "02:00:00:00:00:01"  # frames to this address are taken by neither end of the wire


class Wire:
    """`near` is our address on it, `far` that of the other network, whose sockets `socket()` makes.

    Cutting leaves connections half open: what either side sends is neither answered nor refused.
    """

    def __init__(self) -> None:
        self._name, number = f"mp{os.getpid()}", os.getpid() % 250
        self.near, self.far = f"10.213.{number}.1", f"10.213.{number}.2"

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists():
            pytest.skip("a network namespace can only be made by root, on Linux")
        self._run("ip netns add {name}")
        try:
            self._run("ip link add {name}n type veth peer name {name}f netns {name}")
            self._run("ip address add {near}/30 dev {name}n")
            self._run("ip link set {name}n up")
            self._run("ip -n {name} address add {far}/30 dev {name}f")
            self._run("ip -n {name} link set {name}f up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._run("ip netns delete {name}")  # the wire goes with it

    def socket(self) -> socket.socket:
        """Return a TCP socket that lives in the other network."""
        with self._inside():
            return socket.socket()

    def cut(self) -> None:
        """Let every packet get lost, in both directions, from now on."""
        self._run("ip neighbour replace {far} dev {name}n lladdr " + _NOBODY)
        self._run("ip -n {name} neighbour replace {near} dev {name}f lladdr " + _NOBODY)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        # A socket belongs to the network in which the thread was that made it.
        ours = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        theirs = os.open(f"/run/netns/{self._name}", os.O_RDONLY)
        try:
            _enter(theirs)
            yield
        finally:
            _enter(ours)
            os.close(ours)
            os.close(theirs)

    def _run(self, command: str) -> None:
        words = command.format(name=self._name, near=self.near, far=self.far).split()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")


def _enter(network: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(network, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
