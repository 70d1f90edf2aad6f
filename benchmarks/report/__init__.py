"""What rows found, in the three forms that it is read in: on the terminal, in RESULTS.md, and as a picture."""

from benchmarks.report.table import Cell, Reach, Table, times

__all__ = ["Cell", "Reach", "Table", "times"]
