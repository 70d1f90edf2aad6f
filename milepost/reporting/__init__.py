"""Progress as a task reports it: the handle to call, the meter that reads it, the seam to whoever sends it."""

from milepost.reporting.estimator import Estimator
from milepost.reporting.handle import ProgressHandle, progress
from milepost.reporting.meter import Meter, Step
from milepost.reporting.records import ProgressHandler, capture_logs
from milepost.reporting.relay import Relay, RelayReporter
from milepost.reporting.replay import Replay
from milepost.reporting.reporter import HERE, Place, Reporter, Sink, Stopped
from milepost.reporting.threads import ContextExecutor

__all__ = [
    "HERE",
    "ContextExecutor",
    "Estimator",
    "Meter",
    "Place",
    "ProgressHandle",
    "ProgressHandler",
    "Relay",
    "RelayReporter",
    "Replay",
    "Reporter",
    "Sink",
    "Step",
    "Stopped",
    "capture_logs",
    "progress",
]
