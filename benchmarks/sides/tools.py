"""Where the peers' programs are: `dev.py bench` and `dev.py test` find or bring them, and say so here."""

from __future__ import annotations

import os


def tool(variable: str) -> str:
    """Return the path that a variable names. Raises `RuntimeError` that says who sets it."""
    found = os.environ.get(variable)
    if not found:
        raise RuntimeError(
            f"{variable} is not set, so this peer cannot be started; `python3 dev.py bench` finds or brings the "
            "peers' programs and sets it."
        )
    return found
