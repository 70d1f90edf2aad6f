"""Looks after jobs whose worker has gone silent."""

from __future__ import annotations

import structlog

from milepost.log import JobLog
from milepost_api.caretaker.patience import Patience

MOST = 100
log = structlog.get_logger()


class Leases:
    """Takes lost leases away: the job is retried, or ends. The script that does it checks the lease again."""

    name = "leases"
    every_seconds = 1.0

    def __init__(
        self, joblog: JobLog, patience: Patience, *, lease_seconds: float, silence_seconds: float
    ) -> None:
        self._log, self._patience = joblog, patience
        self._lease, self._silence = lease_seconds, silence_seconds

    async def round(self) -> None:
        """Look once."""
        while self._patience.is_over and await self._lapse_some():
            pass

    async def _lapse_some(self) -> bool:
        """Take away overdue leases. True when there may be more of them."""
        times = {"lease_seconds": self._lease, "silence_seconds": self._silence}
        found = await self._log.old_leases(**times, most=MOST)
        changed = False
        for job_id in found:
            self._patience.heard()
            if not self._patience.is_over:
                return False  # the answer was long in coming: nobody else was heard meanwhile either
            outcome = await self._log.lapse(job_id, **times)
            if outcome == "early":
                return False  # Redis was restarted: for all of them
            if outcome in ("retrying", "failed", "cancelled"):
                log.warning("a worker was lost", job_id=job_id, outcome=outcome)
            changed = changed or outcome not in ("alive", "stalled")
        return changed and len(found) == MOST
