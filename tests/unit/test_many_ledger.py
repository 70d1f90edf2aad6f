"""What the reader of many jobs was told, and being taken back to any moment of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milepost_api.many.ledger import DONE_REMEMBERED, MISSING, Ledger
from milepost_api.many.steps import BLOCK_STEPS, BLOCKS_HELD, Steps

from milepost.log import Bookmark

JOBS = st.sampled_from(["a", "b", "c", "d"])
MOVES = st.lists(st.tuples(JOBS, st.sampled_from(["tell", "pass", "end", "missing"])), max_size=40)


def what_is_known(bookmark: Bookmark) -> Bookmark:
    return replace(bookmark, steps=())


@given(MOVES)
def test_every_earlier_moment_is_found_again(moves: list[tuple[str, str]]) -> None:
    """Whatever happened: taken back by its bookmark, kept and read, the ledger stands as it stood at that number."""
    ledger, stood = Ledger("n", "t", "of"), {}
    for job_id in "abcd":
        ledger.add(job_id)
    stood[0] = what_is_known(ledger.bookmark())
    for seq, (job_id, move) in enumerate(moves):
        if job_id in ledger.done:
            continue
        if move == "pass":  # what nobody was told moves no number: it belongs to the moment before the next
            continue
        if move == "tell":
            ledger.tell(job_id, f"e-{seq}")
        else:
            ledger.tell_done(job_id, MISSING if move == "missing" else "succeeded")
        stood[ledger.number] = what_is_known(ledger.bookmark())
    kept = Bookmark.from_bytes(ledger.bookmark().to_bytes())
    assert kept is not None
    for number, known in stood.items():
        assert what_is_known(kept.back_to(number)) == known


def test_what_was_passed_over_is_not_told_again_to_who_has_seen_all() -> None:
    """A reader that did not want an event goes on after it."""
    ledger = Ledger("n", "t", "of")
    ledger.add("a")
    assert ledger.tell("a", "e-1") == b"n-1"
    ledger.pass_over("a", "e-2")
    assert ledger.bookmark().back_to(1).open == {"a": "e-2"}
    assert ledger.bookmark().back_to(0).open == {"a": ""}


def test_a_number_that_is_not_known_is_refused() -> None:
    """The future, and what is too long ago."""
    ledger = Ledger("n", "t", "of")
    ledger.add("a")
    for seq in range(BLOCK_STEPS * (BLOCKS_HELD + 2)):
        ledger.tell("a", f"e-{seq}")
    bookmark = ledger.bookmark()
    assert bookmark.refusal(bookmark.number + 1) == "ahead"
    assert bookmark.refusal(0) == "trimmed"
    assert bookmark.refusal(bookmark.number - BLOCK_STEPS * BLOCKS_HELD) is None
    with pytest.raises(ValueError, match="trimmed"):
        bookmark.back_to(0)


def test_the_steps_take_little_room() -> None:
    """Eight thousand of them, of five hundred jobs, are some hundred kilobytes."""
    steps = Steps()
    for seq in range(BLOCK_STEPS * BLOCKS_HELD):
        steps.add(f"0193d8a0-0000-7000-8000-{seq * 7919 % 500:012x}", f"0a1b2c3d4e-{seq}")
    assert sum(map(len, steps._blocks)) < 150_000
    assert len(steps.all()) == BLOCK_STEPS * BLOCKS_HELD
    assert steps.all()[-1][1].endswith(f"-{BLOCK_STEPS * BLOCKS_HELD - 1}")


def test_a_list_that_goes_on_for_ever_remembers_the_last_ends_only() -> None:
    """They are counted all the same."""
    ledger = Ledger("n", "t", "of")
    for n in range(DONE_REMEMBERED + 10):
        ledger.add(f"j{n}")
        ledger.tell_done(f"j{n}", "failed")
    assert len(ledger.done) == DONE_REMEMBERED
    assert ledger.counts["failed"] == ledger.jobs == DONE_REMEMBERED + 10
    assert not ledger.knows("j0")
    assert ledger.knows("j10")


def test_a_bookmark_of_another_version_is_none() -> None:
    """What a newer process has written is not guessed at."""
    import json
    import zlib

    assert Bookmark.from_bytes(zlib.compress(json.dumps([99, "whatever"]).encode())) is None
