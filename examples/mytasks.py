# examples/mytasks.py
import time

from milepost import progress, task


@task
def greet(names: list[str], pause: float = 0.5) -> int:
    """Greet everybody, one after the other."""
    for name in progress.track(names, unit="people"):
        time.sleep(pause)
        progress.log(f"Hello {name}")
    return len(names)
