"""In any order of events, nothing is lost, duplicated or left unfinished."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.attempt import FailureClass
from service.contract.claim import Grant
from service.contract.study import ExtendRequest, StudyState
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.domain.states import OPEN_TRIALS
from service.storage import tables
from service.storage.fsck import invariants
from service.usecases.studies import lifecycle
from tests.support.sizes import size
from tests.usecases.replica import Replica

BUDGET = 4
RESOURCE: dict[str, Any] = {"resource": {"name": "step", "max": 4}}
PRUNERS: list[dict[str, Any]] = [
    {"name": "none"},
    {"name": "asha", "eta": 2, "min": 1},
    {"name": "hyperband", "eta": 2, "min": 1},
    {"name": "asha", "eta": 2, "min": 1, "mode": "stop"},
]

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "claim",
                "claim",
                "claim",
                "report",
                "report",
                "checkpoint",
                "finish",
                "finish",
                "fail",
                "lose",
                "stop",
                "pause",
                "resume",
                "extend",
            ]
        ),
        st.integers(0, 9),
    ),
    min_size=5,
    max_size=30,
)


@pytest.mark.prove
@settings(max_examples=size(ci=12, full=60), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, retry_failed=st.integers(0, 1), pruner=st.sampled_from(PRUNERS))
def test_the_promises_hold_after_every_step(
    replica: Replica, steps: list[tuple[str, int]], retry_failed: int, pruner: dict[str, Any]
) -> None:
    async def play() -> None:
        name = await replica.create(budget={"trials": BUDGET}, retry_failed=retry_failed, pruner=pruner, **RESOURCE)
        game = Game(replica, name)
        for what, which in steps:
            await game.step(what, which)
            await game.check()
        await game.end()

    asyncio.run(play())


class Game:
    """A study, all grants ever given out in it, and what was terminal when last looked at."""

    def __init__(self, replica: Replica, name: str) -> None:
        self.replica = replica
        self.name = name
        self.grants: list[Grant] = []
        self.terminal: dict[str, tuple[Any, ...]] = {}
        self.revision = 0
        self.budget = BUDGET

    async def step(self, what: str, which: int) -> None:
        grant = self.grants[which % len(self.grants)] if self.grants else None
        # What the state does not allow is refused; that it changed nothing is checked as after any step.
        with contextlib.suppress(DomainError):
            if what == "claim":
                answer = await self.replica.ask(self.name, request_id=f"{self.name}-{which}")
                if isinstance(answer, Grant):
                    self.grants.append(answer)
            elif what in {"report", "checkpoint", "finish", "fail"} and grant is not None:
                await self.work(what, which, grant)
            else:
                await self.manage(what, which)

    async def work(self, what: str, which: int, grant: Grant) -> None:
        """What the worker of a grant does, however old the grant is."""
        match what:
            case "report":
                trial = await self.replica.trial(self.name, grant.number or 0)
                sequence = sum(len(series.steps) for series in trial.series) + 1 - which % 2
                first = grant.resume.step if grant.resume else 0
                await self.replica.report(grant, max(1, sequence), which / 10, step=max(1, sequence) + first)
            case "checkpoint":
                trial = await self.replica.trial(self.name, grant.number or 0)
                await self.replica.checkpoint(grant, trial.step or 0)
            case "finish":
                await self.replica.finish(grant, ["succeeded", "pruned", "released", "paused"][which % 4])
            case "fail":
                await self.replica.fail(grant, list(FailureClass)[which % len(FailureClass)])

    async def manage(self, what: str, which: int) -> None:
        """What a person does, or time."""
        context = self.replica.context
        match what:
            case "lose":
                await self.replica.lose()
            case "stop" if which < 3:
                await lifecycle.stop_study(context, self.name, "")
            case "pause":
                await lifecycle.pause_study(context, self.name, "")
            case "resume":
                await lifecycle.resume_study(context, self.name)
            case "extend":
                await lifecycle.extend_study(context, self.name, ExtendRequest(trials=self.budget + 1))
                self.budget += 1

    async def check(self) -> None:
        study = await self.replica.study(self.name)
        assert study.revision >= self.revision
        self.revision = study.revision
        trials = await self.replica.trials(self.name)
        assert [trial.number for trial in trials] == list(range(len(trials)))
        assert len(trials) <= self.budget == study.budget_trials
        running, held = await self.replica.database.read(lambda connection: self._held(connection, study.id))
        assert running == held
        assert len({trial for trial, _ in running}) == len(running)
        assert {trial for trial, _ in running} == {trial.id for trial in trials if trial.state is TrialState.RUNNING}
        for trial in trials:
            if trial.state not in OPEN_TRIALS:
                ended = (trial.state, trial.values, trial.finished_at, trial.num_attempts)
                assert self.terminal.setdefault(trial.id, ended) == ended
        assert not set(self.terminal) - {trial.id for trial in trials if trial.state not in OPEN_TRIALS}
        if study.state in {StudyState.COMPLETED, StudyState.STOPPED}:
            assert all(trial.state not in OPEN_TRIALS for trial in trials)

    @staticmethod
    def _held(connection: sa.Connection, study_id: str) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
        attempt, lease = tables.attempt, tables.lease
        running = sa.select(attempt.c.trial_id, attempt.c.number).where(
            attempt.c.study_id == study_id, attempt.c.state == AttemptState.RUNNING
        )
        held = sa.select(lease.c.trial_id, lease.c.attempt).where(lease.c.study_id == study_id)
        return {(row[0], row[1]) for row in connection.execute(running)}, {
            (row[0], row[1]) for row in connection.execute(held)
        }

    async def end(self) -> None:
        """Nothing hangs: if workers go on, the study ends, with every number used that was not stopped."""
        await self.replica.lose()
        for turn in range(100):
            view = await self.replica.study(self.name)
            if view.state is StudyState.PAUSED and not view.stop_requested:  # by a person, or for its failures
                await lifecycle.resume_study(self.replica.context, self.name)
            answer = await self.replica.ask(self.name, request_id=f"{self.name}-end-{turn}")
            if isinstance(answer, Grant):
                await self.replica.fail(answer, FailureClass.INVALID)
            elif (await self.replica.study(self.name)).state is not StudyState.PAUSED:
                break
        await self.check()
        assert [each for each in await self.replica.database.read(invariants.check) if each.broken] == []
        view = await self.replica.study(self.name)
        if view.stop_requested:
            assert view.state is StudyState.STOPPED
        else:
            assert view.state is StudyState.COMPLETED
            assert sum(view.num_trials.values()) == self.budget
