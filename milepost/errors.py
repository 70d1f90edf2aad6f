"""What can go wrong inside Milepost, each as a sentence its reader can act on.

The HTTP face maps these types to status codes in one place (`milepost_api.problems`);
nothing in this package knows about HTTP.
"""

from __future__ import annotations


class MilepostError(Exception):
    """Something went wrong inside Milepost."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class JobNotFound(MilepostError):
    """There is no job with this id, or it has expired."""


class CursorLost(MilepostError):
    """The history no longer holds this cursor; read the snapshot and start again."""


class BadReport(MilepostError, ValueError):
    """A progress report holds a value that cannot be sent."""


class ParamsError(MilepostError, ValueError):
    """The params do not fit the task."""


class TaskDefinitionError(MilepostError):
    """A task cannot be registered the way it is written."""


class ProcessDied(MilepostError):
    """The process of a task (`process=True`) ended before the task did."""


class MemoryLimitExceeded(ProcessDied, MemoryError):
    """The process of a task needed more memory than its limit allows."""


class BrokenRelay(MilepostError):
    """The process of a task said something that is no report."""


class UnknownTask(MilepostError):
    """No worker has announced a task with this name."""


class StoreUnavailable(MilepostError):
    """Redis or the database cannot be reached at the moment."""


class SettingsError(MilepostError):
    """A setting is missing or wrong."""


class MissingExtra(MilepostError):
    """A part of Milepost that this command needs is not installed."""
