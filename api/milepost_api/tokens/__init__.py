"""Stream tokens: what a browser gets instead of an API key. Short-lived, read-only, for some jobs only."""

from milepost_api.tokens.grant import Grant
from milepost_api.tokens.seal import BadToken, Seal, Seals

__all__ = ["BadToken", "Grant", "Seal", "Seals"]
