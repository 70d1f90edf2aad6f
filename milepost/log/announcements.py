"""What the log announces of all jobs on one channel: that there is a new one, that one was forgotten.

For those who follow a tag, a batch or all jobs of a tenant: they cannot subscribe to jobs that they do not know. Like
everything that Redis publishes it may be lost, and whoever depends on it looks into the records now and then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from milepost.tenants import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Announcement:
    """A job was `created` (handed to the workers, the first time) or `forgotten` (deleted)."""

    what: Literal["created", "forgotten"]
    id: str
    tenant: str
    batch: str | None = None
    tags: tuple[str, ...] = ()

    @classmethod
    def parse(cls, message: bytes) -> Announcement | None:
        """Read one; None for what a newer version may announce."""
        said = json.loads(message)
        if said["what"] not in ("created", "forgotten"):
            return None
        tenant = said["tenant"] or DEFAULT_TENANT  # of a job from before there were tenants
        return cls(said["what"], said["id"], tenant, said.get("batch"), tuple(said.get("tags") or ()))
