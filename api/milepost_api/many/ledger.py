"""What the reader of a stream of many jobs has been told, and the last steps that led there. No I/O."""

from __future__ import annotations

from collections import Counter

from milepost.log import Bookmark
from milepost.log.bookmarks import NEW
from milepost_api.many.steps import Steps

DONE_REMEMBERED = 4096
"""Jobs that have ended and are known as such, so that they are not shown again. The list of all jobs goes on for ever;
a job that is not among the last of them is too old to be found by a look."""

MISSING = "missing"
"""In place of a status: there is no such job."""


class Ledger:
    """Numbers what is told, and knows of each job how far that got.

    `name` names the stream; its events have the ids `<name>-1`, `<name>-2`, ... `of` says what it shows. It goes
    on from a bookmark, under its own name and numbers.
    """

    def __init__(self, name: str, tenant: str, of: str, goes_on: Bookmark | None = None) -> None:
        self.name, self.tenant, self.of = name, tenant, of
        self.number = 0
        self.open: dict[str, str] = dict(goes_on.open) if goes_on else {}
        self.done: dict[str, str] = dict(goes_on.done) if goes_on else {}
        self.counts = Counter(goes_on.counts if goes_on else {})
        self.floor = goes_on.floor if goes_on else 0
        self.ended = False
        self._steps = Steps()

    @property
    def jobs(self) -> int:
        """How many jobs there are on the stream, ended or not."""
        return len(self.open) + self.counts.total()

    def knows(self, job_id: str) -> bool:
        """Whether the job is on the stream, or was and has ended. One that was missing may come (again)."""
        return job_id in self.open or self.done.get(job_id, MISSING) != MISSING

    def add(self, job_id: str, cursor: str = NEW) -> None:
        """Put a job on the stream."""
        if was := self.done.pop(job_id, None):
            self.counts[was] -= 1
        self.open[job_id] = cursor

    def pass_over(self, job_id: str, cursor: str) -> None:
        """Take note of an event that the reader did not ask for."""
        self.open[job_id] = cursor

    def tell(self, job_id: str, cursor: str) -> bytes:
        """Return the id of an event that tells of a job up to `cursor`."""
        return self._step(job_id, cursor)

    def tell_done(self, job_id: str, status: str) -> bytes:
        """Return the id of the event by which a job ends, or turns out to be `MISSING`, also after its end."""
        return self._step(job_id, f"={status}")

    def tell_end(self) -> bytes:
        """Return the id of the end of the whole."""
        self.ended = True
        return self._step("", "")

    def count(self, job_id: str, status: str) -> None:
        """Take note of a job that has ended and of which the reader knows that already."""
        self.open.pop(job_id, None)
        self._done(job_id, status)

    def bookmark(self) -> Bookmark:
        """Return what stands now."""
        counts = {status: number for status, number in self.counts.items() if number}
        return Bookmark(
            tenant=self.tenant,
            of=self.of,
            number=self.number,
            open=dict(self.open),
            done=dict(self.done),
            counts=counts,
            steps=self._steps.all(),
            ended=self.ended,
            floor=self.floor,
        )

    def _step(self, job_id: str, standing: str) -> bytes:
        self.number += 1
        if job_id:
            self._steps.add(job_id, self._standing(job_id))
            if standing.startswith("="):
                self.open.pop(job_id, None)
                self._done(job_id, standing[1:])
            else:
                self.open[job_id] = standing
        else:
            self._steps.add("", "")
        return b"%s-%d" % (self.name.encode("ascii"), self.number)

    def _standing(self, job_id: str) -> str:
        return f"={self.done[job_id]}" if job_id in self.done else self.open.get(job_id, NEW)

    def _done(self, job_id: str, status: str) -> None:
        if was := self.done.pop(job_id, None):
            self.counts[was] -= 1
        self.done[job_id] = status
        self.counts[status] += 1
        if len(self.done) > DONE_REMEMBERED:
            del self.done[next(iter(self.done))]
