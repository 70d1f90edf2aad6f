"""Exit codes, and how an error becomes one sentence on standard error."""

from __future__ import annotations

OK = 0
JOB_FAILED = 1  # also: any other failure
USAGE = 2  # wrong arguments, params or key, refused settings, a part that is not installed
NOT_FOUND = 3
UNREACHABLE = 4  # also: something answers there and cannot do its work (5xx)
INTERRUPTED = 130
READER_GONE = 141  # as of a program that SIGPIPE has ended
TERMINATED = 143

HELP = (
    "Exit codes: 0 ok; 1 the job failed, was cancelled or expired (or another failure); "
    "2 wrong usage, params or key, or a refused setting; 3 not found; 4 the server cannot be reached; "
    "130 interrupted; 141 nobody reads the output any more; 143 terminated."
)


def code_of(error: Exception) -> int:
    """Return the exit code for an error of Milepost's own."""
    from milepost.client.errors import Gone, Invalid, Refused, Unauthorized, Unreachable
    from milepost.errors import BadReport, JobNotFound, MissingExtra, SettingsError

    match error:
        case SettingsError() | MissingExtra() | BadReport() | Invalid() | Unauthorized():
            return USAGE
        case JobNotFound() | Gone():
            return NOT_FOUND
        case Unreachable():
            return UNREACHABLE
        case Refused(status=status) if status >= 500:
            return UNREACHABLE
        case _:
            return JOB_FAILED
