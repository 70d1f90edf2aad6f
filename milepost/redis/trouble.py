"""What goes wrong with Redis: what passes by itself, and what somebody has to put right."""

from __future__ import annotations

import ssl

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

# OSError: a refused connection surfaces as the builtin one, and without it nothing is retried (arq.md §2).
TRANSIENT: list[type[Exception]] = [RedisConnectionError, RedisTimeoutError, OSError]
UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OSError)
"""What a command raises when Redis cannot be reached; everything else is an answer."""


class MasterMoved(RedisConnectionError):
    """Whom this connection leads to is no longer the master; the next one finds out who is."""


class NoMaster(RedisConnectionError):
    """The Sentinels name no master at the moment."""


def is_transient(error: Exception) -> bool:
    """Whether the same command may succeed later: the server is away, full, read-only, busy or newly started."""
    if not isinstance(error, ResponseError):
        return isinstance(error, UNREACHABLE)
    # redis-py cuts the code off the text of the errors that it has a class for.
    return isinstance(error, NoScriptError | OutOfMemoryError | ReadOnlyError) or _said(error).startswith(
        ("BUSY", "CLUSTERDOWN", "MASTERDOWN", "MISCONF", "NOREPLICAS", "TRYAGAIN")
    )


def _said(error: ResponseError) -> str:
    """Return what the server said: of a pipeline redis-py puts the command before it, and brackets around it."""
    return str(error).rpartition(" of pipeline caused error: ")[2].lstrip("('\"")


def is_demotion(error: object) -> bool:
    """Whether this answer says that the server is a replica, or has just become one."""
    return isinstance(error, ReadOnlyError) or (
        isinstance(error, ResponseError) and str(error).startswith("UNBLOCKED force")
    )


def refusal(error: BaseException | None) -> Exception | None:
    """Return what somebody has to put right: a password, a right, a certificate. None if waiting may help.

    redis-py wraps what it meets while it connects, and takes a wrong password for a lost connection.
    """
    while error is not None:
        if isinstance(
            error, AuthenticationError | AuthorizationError | NoPermissionError | ssl.SSLCertVerificationError
        ):
            return error
        error = error.__cause__ or error.__context__
    return None


def words(error: BaseException) -> str:
    """Return what an error says, on one line and without its full stop."""
    return " ".join(str(error).split()).removesuffix(".") or type(error).__name__
