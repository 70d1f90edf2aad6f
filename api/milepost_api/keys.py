"""API keys as they are written in settings: which there are, and whose each is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from milepost.tenants import DEFAULT_TENANT, is_tenant

NAME_RULE = "a tenant is named by 1 to 64 of a-z, 0-9, _ and -, beginning with a letter or a digit"


def read_keys(text: str) -> Mapping[str, str]:
    """Return the tenant of each key of `KEY` and `TENANT:KEY` entries, separated by commas.

    The first colon of an entry ends its tenant: a key that contains one is written with its tenant, `default`
    if it is nobody's in particular. Raises `ValueError` with a sentence that shows no key.
    """
    tenant_of: dict[str, str] = {}
    for entry in _entries(text):
        tenant, key = _parts(entry)
        before = tenant_of.setdefault(key, tenant)
        if before != tenant:
            raise ValueError(
                f"MILEPOST_API_KEYS: the tenants {before!r} and {tenant!r} are given the same key, "
                "which would not tell whose jobs are asked for; give each its own"
            )
    return tenant_of


def _entries(text: str) -> Iterable[str]:
    return (entry.strip() for entry in text.split(",") if entry.strip())


def _parts(entry: str) -> tuple[str, str]:
    if not entry.isascii() or not entry.isprintable() or " " in entry:
        raise ValueError("MILEPOST_API_KEYS: a key is plain ASCII without spaces, or no header can carry it")
    tenant, colon, key = entry.partition(":")
    if not colon:
        return DEFAULT_TENANT, entry
    if not is_tenant(tenant):
        # What stands there may be half of a key, so it is not quoted.
        raise ValueError(
            f"MILEPOST_API_KEYS: what stands before the colon of an entry names no tenant ({NAME_RULE}); "
            f"write a key that contains a colon as {DEFAULT_TENANT}:KEY"
        )
    if not key:
        raise ValueError(f"MILEPOST_API_KEYS: the tenant {tenant!r} is given an empty key; write TENANT:KEY")
    return tenant, key
