"""Whose a job is: tenants share an installation and see nothing of each other's jobs."""

from __future__ import annotations

import re
from typing import Final

DEFAULT_TENANT: Final = "default"
"""Whose jobs they are where keys name no tenant, or where there are no keys."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}", re.ASCII)


def is_tenant(name: str) -> bool:
    """Whether `name` can name a tenant: 1 to 64 of a–z, 0–9, `_` and `-`, the first a letter or a digit."""
    return _NAME.fullmatch(name) is not None
