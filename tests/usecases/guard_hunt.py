"""Finds a check that kills each mutant of a condition: a line of moves.txt that differs, or a test that fails.

`python -m tests.usecases.guard_hunt` writes guard_witnesses.txt: each mutant with the first check that kills it.
test_guard_mutants.py runs these checks and searches only for mutants that they do not kill.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.usecases import moves
from tests.usecases.guard_mutants import GuardMutant, guard_mutants, probed
from tests.usecases.in_memory import PASSED, TIMED_OUT, EndlessError, InMemoryTest, Stage, find_tests, interrupted_after
from tests.usecases.situations import Bench, Situation, build

WITNESSES = Path(__file__).with_name("guard_witnesses.txt")

MODULES = (
    "tests.domain.test_budget",
    "tests.domain.test_circuit_breaker",
    "tests.domain.test_failures",
    "tests.domain.test_state_machine",
    "tests.domain.test_provenance",
    "tests.domain.test_rungs",
    "tests.usecases.studies.test_budgets",
    "tests.usecases.dispatch.test_claim",
    "tests.usecases.dispatch.test_too_large",
    "tests.usecases.maintenance.test_clock_steps",
    "tests.usecases.test_decisions",
    "tests.usecases.studies.test_deletion",
    "tests.usecases.studies.test_edit",
    "tests.usecases.test_catalogue",
    "tests.usecases.attempts.test_failures",
    "tests.usecases.attempts.test_finish",
    "tests.usecases.trials.test_forks",
    "tests.usecases.maintenance.test_host_exclusions",
    "tests.usecases.maintenance.test_quarantine",
    "tests.usecases.test_isolation",
    "tests.usecases.attempts.test_late_stop",
    "tests.usecases.maintenance.test_leases",
    "tests.usecases.attempts.test_mid_epoch_checkpoints",
    "tests.usecases.attempts.test_provenance",
    "tests.usecases.trials.test_release",
    "tests.usecases.remedies.test_apply",
    "tests.usecases.maintenance.test_removal",
    "tests.usecases.attempts.test_report",
    "tests.usecases.maintenance.test_restore",
    "tests.usecases.attempts.test_resume",
    "tests.usecases.attempts.test_rungs",
    "tests.usecases.attempts.test_slow_pruners",
    "tests.usecases.studies.test_preflight",
    "tests.usecases.studies.test_stages",
    "tests.usecases.test_stale_decisions",
    "tests.usecases.studies.test_studies",
    "tests.usecases.test_study_faults",
    "tests.usecases.studies.test_teachers",
)
"""The tests that a mutant is shown, beside moves.txt: those of what the mutants change."""

ENDLESS_SECONDS = 15.0
"""After this time a mutant counts as one that loops for ever; a test has 10 s."""

_NUM_MOVES = 12
"""Lines of moves.txt, each of another call, that a search asks before it asks the tests."""

Moved = tuple[str, str]
Check = Moved | InMemoryTest
"""A situation and a call, as moves.txt has them, or a test."""


@dataclass
class Hunt:
    """The checks, and where they take place."""

    bench: Bench
    stage: Stage
    situations: dict[str, Situation]
    expected: dict[Moved, str]
    tests: dict[str, InMemoryTest]

    def check_of(self, name: str) -> Check | None:
        """The check of that name in guard_witnesses.txt; None where there is none any more."""
        situation, _, call = name.partition(", ")
        return self.tests.get(name) or ((situation, call) if (situation, call) in self.expected else None)

    async def passes(self, check: Check) -> bool:
        """Whether a call does what moves.txt says, or a test passes."""
        return await self._play(check) == PASSED

    async def _play(self, check: Check) -> str:
        if isinstance(check, InMemoryTest):
            return await self.stage.play(check)
        situation, call = check
        is_same = await moves.play(self.bench, self.situations[situation], call) == self.expected[check]
        return PASSED if is_same else "differs"

    async def kills(self, check: Check, mutant: GuardMutant) -> bool:
        """Whether a check distinguishes a mutant from the code; one that takes too long does not."""
        try:
            with mutant.applied(), interrupted_after(ENDLESS_SECONDS):
                return await self._play(check) not in (PASSED, TIMED_OUT)
        except EndlessError:
            return False

    async def reached(self, mutants: list[GuardMutant], checks: Iterable[Check]) -> dict[GuardMutant, list[Check]]:
        """For each mutant the passing checks in which its condition has another value: no other check can kill it."""
        now: list[GuardMutant] = []
        found: dict[GuardMutant, list[Check]] = {mutant: [] for mutant in mutants}
        with probed(mutants, now.append):
            for check in checks:
                now.clear()
                if await self.passes(check):
                    for mutant in dict.fromkeys(now):
                        found[mutant].append(check)
        return found

    async def search(self, mutants: list[GuardMutant]) -> dict[GuardMutant, Check]:
        """What kills each mutant; nothing of one that lives."""
        killed = {}
        reached = await self.reached(mutants, [*self.expected, *self.tests.values()])
        for mutant in mutants:
            for check in _in_order(reached[mutant]):
                if await self.kills(check, mutant):
                    killed[mutant] = check
                    break
        return killed


def one_of_each(checks: list[Check]) -> list[Check]:
    """Of lines of moves.txt one of each call and one of each situation."""
    found: dict[str, Check] = {}
    for check in checks:
        if not isinstance(check, InMemoryTest):
            situation, call = check
            if situation not in found or call not in found:
                found.setdefault(situation, check)
                found.setdefault(call, check)
    return list(dict.fromkeys(found.values()))


def _in_order(checks: list[Check]) -> list[Check]:
    """A few lines of moves.txt, then the tests, then the other lines."""
    of_calls: dict[str, Check] = {}
    for check in checks:
        if not isinstance(check, InMemoryTest):
            of_calls.setdefault(check[1], check)
    first = list(of_calls.values())[:_NUM_MOVES]
    tests = [check for check in checks if isinstance(check, InMemoryTest)]
    return list(dict.fromkeys([*first, *tests, *checks]))


async def prepare() -> Hunt:
    """Make every situation."""
    bench = Bench()
    situations = {each.name: each for each in await build(bench)}
    tests = {str(test): test for test in find_tests(MODULES)}
    return Hunt(bench, Stage(), situations, moves.read(), tests)


def name_of(check: Check) -> str:
    """What a check is called in guard_witnesses.txt."""
    return str(check) if isinstance(check, InMemoryTest) else ", ".join(check)


def read() -> dict[str, str]:
    """The mutants with what killed them when the file was written."""
    lines = (line.partition("\t") for line in WITNESSES.read_text(encoding="utf-8").splitlines())
    return {mutant: check for mutant, _, check in lines}


async def write() -> None:
    """Search for what kills each mutant that its witness does not kill, and write all of them."""
    hunt, known, lines = await prepare(), read() if WITNESSES.exists() else {}, {}
    unknown = []
    for mutant in guard_mutants():
        check = hunt.check_of(known.get(str(mutant), ""))
        if check is not None and await hunt.kills(check, mutant):
            lines[mutant] = check
        else:
            unknown.append(mutant)
    lines |= await hunt.search(unknown)
    WITNESSES.write_text(
        "".join(f"{mutant}\t{name_of(lines[mutant])}\n" for mutant in guard_mutants() if mutant in lines),
        encoding="utf-8",
    )
    for mutant in unknown:
        if mutant not in lines:
            print(f"alive: {mutant}")  # noqa: T201 - a program


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    asyncio.run(write())
