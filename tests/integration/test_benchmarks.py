"""The benchmarks work on a small shape, with every peer. Nothing is timed: what is asserted is that all arrives."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.bench import Bench, open_bench
from benchmarks.reader import Reader
from benchmarks.rows import client
from benchmarks.sides import FASTAPI, NCHAN, SIDES, Side
from benchmarks.streams import opened, standing

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the benchmarks use epoll and read /proc")


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with open_bench(scale=0.01) as found:
        yield found


@pytest.mark.parametrize("side", SIDES, ids=lambda side: side.name)
def test_every_stream_of_every_side_gets_each_event_once(bench: Bench, side: Side) -> None:
    """What is published to two jobs reaches all four streams of the side, and the figures speak of it."""
    with standing(bench, side, jobs=2, streams=4) as streams:
        run = streams.publish(events=20, per_second=200)

    assert run.delivered == run.expected == 40
    assert 0 < run.p50 <= run.p99
    assert run.cpu_each >= 0
    assert 150 < run.bytes_each < 600, "the sides send events of about the same size"


@pytest.mark.parametrize("side", [FASTAPI, NCHAN], ids=lambda side: side.name)
def test_a_storm_of_new_streams_is_counted_until_all_are_open(bench: Bench, side: Side) -> None:
    """Every stream opens, and connections to Redis are counted while they stand; nchan needs none."""
    with opened(bench, side, jobs=2, streams=10) as opening:
        assert opening.streams == 10
        assert opening.seconds > 0
        assert opening.redis_connections == (0 if side is NCHAN else 1)
        assert opening.redis_added <= opening.redis_connections


def test_the_client_counts_all_that_is_written_to_it(bench: Bench) -> None:
    """However writes are gathered and cut on the way, deliveries are counted exactly."""
    for ceiling in client.measure(bench):
        assert ceiling.seen.deliveries == ceiling.written > 0


def test_an_event_that_arrives_in_pieces_is_one_delivery() -> None:
    """The reader counts marks, two to an event, whichever piece they come in."""
    with _answering(b"HTTP/1.1 200 OK\r\n\r\n") as (port, connections), Reader(port) as reader:
        reader.open(["/"], b"\r\n\r\n", 10)
        for piece in (b"data: 1 @123", b"4567@\n\ndata: ", b"2 @1234567@\n\n"):
            connections[0].sendall(piece)
        seen = reader.read(deliveries=2, seconds=10)

    assert seen.deliveries == 2


def test_a_stream_that_is_turned_away_is_opened_again() -> None:
    """A server that asks to come back later is asked again, and that is counted."""
    refusal = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with _answering(refusal, b"HTTP/1.1 200 OK\r\n\r\nready") as (port, _), Reader(port) as reader:
        assert reader.open(["/"], b"ready", 10).turned_away == 1


def test_a_stream_that_is_dropped_before_its_first_event_is_opened_again() -> None:
    """A server that lets some streams of a thousand fall is not measured with fewer of them."""
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    with _answering(head, head + b"data: @1234567@\n\n") as (port, connections), Reader(port) as reader:
        reader.open(["/"], b"\r\n\r\n", 10)
        connections[0].close()

        assert reader.heard(10, 1) == 1


def test_streams_that_never_open_end_the_wait_with_a_sentence() -> None:
    """A server that accepts and says nothing does not hang the benchmark."""
    with (
        _answering(b"HTTP/1.1 200 OK\r\n") as (port, _),
        Reader(port) as reader,
        pytest.raises(TimeoutError, match="1 of 1 streams were not open"),
    ):
        reader.open(["/"], b"ready", 0.3)


@contextmanager
def _answering(*answers: bytes) -> Iterator[tuple[int, list[socket.socket]]]:
    """Serve a connection for each answer, and keep it open."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                connection.recv(65536)
                connections.append(connection)
                connection.sendall(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield listener.getsockname()[1], connections
        serving.join(10)
    for connection in connections:
        connection.close()
