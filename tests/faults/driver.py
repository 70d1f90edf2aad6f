"""Plays rounds in several houses at a time, counts what came of them, and keeps what a breach left behind."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tests.faults.house import House
from tests.faults.kinds import Kind
from tests.faults.rounds import Verdict, play
from tests.faults.scenarios import HOUSES, SCENARIOS

MOST_REPEATS = 2
"""A round that the machine disturbed and that broke a law is played again at most so often."""


@dataclass
class Tally:
    """What the rounds of one scenario came to."""

    rounds: int = 0
    broken: int = 0
    repeated: int = 0
    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)


@dataclass
class Report:
    """What all rounds came to; `breaches` by the name of the round."""

    seed: int
    tallies: dict[str, Tally] = field(default_factory=dict)
    breaches: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0

    def add(self, verdict: Verdict) -> None:
        tally = self.tallies.setdefault(verdict.scenario, Tally())
        tally.rounds += 1
        tally.seconds += verdict.seconds
        tally.outcomes.update(_outcome(story) for story in verdict.stories)
        if verdict.breaches:
            tally.broken += 1
            self.breaches[f"{verdict.scenario}:{verdict.number}"] = _told(verdict)

    def table(self) -> str:
        """Return the count of every outcome, a line for each scenario."""
        width = max((len(name) for name in self.tallies), default=8)
        lines = [f"{'scenario':{width}}  rounds  broken  again  s/round  jobs by outcome"]
        for name, tally in sorted(self.tallies.items()):
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(tally.outcomes.items()))
            lines.append(
                f"{name:{width}}  {tally.rounds:6}  {tally.broken:6}  {tally.repeated:5}  "
                f"{tally.seconds / max(1, tally.rounds):7.1f}  {outcomes}"
            )
        rounds = sum(tally.rounds for tally in self.tallies.values())
        jobs = sum(sum(tally.outcomes.values()) for tally in self.tallies.values())
        lines.append(
            f"{rounds} rounds, {jobs} jobs, {len(self.breaches)} rounds broke a law; "
            f"seed {self.seed}, {self.seconds:.0f} s"
        )
        return "\n".join(lines)


def _told(verdict: Verdict) -> list[str]:
    return [f"{job}: {breach}" for job, found in verdict.breaches.items() for breach in found]


def _outcome(story: object) -> str:
    outcome, attempt = story.outcome, story.job.get("attempt")  # type: ignore[attr-defined]
    return f"{outcome} at attempt {attempt}" if attempt and attempt > 1 else str(outcome)


def plan(names: Sequence[str], rounds: int, first: int = 0) -> list[tuple[str, int]]:
    """Return which rounds to play: all scenarios in turn, so that none is left out of a short run."""
    return [(names[n % len(names)], first + n // len(names)) for n in range(rounds)]


class Driver:
    """Plays `plan` in `houses` houses below `folder`; what broke a law is kept in `kept`.

    `postgres`: the records of every house are in a PostgreSQL of its own. `long`: outages last as in life.
    """

    def __init__(
        self,
        folder: Path,
        kept: Path,
        *,
        seed: int,
        houses: int = 3,
        postgres: bool = False,
        long: bool = False,
    ) -> None:
        self.folder, self.kept, self._houses = folder, kept, houses
        self._postgres, self._long = postgres, long
        self.report = Report(seed)
        self._left: list[tuple[str, int]] = []
        self._open: set[Kind] = set()

    async def run(self, plan: Sequence[tuple[str, int]]) -> Report:
        began = time.monotonic()
        self._left = list(plan)
        async with asyncio.TaskGroup() as group:
            for number in range(min(self._houses, len(plan))):
                group.create_task(self._inhabit(number))
        self.report.seconds = time.monotonic() - began
        return self.report

    async def _inhabit(self, number: int) -> None:
        """Play in one house; in the next one when a round has left it beyond repair, or another kind is needed."""
        moved = 0
        while self._left:
            kind = self._scarcest()
            folder = self.folder / f"house-{number}-{moved}"
            async with House(folder, replace(kind, postgres=True) if self._postgres else kind) as house:
                sound = True
                while sound and (taken := self._take_next(kind)):
                    sound = await self._play(house, *taken)
            moved += 1

    def _scarcest(self) -> Kind:
        """Return the kind of house for the round that is next, of those that nobody plays yet if there are such."""
        kinds = [HOUSES[name] for name, _ in self._left]
        kind = next((kind for kind in kinds if kind not in self._open), kinds[0])
        self._open.add(kind)
        return kind

    def _take_next(self, kind: Kind) -> tuple[str, int] | None:
        found = next((one for one in self._left if HOUSES[one[0]] == kind), None)
        if found is not None:
            self._left.remove(found)
        return found

    async def _play(self, house: House, name: str, number: int) -> bool:
        """Play one round, again if the machine disturbed it. False when the house is beyond repair."""
        try:
            verdict = await self._judged(house, name, number)
            for _ in range(MOST_REPEATS):
                if not (verdict.breaches and verdict.disturbed):
                    break
                self.report.tallies.setdefault(name, Tally()).repeated += 1
                told = f"{name}:{number} is played again: the machine stood still for {verdict.lag_seconds:.1f} s"
                print(f"\n{told}, and it broke a law:", *_told(verdict), sep="\n  ", file=sys.stderr)
                verdict = await self._judged(house, name, number)
        except Exception:  # noqa: BLE001 - whatever it is, it is told, and the other rounds go on
            self._take(house, Verdict(name, number, breaches={"house": [traceback.format_exc()]}))
            return False
        self._take(house, verdict)
        return True

    async def _judged(self, house: House, name: str, number: int) -> Verdict:
        return await play(house, name, number, SCENARIOS[name], self.report.seed, long=self._long)

    def _take(self, house: House, verdict: Verdict) -> None:
        self.report.add(verdict)
        if verdict.breaches:
            self._keep(house, verdict)
            told = self.report.breaches[f"{verdict.scenario}:{verdict.number}"]
            print(f"\n{verdict.scenario}:{verdict.number} broke a law:", *told, sep="\n  ", file=sys.stderr)

    def _keep(self, house: House, verdict: Verdict) -> None:
        """Copy the logs of the house and write down the stories."""
        folder = self.kept / f"{verdict.scenario}-{verdict.number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for log in [*house.folder.glob("*.log"), *house.folder.glob("*/*.log")]:
            shutil.copy(log, folder)
        stories = {story.name: asdict(story) for story in verdict.stories}
        text = json.dumps({"breaches": verdict.breaches, "stories": stories}, indent=1, default=sorted)
        (folder / "stories.json").write_text(text)
