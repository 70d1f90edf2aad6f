"""Tasks that come with Milepost, loaded by `milepost up`: to try it out, and two that are useful as they are."""

from milepost_worker.builtin import demo

__all__ = ["demo"]
