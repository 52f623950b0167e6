"""Every call from every situation matches moves.txt, and every mutant of the state tables breaks a line of it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.problem import ErrorCode
from service.domain.state_machine import IllegalTransitionError, StateMachine
from service.domain.states import ATTEMPT, STUDY, TRIAL
from service.storage.queries import trials
from service.storage.unit_of_work import UnitOfWork
from tests.simulation.memory import memory
from tests.usecases import moves
from tests.usecases.guard_mutants import guard_mutants
from tests.usecases.situations import Bench, Situation, build
from tests.usecases.state_mutants import MACHINES, TableMutant, table_mutants

pytestmark = [pytest.mark.prove, pytest.mark.full]

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

CHECKED = ("heartbeat", "finish succeeded", "stop", "release", "delete", "restore")
"""The calls after which every invariant of the database is looked at."""

Key = tuple[str, str]


@dataclass
class Played:
    """The table as the code makes it."""

    bench: Bench
    situations: dict[str, Situation] = field(default_factory=dict)
    cells: dict[Key, str] = field(default_factory=dict)
    broken: dict[Key, list[str]] = field(default_factory=dict)
    """The invariants that some of the calls break."""

    async def differs(self, cell: Key) -> bool:
        """Whether the cell is another now."""
        return await moves.play(self.bench, self.situations[cell[0]], cell[1]) != self.cells[cell]


@pytest.fixture(scope="module")
def played(runner: asyncio.Runner) -> Played:
    made = Played(Bench())

    async def play() -> None:
        for at in await build(made.bench):
            made.situations[at.name] = at
            for name in moves.CALLS:
                if moves.is_played(at, name):
                    made.cells[at.name, name] = await moves.play(made.bench, at, name)
                    if name in CHECKED:
                        made.broken[at.name, name] = moves.broken(made.bench)

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


def test_every_situation_and_what_a_finish_makes_of_it_is_whole(played: Played) -> None:
    assert {cell: broken for cell, broken in played.broken.items() if broken} == {}


def test_the_tables_allow_what_they_should(played: Played, runner: asyncio.Runner) -> None:
    async def look() -> dict[str, bool]:
        return {str(each): await _moves(played, each) for each in table_mutants()}

    moved = run(runner, look())
    wrong = [str(each) for each in table_mutants() if moved[str(each)] != _is_allowed(each)]
    assert wrong == []
    assert {machine.name: set(map(str, machine.transitions)) for machine in MACHINES} == {
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

    alive = run(runner, hunt())
    assert set(alive) <= set(NEVER_ASKED)
    assert len(alive) <= 0.05 * len(table_mutants())


def test_a_late_finish_completes_no_cancelled_trial(played: Played, runner: asyncio.Runner) -> None:
    """With the guard of `hold` dropped the table refuses, and with the table wrong the guard does."""
    cell = ("lost_then_stopped", "finish succeeded")
    assert played.cells[cell] == f"refused {ErrorCode.ATTEMPT_ENDED}"
    (guard,) = [
        each for each in guard_mutants() if str(each).endswith("without fenced.trial.state == TrialState.WAITING")
    ]
    late = [
        TableMutant(TRIAL, event, state)
        for event in TRIAL.transitions
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
    except IllegalTransitionError:
        assert memory().rows(f"SELECT state FROM {table}") == [(mutant.state.value,)]
        return False
    target = mutant.machine.transitions[mutant.event].target
    assert memory().rows(f"SELECT state FROM {table}") == [(target.value,)]
    return True


def _advance(unit_of_work: UnitOfWork, machine: StateMachine[Any, Any], event: Any, trial: sa.Row[Any]) -> None:
    match machine.name:
        case "study":
            unit_of_work.advance_study(event)
        case "trial":
            unit_of_work.advance_trial(trial, event)
        case _:
            unit_of_work.advance_attempt(trial, 1, event)
