"""Signing tokens, and telling ours from everybody else's: JSON Web Tokens (RFC 7519) under HMAC-SHA256."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from milepost.tenants import DEFAULT_TENANT, is_tenant
from milepost_api.tokens.grant import Grant

AUDIENCE = "milepost-stream"
ALGORITHM = "HS256"
LONGEST = 8192
"""Characters of a token: what is longer is not ours, and not worth a hash."""

_OPEN = "milepost without keys"
"""Where there are no keys everybody may do everything, so what this signs keeps nobody out: it lets pages be tried."""


class BadToken(Exception):
    """Whoever signed this token, it was none of our keys."""


@dataclass(frozen=True, slots=True)
class Seal:
    """One signing key. Of one that was derived from an API key the tenant is known; else the token names it."""

    kid: str
    secret: bytes
    tenant: str | None = None

    def sign(self, grant: Grant) -> str:
        claims = {"aud": AUDIENCE, **grant.to_claims()}
        if self.tenant is None:
            claims["tenant"] = grant.tenant
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM, headers={"kid": self.kid})


class Seals:
    """The signing keys of this installation: every API process derives the same from the same settings.

    With `secrets` the first one signs and all are good. Without, each API key has a seal of its own: a key that
    is taken back takes its tokens with it, and no other key's.
    """

    def __init__(self, tenant_of: Mapping[str, str], secrets: Sequence[str] = ()) -> None:
        self._given = tuple(_seal(secret.encode()) for secret in secrets)
        self._derived = {key.encode(): _derived(key, tenant) for key, tenant in tenant_of.items()}
        self._without_keys: tuple[Seal, ...] = ()
        if not tenant_of and not secrets:
            self._without_keys = (_derived(_OPEN, DEFAULT_TENANT),)
        self._by_kid = {seal.kid: seal for seal in self._all()}

    def of(self, api_key: bytes | None) -> Seal:
        """Return what signs for the holder of an API key; without keys, for everybody."""
        if self._given:
            return self._given[0]
        return self._without_keys[0] if api_key is None else self._derived[api_key]

    def open(self, token: str) -> Grant:
        """Return what a token grants, be it expired or not. Raises `BadToken`."""
        if len(token) > LONGEST:
            raise BadToken("it is too long to be one")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
            # A token that the owner of the secret has signed by himself need not name it.
            tried = self._given if kid is None else filter(None, [self._by_kid.get(str(kid))])
            seal, claims = _verified(token, tried)
            return Grant.from_claims(claims, seal.tenant or _tenant(claims))
        except (jwt.InvalidTokenError, ValueError, RecursionError) as error:  # of a header that nests deeply
            raise BadToken("it was cut short, or what signed it is not known here any more") from error

    def _all(self) -> Iterable[Seal]:
        # Where a secret is set no API key signs: else a guessable key would be a way around it.
        return self._given or (*self._derived.values(), *self._without_keys)


def looks_like_a_token(text: str) -> bool:
    """Whether it has the form of a JSON Web Token: three parts, the first a JSON object."""
    return text.startswith("eyJ") and text.count(".") == 2


def _verified(token: str, seals: Iterable[Seal]) -> tuple[Seal, dict[str, Any]]:
    # When it expires is asked by whoever lets it in: resumed streams may still go on then.
    options: Any = {"require": ["exp", "aud"], "verify_exp": False, "verify_iat": False}
    for seal in seals:
        try:
            return seal, jwt.decode(
                token, seal.secret, algorithms=[ALGORITHM], audience=AUDIENCE, options=options
            )
        except jwt.InvalidSignatureError:
            continue
    raise jwt.InvalidSignatureError


def _tenant(claims: Mapping[str, Any]) -> str:
    tenant = claims.get("tenant", DEFAULT_TENANT)
    if not isinstance(tenant, str) or not is_tenant(tenant):
        raise ValueError("its tenant is none")
    return tenant


def _derived(api_key: str, tenant: str) -> Seal:
    return _seal(hmac.digest(api_key.encode(), b"milepost stream token", "sha256"), tenant)


def _seal(secret: bytes, tenant: str | None = None) -> Seal:
    """Name the key by what tells nothing of it."""
    name = hmac.digest(secret, b"milepost key id", "sha256")[:6]
    return Seal(base64.urlsafe_b64encode(name).decode(), secret, tenant)
