"""What the holder of a token may read. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JOBS_MOST = 100
"""Jobs that one token may name: with so many it is 2.3 kB long, and addresses have limits (8 kB in nginx)."""

PLAIN_CHARACTERS = 600
"""Ids that are longer than this together are named by digests, 17 characters each."""

DAY_SECONDS = 86_400

LAST_MOMENT = 253_402_300_799
"""The end of the year 9999: later ones cannot be said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Some jobs of one tenant, named by ids, by a tag or by a batch, or all of them; until a moment.

    `jobs` holds ids, or digests of ids, which begin with `#` (no id does). Times are seconds since 1970.
    """

    tenant: str
    expires_at: int
    jobs: frozenset[str] = frozenset()
    tag: str | None = None
    batch: str | None = None
    everything: bool = False

    @property
    def asks_for_the_job(self) -> bool:
        """Whether an id is not enough to decide: the job's tags or its batch have to be looked up."""
        return self.tag is not None or self.batch is not None

    def allows_job(self, job_id: str, *, tags: Collection[str] = (), batch: str | None = None) -> bool:
        """Whether this job may be read. `tags` and `batch` are the job's own, where `asks_for_the_job`."""
        if self.tag is not None:
            return self.tag in tags
        if self.batch is not None:
            return self.batch == batch
        return self.everything or job_id in self.jobs or digest(job_id) in self.jobs

    def allows_selection(
        self, *, jobs: Sequence[str] = (), tags: Sequence[str] = (), batches: Sequence[str] = ()
    ) -> bool:
        """Whether one stream of these may be read; nothing named means every job of the tenant."""
        if self.everything:
            return True
        if self.tag is not None:
            return (list(jobs), list(tags), list(batches)) == ([], [self.tag], [])
        if self.batch is not None:
            return (list(jobs), list(tags), list(batches)) == ([], [], [self.batch])
        return bool(jobs) and not tags and not batches and all(self.allows_job(one) for one in jobs)

    def __str__(self) -> str:
        if self.everything:
            return "all jobs"
        if self.tag is not None:
            return f"jobs with the tag {self.tag}"
        return f"jobs of the batch {self.batch}" if self.batch is not None else f"{len(self.jobs)} job(s)"

    def to_claims(self) -> dict[str, Any]:
        """Return what a token says of itself."""
        said: dict[str, Any] = {"exp": self.expires_at}
        if self.jobs:
            said["jobs"] = named(self.jobs)
        if self.tag is not None:
            said["tag"] = self.tag
        if self.batch is not None:
            said["batch"] = self.batch
        if self.everything:
            said["all"] = True
        return said

    @classmethod
    def from_claims(cls, claims: Mapping[str, Any], tenant: str) -> Grant:
        """Read what a token says. Raises `ValueError` unless it names jobs in exactly one way."""
        jobs, tag, batch = claims.get("jobs", []), claims.get("tag"), claims.get("batch")
        everything, expires_at = claims.get("all", False), claims.get("exp")
        named_jobs = isinstance(jobs, list) and all(isinstance(one, str) for one in jobs)
        texts = all(one is None or (isinstance(one, str) and one) for one in (tag, batch))
        if not named_jobs or not texts or not isinstance(everything, bool) or type(expires_at) is not int:
            raise ValueError("a claim is of another type than it should be")
        if not 0 <= expires_at <= LAST_MOMENT:
            raise ValueError("its end is no moment, in seconds since 1970")
        if [bool(jobs), tag is not None, batch is not None, everything].count(True) != 1:
            raise ValueError("it names jobs in no way, or in several")
        return cls(
            tenant=tenant,
            expires_at=expires_at,
            jobs=frozenset(jobs),
            tag=tag,
            batch=batch,
            everything=everything,
        )


def named(job_ids: Collection[str]) -> list[str]:
    """Return ids as they are where they are few, else their digests: a token has to fit into an address."""
    ids = sorted(job_ids)
    return ids if sum(map(len, ids)) <= PLAIN_CHARACTERS else [digest(one) for one in ids]


def digest(job_id: str) -> str:
    """Return `#` and 96 bits of SHA-256: nobody finds another id of the same tenant that has these."""
    return "#" + base64.urlsafe_b64encode(hashlib.sha256(job_id.encode()).digest()[:12]).decode()
