"""Whether Redis lets us in: said at the start, in one sentence, by whoever starts."""

from __future__ import annotations

import ssl

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from milepost.errors import SettingsError
from milepost.log.rights import command_of, refused_calls
from milepost.redis import UNREACHABLE, is_transient, place, user_of
from milepost.redis.trouble import refusal, words

SHOWN = 6
ADVICE = 'docs/operations.md, "Access control", has the rules that are needed'


async def knock(redis: Redis, url: str) -> Exception | None:
    """Return None when Redis answers and lets us do all that we need; else what may pass by itself.

    Raises `SettingsError` when waiting will not help: a wrong password, a right that is missing, a certificate that
    is not trusted, a database that is not there.
    """
    try:
        await redis.ping()
        refused = await refused_calls(redis)
    except (RedisError, OSError) as error:
        if refusal(error) is None and (isinstance(error, UNREACHABLE) or is_transient(error)):
            return error
        raise SettingsError(f"MILEPOST_REDIS_URL: {_why(error, url)}.") from error
    if refused:
        raise SettingsError(f"MILEPOST_REDIS_URL: {_lacks(refused, url)}.")
    return None


def _why(error: Exception, url: str) -> str:
    match refusal(error):
        case ssl.SSLCertVerificationError() as untrusted:
            said = untrusted.verify_message or words(untrusted)
            return (
                f"the certificate of {place(url)} is not trusted: {said}; name the file of its authority, "
                "?ssl_ca_certs=/path/to/ca.pem"
            )
        case NoPermissionError() as lacking:
            return f"{place(url)} does not let the user {user_of(url)!r} do what is needed: {words(lacking)}; {ADVICE}"
        case AuthenticationError() as wrong:
            return f"{place(url)} does not let us in: {words(wrong)}"
    return f"{place(url)} does not let us in: {words(error)}"


def _lacks(refused: list[str], url: str) -> str:
    shown = ", ".join(refused[:SHOWN]) + (f" and {len(refused) - SHOWN} more" if len(refused) > SHOWN else "")
    commands = " ".join(f"+{command_of(call)}" for call in refused[:SHOWN])
    return (
        f"{place(url)} does not let the user {user_of(url)!r} call {shown}; give it the commands ({commands}), "
        f"the keys and the channels: {ADVICE}"
    )
