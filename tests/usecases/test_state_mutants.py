"""Every call from every state does what moves.txt says, and every mutant of what protects the moves shows in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.problem import ErrorCode
from service.domain.machine import IllegalMoveError, Machine
from service.domain.states import ATTEMPT, STUDY, TRIAL
from service.storage import tables
from service.storage.queries import trials
from service.storage.unit_of_work import UnitOfWork
from tests.simulation.memory import memory
from tests.usecases import moves
from tests.usecases.situations import Bench, Situation, build
from tests.usecases.state_mutants import (
    MACHINES,
    GuardMutant,
    TableMutant,
    guard_mutants,
    probed,
    table_mutants,
)

ALLOWED = {
    "study": {
        "paused": "active",
        "resumed": "paused",
        "completed": "active",
        "stopped": "active paused",
        "extended": "active paused completed stopped",
    },
    "trial": {
        "claimed": "waiting",
        "requeued": "running",
        "reattached": "waiting",
        "paused": "running",
        "promoted": "paused",
        "not_promoted": "paused",
        "completed": "running",
        "pruned": "running",
        "failed": "running",
        "given_up": "waiting",
        "cancelled": "waiting running paused",
    },
    "attempt": {
        "succeeded": "running",
        "pruned": "running",
        "paused": "running",
        "failed": "running",
        "lost": "running",
        "reattached": "lost",
        "released": "running",
        "cancelled": "running",
    },
}
"""The states that each event may find; written here a second time, so that a wrong table does not judge itself."""

NEVER_ASKED = {
    "attempt: cancelled not from running": "no use case cancels an attempt: one of a stopped study ends as it ends",
}
"""Moves that the tables allow and that no call of moves.txt makes."""

EQUIVALENT = {
    "fence.find: trial is None or attempt is None without trial is None": (
        "an attempt refers to its trial by a foreign key, so there is none of a trial that is not there"
    ),
    "heartbeat._renew: known is None or known.nonce != asked.nonce or known.num_attempts != asked.attempt "
    "without known.num_attempts != asked.attempt": (
        "an older attempt has no lease to renew, and `fence.find` refuses to attach it again"
    ),
    "heartbeat._reattach: never known is None": (
        "the rows of a deleted study go half a minute after it was hidden, so not between two steps of a heartbeat"
    ),
    "memory._give_up: never trial is None or trial.state != TrialState.WAITING": (
        "the guarded UPDATE refuses the move, and isolation keeps the refusal from the other studies"
    ),
    "memory._give_up: trial is None or trial.state != TrialState.WAITING without trial is None": (
        "trials of a study that is hidden are not looked for, and their rows go half a minute later"
    ),
    "memory._give_up: trial is None or trial.state != TrialState.WAITING without trial.state != TrialState.WAITING": (
        "the guarded UPDATE refuses the move, and isolation keeps the refusal from the other studies"
    ),
}
"""Mutants that no call tells from the code, and why."""

Key = tuple[str, str]


@dataclass
class Played:
    """The table as the code makes it, with the conditions that each cell came by."""

    bench: Bench
    situations: dict[str, Situation] = field(default_factory=dict)
    cells: dict[Key, str] = field(default_factory=dict)
    reached: dict[tuple[str, str, int], dict[Key, bool]] = field(default_factory=dict)
    """Condition -> the cells that asked it, and whether it held in any of them."""

    async def differs(self, cell: Key) -> bool:
        """Whether the cell is another now."""
        return await moves.play(self.bench, self.situations[cell[0]], cell[1]) != self.cells[cell]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    logging.disable(logging.CRITICAL)  # mutants are wrong in many words
    with asyncio.Runner() as runner:
        yield runner
    logging.disable(logging.NOTSET)


@pytest.fixture(scope="module")
def played(runner: asyncio.Runner) -> Played:
    made = Played(Bench())

    async def play() -> None:
        now: Key = ("", "")

        def note(module: str, function: str, condition: int, holds: bool) -> None:
            cells = made.reached.setdefault((module, function, condition), {})
            cells[now] = cells.get(now, False) or holds

        for at in await build(made.bench):
            made.situations[at.name] = at
        with probed(note):
            for at in made.situations.values():
                for name in moves.CALLS:
                    if moves.is_played(at, name):
                        now = at.name, name
                        made.cells[now] = await moves.play(made.bench, at, name)

    runner.run(play())
    return made


def run(runner: asyncio.Runner, work: Coroutine[Any, Any, Any]) -> Any:
    return runner.run(work)


def test_every_call_from_every_state_does_what_the_table_says(played: Played) -> None:
    """Where this is meant to change, read the difference: `python -m tests.usecases.moves; git diff`."""
    written = moves.read()
    changed = {cell: (written.get(cell), told) for cell, told in played.cells.items() if written.get(cell) != told}
    assert changed == {}
    assert written.keys() == played.cells.keys()
    assert [cell for cell, told in played.cells.items() if "raised" in told] == []


def test_every_situation_and_what_a_finish_makes_of_it_is_whole(played: Played, runner: asyncio.Runner) -> None:
    async def look() -> dict[Key, list[str]]:
        found = {}
        for at in played.situations.values():
            for name in ("heartbeat", "finish succeeded", "stop", "release", "delete", "restore"):
                if moves.is_played(at, name):
                    await moves.play(played.bench, at, name)
                    found[at.name, name] = moves.broken(played.bench)
        return found

    assert {cell: broken for cell, broken in run(runner, look()).items() if broken} == {}


def test_the_tables_allow_what_they_should(played: Played, runner: asyncio.Runner) -> None:
    async def look() -> dict[str, bool]:
        return {str(each): await _moves(played, each) for each in table_mutants()}

    moved = run(runner, look())
    wrong = [str(each) for each in table_mutants() if moved[str(each)] != _is_allowed(each)]
    assert wrong == []
    assert {machine.name: set(map(str, machine.moves)) for machine in MACHINES} == {
        name: set(events) for name, events in ALLOWED.items()
    }


def test_every_mutant_of_the_tables_is_killed(played: Played, runner: asyncio.Runner) -> None:
    """By the write path, which every move goes through; one that forbids a move by the calls that make it, too."""

    async def hunt() -> list[str]:
        alive = []
        for mutant in table_mutants():
            is_allowing = mutant.is_allowing  # of the table as it is
            with mutant.applied():
                is_killed = await _moves(played, mutant) != _is_allowed(mutant)
                if is_killed and not is_allowing:
                    is_killed = await _is_missed(played, mutant)
            if not is_killed:
                alive.append(str(mutant))
        return alive

    assert set(run(runner, hunt())) <= set(NEVER_ASKED)


def test_every_mutant_of_the_guards_is_killed_or_explained(played: Played, runner: asyncio.Runner) -> None:
    mutants = guard_mutants()

    async def hunt() -> list[str]:
        return [str(mutant) for mutant in mutants if not await _is_killed(played, mutant)]

    assert set(run(runner, hunt())) == set(EQUIVALENT)
    assert len(EQUIVALENT) + len(NEVER_ASKED) <= 0.05 * (len(mutants) + len(table_mutants()))


def test_a_late_finish_completes_no_cancelled_trial(played: Played, runner: asyncio.Runner) -> None:
    """With the guard of `hold` dropped the table refuses, and with the table wrong the guard does."""
    cell = ("lost_then_stopped", "finish succeeded")
    assert played.cells[cell] == f"refused {ErrorCode.ATTEMPT_ENDED}"
    (guard,) = [
        each for each in guard_mutants() if str(each).endswith("without held.trial.state == TrialState.WAITING")
    ]
    late = [
        TableMutant(TRIAL, event, state)
        for event in TRIAL.moves
        if event.value in ("reattached", "completed")
        for state in TRIAL.states
        if state.value == "cancelled"
    ]

    async def finish() -> str:
        return await moves.play(played.bench, played.situations[cell[0]], cell[1])

    with guard.applied():
        assert run(runner, finish()) != played.cells[cell]
        with late[0].applied():
            assert "-> completed" in run(runner, finish())  # both at once let it through, and the table shows it
    with late[0].applied(), late[1].applied():
        assert run(runner, finish()) == played.cells[cell]


async def _is_killed(played: Played, mutant: GuardMutant) -> bool:
    cells = played.reached.get((mutant.module, mutant.function, mutant.condition), {})
    # A guard that never holds shows only where it did.
    likely = [cell for cell, held in cells.items() if held]
    unlikely = [cell for cell, held in cells.items() if not held and mutant.operand is not None]
    with mutant.applied():
        for cell in [*likely, *unlikely]:
            if await played.differs(cell):
                return True
    return False


async def _is_missed(played: Played, mutant: TableMutant) -> bool:
    """Whether a call that makes the move misses it."""
    kind = f"{mutant.machine.name}_{mutant.event}"
    for cell, told in played.cells.items():
        if kind in told and await played.differs(cell):
            return True
    return False


def _is_allowed(mutant: TableMutant) -> bool:
    return mutant.state in ALLOWED[mutant.machine.name][mutant.event].split()


async def _moves(played: Played, mutant: TableMutant) -> bool:
    """Whether the write path moves a row that is in this state by this event."""
    at = played.situations["running"]
    played.bench.restore(at.saved)
    table = {STUDY.name: "study", TRIAL.name: "trial", ATTEMPT.name: "attempt"}[mutant.machine.name]
    memory().raw.execute(f"UPDATE {table} SET state = ?", (mutant.state.value,))
    (study_id,) = memory().rows("SELECT id FROM study")[0]
    (trial_id,) = memory().rows("SELECT id FROM trial")[0]

    def work(unit_of_work: UnitOfWork) -> None:
        trial = trials.by_id(unit_of_work.connection, trial_id)
        assert trial is not None
        _advance(unit_of_work, mutant.machine, mutant.event, trial)

    try:
        await played.bench.replica.context.transact(study_id, work)
    except IllegalMoveError:
        assert memory().rows(f"SELECT state FROM {table}") == [(mutant.state.value,)]
        return False
    target = mutant.machine.moves[mutant.event].target
    assert memory().rows(f"SELECT state FROM {table}") == [(target.value,)]
    return True


def _advance(unit_of_work: UnitOfWork, machine: Machine[Any, Any], event: Any, trial: sa.Row[Any]) -> None:
    match machine.name:
        case "study":
            unit_of_work.advance_study(event)
        case "trial":
            unit_of_work.advance_trial(trial, event)
        case _:
            unit_of_work.advance_attempt(trial, 1, event)


def test_an_attempt_without_its_trial_cannot_be(played: Played) -> None:
    """Why `fence.find` need not ask for both."""
    key = next(iter(tables.attempt.c.trial_id.foreign_keys))
    assert key.column is tables.trial.c.id
