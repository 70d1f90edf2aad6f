"""Tasks that come with Milepost, loaded by `milepost up`: to try it out, and two that are useful as they are."""

from milepost_worker.builtin import csv, demo, files

__all__ = ["csv", "demo", "files"]
