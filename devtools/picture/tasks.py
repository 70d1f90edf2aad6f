"""What the worker of the picture does: the task of the README, with pictures that take their time."""

from __future__ import annotations

import random
import time

from milepost import progress, task


@task
def resize(pictures: int) -> int:
    """Resize pictures."""
    for _ in progress.track(range(pictures), unit="pictures"):
        time.sleep(random.uniform(0.1, 0.28))
    return pictures
