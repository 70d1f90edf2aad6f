"""`python3 dev.py bench`: the table of what was promised, measured here and now, beside its peers."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence

from benchmarks import machine
from benchmarks.bench import Bench, open_bench
from benchmarks.processes import CLIENT_CORE, pin, raise_file_limit
from benchmarks.report import Table
from benchmarks.report.results import RESULTS, write
from benchmarks.rows import ROWS
from benchmarks.sides import sides


def main() -> None:
    """Measure the rows wanted, one after the other; all of them, or those to be written, make RESULTS.md."""
    wanted, written = _wanted()
    raise_file_limit()
    with open_bench() as bench:
        words = machine.words(bench.url)
        print("\n".join(f"{name:10} {text}" for name, text in words))
        began = time.monotonic()
        tables = [table for row in wanted for table in _measure(row, bench)]
        print(f"\nAll of it took {(time.monotonic() - began) / 60:.1f} minutes.")
    if written or list(wanted) == list(ROWS):
        write(words, tables, [(side.name, side.what) for side in sides()])
        print(f"Written: {RESULTS.parent.name}/{RESULTS.name} and its picture.")


def _wanted() -> tuple[Sequence[str], bool]:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument(
        "rows", nargs="*", metavar="ROW", help=f"which rows: {', '.join(ROWS)} (default: all)"
    )
    parser.add_argument("--write", action="store_true", help="write RESULTS.md of these rows alone")
    given = parser.parse_args()
    wanted: list[str] = given.rows
    for row in wanted:
        if row not in ROWS:
            parser.error(f"there is no row {row!r}; choose from {', '.join(ROWS)}")
    return wanted or list(ROWS), bool(given.write)


def _measure(row: str, bench: Bench) -> list[Table]:
    pin(CLIENT_CORE)
    began = time.monotonic()
    tables = ROWS[row](bench)
    for table in tables:
        print(f"\n{table.text()}")
    print(f"  ({row}: {time.monotonic() - began:.0f} s)", flush=True)
    return tables


if __name__ == "__main__":
    main()
