"""`python3 dev.py faults`: several hundred rounds, the count of every outcome, exit code 1 if a law was broken."""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import tempfile
from pathlib import Path

from tests.faults.driver import Driver, plan
from tests.faults.scenarios import SCENARIOS, SQLITE_ONLY
from tests.support.process import ROOT

KEPT = ROOT / "test-artifacts" / "faults"


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev.py faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=320, help="how many, over all scenarios (default: 320)")
    parser.add_argument("--seed", type=int, help="the same seed draws the same faults at the same moments")
    parser.add_argument(
        "--only", action="append", metavar="NAME[:ROUND]", help="this scenario, or this round of it"
    )
    parser.add_argument("--houses", type=int, default=3, help="how many at a time (default: 3)")
    parser.add_argument("--postgres", action="store_true", help="records in PostgreSQL instead of SQLite")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    given = options(arguments)
    if given.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:20} {(scenario.__doc__ or '').splitlines()[0]}")
        return 0
    wanted = [one.partition(":") for one in given.only or _all(postgres=given.postgres)]
    if unknown := sorted({name for name, _, _ in wanted} - set(SCENARIOS)):
        print(f"There is no scenario {unknown[0]!r}; there are {', '.join(SCENARIOS)}.", file=sys.stderr)
        return 2
    if given.postgres and (refused := sorted({name for name, _, _ in wanted} & SQLITE_ONLY)):
        print(f"{refused[0]} is about SQLite; leave --postgres out.", file=sys.stderr)
        return 2
    single = [(name, int(number)) for name, _, number in wanted if number]
    several = [name for name, _, number in wanted if not number]
    rounds = single + (plan(several, given.rounds) if several else [])
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    print(f"{len(rounds)} rounds, seed {seed}", flush=True)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    return asyncio.run(_run(rounds, seed, given.houses, postgres=given.postgres))


def _all(*, postgres: bool) -> list[str]:
    return [name for name in SCENARIOS if not (postgres and name in SQLITE_ONLY)]


async def _run(rounds: list[tuple[str, int]], seed: int, houses: int, *, postgres: bool) -> int:
    with tempfile.TemporaryDirectory(prefix="milepost-faults-") as folder:
        driver = Driver(Path(folder), KEPT, seed=seed, houses=houses, postgres=postgres, long=True)
        report = await driver.run(rounds)
    print(report.table())
    if report.breaches:
        print(f"Stories and logs are in {KEPT.relative_to(ROOT)}. To repeat:")
        for name in report.breaches:
            print(f"  python3 dev.py faults --seed {seed} --only {name}")
    return 1 if report.breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
