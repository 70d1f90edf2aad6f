"""Params that nobody but their task shall see: which ones a schema marks, and how they are kept out of what leaves."""

from milepost.secrets.mask import HIDDEN, MASKS, Mask, Masks
from milepost.secrets.schema import has_secrets, redacted, secrets_in, without_secret_defaults

__all__ = [
    "HIDDEN",
    "MASKS",
    "Mask",
    "Masks",
    "has_secrets",
    "redacted",
    "secrets_in",
    "without_secret_defaults",
]
