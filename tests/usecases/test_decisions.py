"""Decisions that change a trial or a study, each in a situation where no other check answers first."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from service.contract.attempt import FailureClass, Outcome
from service.contract.claim import Grant
from service.contract.problem import ErrorCode
from service.contract.report import Action, Point, ReportRequest
from service.contract.study import PauseCause, StudyState
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.domain.failures import FailureContext, resolve
from service.domain.objective import ObjectiveResult
from service.domain.rungs import Rungs
from service.domain.states import TrialEvent
from service.search.schedulers import scheduler_of
from service.search.schedulers.successive_halving import SuccessiveHalving
from service.storage import tables
from service.storage.blobs import BlobStore
from service.storage.queries import attempts, history, studies
from service.storage.unit_of_work import UnitOfWork
from service.usecases.attempts import late_stop as late_stop_module
from service.usecases.attempts import rungs
from service.usecases.attempts.late_stop import LateStop, late_stop
from service.usecases.attempts.report import report
from service.usecases.dispatch import grants
from service.usecases.fencing import find_attempt
from service.usecases.maintenance import oom_expiry
from service.usecases.studies import lifecycle
from service.usecases.studies.deletion import delete_study
from service.usecases.studies.enqueue import EnqueueRequest, enqueue
from tests.usecases.attempts.test_late_stop import PATIENCE
from tests.usecases.attempts.test_resume import save
from tests.usecases.attempts.test_rungs import ASHA, fill_the_first_rung
from tests.usecases.failing_strategies import state_of
from tests.usecases.replica import Replica, points, spec_of
from tests.usecases.test_isolation import damage

pytestmark = pytest.mark.anyio

THREE_RUNGS = Rungs((1, 3, 9), eta=3, promotes=True, brackets=(1,))
GOOD = ObjectiveResult("loss", last=0.25, value=0.25, is_finite=True)


def trial_at(step: int | None, *arrived: int, run_until: int | None = None) -> Any:
    """A trial with this last step and arrivals."""
    arrivals = [{"step": each, "value": 0.5, "rank": 1, "num": 1} for each in arrived]
    return SimpleNamespace(number=0, last_step=step, rung_results=arrivals, run_until=run_until)


@pytest.mark.parametrize(
    ("trial", "may_arrive"),
    [
        (trial_at(None), False),
        (trial_at(0), False),
        (trial_at(1), True),
        (trial_at(2, 1), False),
        (trial_at(3, 1), True),
        (trial_at(8, 1, 3), False),
        (trial_at(9, 1, 3), False),
    ],
)
def test_a_trial_may_arrive_at_rungs_that_its_steps_reach_and_that_are_new(trial: Any, may_arrive: bool) -> None:
    assert rungs._may_reach_rung(THREE_RUNGS, trial) is may_arrive


@pytest.mark.parametrize(
    ("trial", "step"),
    [
        (trial_at(1, 1), None),
        (trial_at(1, 1, run_until=3), None),
        (trial_at(3, 1, 3, run_until=3), 3),
        (trial_at(3, 1, 3, run_until=1), 3),
    ],
)
def test_the_goal_of_a_trial_is_the_rung_that_it_was_to_train_to(trial: Any, step: int | None) -> None:
    arrival = rungs._result_at_target(trial)
    assert (None if arrival is None else arrival.step) == step


async def test_a_trial_is_promoted_only_while_it_is_the_one_to_promote(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    await fill_the_first_rung(replica, name, 0.3, 0.1, 0.2)

    def promote(unit_of_work: UnitOfWork) -> None:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        known = history.refresh(unit_of_work.connection, study.id, "loss", replica.context.histories.cached(study.id))
        scheduler = scheduler_of(spec)
        assert isinstance(scheduler, SuccessiveHalving)
        promotion = scheduler.promotion(known)
        assert promotion is not None
        assert promotion.number == 1
        rungs.promote(unit_of_work, spec, known, replace(promotion, number=0))

    await replica.context.transact((await replica.study(name)).id, promote)
    assert {trial.state for trial in await replica.trials(name)} == {TrialState.PAUSED}


async def test_a_report_that_reaches_no_new_rung_reads_no_history_under_the_lock(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = await replica.create(**ASHA)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)

    def refresh(*_: object) -> None:
        raise AssertionError("the history was read under the lock")

    monkeypatch.setattr(rungs, "history", SimpleNamespace(refresh=refresh))
    assert (await replica.report(grant, 2, 0.5, step=2)).reason == "1st of 1 at step 1: pauses there"


async def test_a_checkpoint_without_values_asks_nothing_of_its_study(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await damage(replica, name)
    await replica.checkpoint(grant, 1)
    assert state_of(replica, name).state == StudyState.ACTIVE


async def test_a_report_to_a_damaged_study_pauses_it_with_what_is_damaged(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await damage(replica, name)
    assert (await replica.report(grant, 1, 0.5)).reason.startswith("the pruner did not judge this report: ")
    study = state_of(replica, name)
    assert study.state == StudyState.PAUSED
    assert "DamagedRowError" in study.state_reason


async def test_a_step_without_the_objective_arrives_at_no_rung(replica: Replica) -> None:
    grant = await replica.claim(await replica.create(**ASHA))
    request = ReportRequest(nonce=grant.nonce, sequence=1, points=points(0.5, step=1, metric="accuracy"))
    verdict = await report(replica.context, grant.trial, grant.attempt, request)
    assert verdict.reason == "no new value of loss"


async def test_a_fork_arrives_at_no_rung_and_pauses_nowhere(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    parent = await replica.claim(name)
    await replica.report(parent, 1, 0.5)
    await replica.checkpoint(parent, 1)
    await replica.finish(parent, "paused")
    await replica.fork(name, 0, lr=0.05)
    fork = await replica.claim(name)
    assert fork.number is None
    for step in range(2, 10):
        await replica.report(fork, step - 1, 0.5, step=step)
    assert (await replica.trial(name, fork.trial)).rung_results == []
    assert (await replica.finish(fork, "paused")).trial_state == "waiting"
    assert (await replica.study(name)).state is StudyState.ACTIVE


@pytest.mark.parametrize(
    ("outcome", "ended", "is_late"),
    [
        (Outcome(result="succeeded"), GOOD, True),
        (Outcome(result="pruned"), GOOD, True),
        (Outcome(result="released"), GOOD, False),
        (Outcome(result="failed", failure=FailureClass.USER_EXCEPTION), GOOD, False),
        (Outcome(result="failed", failure=FailureClass.DIVERGED), GOOD, False),
        (Outcome(result="pruned"), replace(GOOD, value=None), False),
        (Outcome(result="pruned"), replace(GOOD, is_finite=False), False),
        (Outcome(result="succeeded"), replace(GOOD, value=None), False),
        (Outcome(result="succeeded"), replace(GOOD, is_finite=False), False),
    ],
)
async def test_a_late_verdict_changes_the_end_of_a_trial_that_is_over_with_a_value(
    replica: Replica, outcome: Outcome, ended: ObjectiveResult, is_late: bool
) -> None:
    grant = await replica.claim(await replica.create(**PATIENCE))
    await replica.report(grant, 1, 1.0, 2.0, 2.0)
    await replica.report(grant, 2, 0.25, step=4)
    assert (await late(replica, grant, outcome, ended) is not None) is is_late


async def late(replica: Replica, grant: Grant, outcome: Outcome, ended: ObjectiveResult = GOOD) -> LateStop | None:
    def work(unit_of_work: UnitOfWork) -> LateStop | None:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        held = find_attempt(unit_of_work, grant.trial, grant.attempt, grant.nonce)
        return late_stop(unit_of_work, spec, held, resolve(outcome, FailureContext()), [ended])

    return await replica.context.transact(grant.study, work)


async def test_no_verdict_is_late_that_came_with_the_last_step(replica: Replica) -> None:
    grant = await replica.claim(await replica.create(**PATIENCE))
    await replica.report(grant, 1, 1.0, 2.0, 2.0)
    assert await late(replica, grant, Outcome(result="succeeded")) is None


async def test_a_study_that_a_person_paused_or_stopped_is_not_paused_for_its_failures(replica: Replica) -> None:
    for control_study in (lifecycle.pause_study, lifecycle.stop_study):
        name = await replica.create(budget={"trials": 9})
        grants = [await replica.claim(name, worker=f"w{at}") for at in range(4)]
        for grant in grants[:2]:
            await replica.fail(grant, FailureClass.USER_EXCEPTION, message="broken")
        await control_study(replica.context, name, "enough")
        reply = await replica.fail(grants[2], FailureClass.USER_EXCEPTION, message="broken")
        study = await replica.study(name)
        assert (reply.trial_state, study.state_reason) == ("failed", "enough")
        assert study.pause_cause is (PauseCause.USER if study.state is StudyState.PAUSED else None)


async def test_reports_of_a_failed_trial_make_neither_a_value_nor_infeasible(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5, float("nan"))
    await replica.fail(grant, FailureClass.USER_EXCEPTION, message="broken")
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.values, trial.infeasible) == (TrialState.FAILED, None, False)


async def test_an_end_without_failure_has_no_fingerprint_and_is_judged_by_itself(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    def executions(*_: object, **__: object) -> None:
        raise AssertionError("the trial's attempts were read")

    name = await replica.create()
    monkeypatch.setattr(attempts, "past_attempts", executions)
    await replica.train(name, 0.5)
    query = sa.select(tables.attempt.c.fingerprint, tables.trial.c.state).join_from(tables.attempt, tables.trial)
    row = await replica.database.read(lambda connection: connection.execute(query).one())
    assert row == (None, "completed")


async def test_a_failure_that_is_tried_again_lets_the_study_s_failures_be_counted(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_asked, right = 0, attempts.ends

    def ends(*args: Any, **kwargs: Any) -> Any:
        nonlocal num_asked
        num_asked += 1
        return right(*args, **kwargs)

    monkeypatch.setattr(attempts, "ends", ends)
    name = await replica.create(retry_failed=1)
    reply = await replica.fail(await replica.claim(name), FailureClass.OUT_OF_MEMORY)
    assert reply.trial_state == "waiting"
    assert num_asked > 0


async def test_a_trial_is_given_up_for_memory_only_while_no_gpu_has_it(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    large, small = ({"devices": [{"kind": "cuda", "memory_gib": gib}]} for gib in (80.0, 24.0))
    await replica.claim(await replica.create(), worker="large", **large)
    grant = await replica.claim(name, worker="small", **small)
    shortage = {"place": "device", "total_gib": 24.0}
    await replica.fail(grant, FailureClass.OUT_OF_MEMORY, shortage=shortage)
    context = replica.context
    found = await context.transact(None, lambda unit_of_work: oom_expiry._unplaceable_trials(unit_of_work, context))
    assert found == ([], [])
    assert await context.transact(grant.study, lambda each: oom_expiry._expire(each, context, grant.trial)) == 0
    assert (await replica.trial(name, 0)).state is TrialState.WAITING


async def test_one_batch_gives_a_step_one_value(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    request = ReportRequest(
        nonce=grant.nonce, sequence=1, points=[Point(step=1, metrics={"loss": value}) for value in (0.5, 0.25)]
    )
    with pytest.raises(DomainError) as caught:
        await report(replica.context, grant.trial, grant.attempt, request)
    assert caught.value.code is ErrorCode.REPORT_CONFLICT


async def test_data_are_compared_with_those_that_the_study_began_with(replica: Replica) -> None:
    name = await replica.create()
    warnings = []
    for at, data in enumerate(("a" * 64, "b" * 64, "a" * 64)):
        warnings.append(await replica.provenance(await replica.claim(name, worker=f"w{at}"), data))
    assert [bool(each) for each in warnings] == [False, True, False]


@pytest.mark.parametrize("task", [None, {"function": "own:f"}])
async def test_a_fork_is_as_long_as_its_parent_whatever_a_space_calls_epochs(replica: Replica, task: Any) -> None:
    space = {"lr": {"type": "float", "low": 1e-4, "high": 1e-1}, "epochs": {"type": "int", "low": 1, "high": 9}}
    resource = {"name": "epoch", "max": 9}
    name = await replica.create(space=space, resource=resource, budget={"trials": 1}, task=task)
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1)
    await replica.finish(grant)
    await replica.fork(name, 0, epochs=5)
    assert (await replica.claim(name)).run_until == 9


async def test_a_fork_keeps_the_blob_of_its_checkpoint(
    replica: Replica, blobs: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched: list[str] = []
    touch = blobs.touch

    def touching(sha256: str) -> Any:
        touched.append(sha256)
        return touch(sha256)

    monkeypatch.setattr(blobs, "touch", touching)
    name = await replica.create()
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1)
    await replica.fork(name, 0, lr=0.05)
    assert touched == [], "the checkpoint is a file elsewhere"
    await save(replica, blobs, grant, 2, b"two")
    touched.clear()
    await replica.fork(name, 0, lr=0.05)
    assert len(touched) == 1


async def test_a_refusal_to_delete_names_five_trials_and_how_many_more_run(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    parent = await replica.claim(name)
    await replica.report(parent, 1, 0.5)
    await replica.checkpoint(parent, 1)
    for at in range(4):
        await replica.claim(name, worker=f"w{at}")
    with pytest.raises(DomainError, match="trial 0, trial 1, trial 2, trial 3, trial 4 of"):
        await delete_study(replica.context, name)
    for at in range(2):
        await replica.claim(name, worker=f"v{at}")
    with pytest.raises(DomainError, match=r"trial 4, 2 more of .* \(study release .* 0\)"):
        await delete_study(replica.context, name)


async def test_a_refusal_to_delete_names_a_fork_by_its_id(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    grant = await replica.claim(name)
    await replica.report(grant, 1, 0.5)
    await replica.checkpoint(grant, 1)
    await replica.finish(grant)
    await replica.fork(name, 0, lr=0.05)
    fork = await replica.claim(name)
    with pytest.raises(DomainError, match=rf"\(study release {name} {fork.trial}\)"):
        await delete_study(replica.context, name)


async def test_a_study_that_takes_no_configuration_says_in_which_state_it_is(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 9})
    await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "")
    request = EnqueueRequest(parameters={"lr": 1e-2})
    with pytest.raises(DomainError, match="the study is being stopped"):
        await enqueue(replica.context, name, request)
    over = await replica.create()
    await lifecycle.stop_study(replica.context, over, "")
    with pytest.raises(DomainError, match="the study is stopped"):
        await enqueue(replica.context, over, request)


async def own_time(replica: Replica, name: str) -> tuple[bool, float]:
    """Return whether the study's own time passes, and the seconds that passed before, to the nearest hundred.

    The test itself takes seconds on a slow machine.
    """
    row = await replica.database.read(lambda connection: studies.find(connection, name))
    assert row is not None
    return row.active_since is not None, round(row.active_microseconds / 1_000_000, -2)


async def test_a_study_s_own_time_passes_from_its_first_trial_while_it_is_active(replica: Replica) -> None:
    name = await replica.create()
    await lifecycle.pause_study(replica.context, name, "")
    await lifecycle.resume_study(replica.context, name)
    assert await own_time(replica, name) == (False, 0)
    await replica.claim(name)
    replica.clock.forward(1000)
    await lifecycle.pause_study(replica.context, name, "")
    assert await own_time(replica, name) == (False, 1000)
    replica.clock.forward(1000)
    await lifecycle.resume_study(replica.context, name)
    assert await own_time(replica, name) == (True, 1000)
    replica.clock.forward(1000)
    await lifecycle.extend_study(replica.context, name, lifecycle.ExtendRequest(trials=9))
    assert await own_time(replica, name) == (True, 1000)
    await lifecycle.pause_study(replica.context, name, "")
    assert await own_time(replica, name) == (False, 2000)


async def test_trials_without_checkpoints_are_judged_for_good_from_the_first_one_on(replica: Replica) -> None:
    name = await replica.create(**ASHA)
    grants = [await replica.claim(name, worker=f"w{at}") for at in range(3)]
    for grant, value in zip(grants, (0.1, 0.5, 0.9), strict=True):
        await replica.report(grant, 1, value)
    ends = [(await replica.finish(grant, "paused")).trial_state for grant in grants]
    assert ends == ["waiting", "pruned", "pruned"]
    assert ((await replica.study(name)).spec_version, (await replica.kinds(name)).count("pruner_changed")) == (2, 1)


async def test_arrivals_at_rungs_mean_nothing_once_the_study_has_no_rungs(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())

    def rest(unit_of_work: UnitOfWork) -> Any:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        return rungs.pause_or_finish(unit_of_work, spec, trial_at(3, 3, run_until=3), TrialEvent.COMPLETED, "trained")

    assert await replica.context.transact(grant.study, rest) == (TrialEvent.COMPLETED, "trained", {})


@pytest.mark.parametrize(
    ("number", "run_until", "pauses"), [(0, 1, True), (0, 9, False), (0, None, False), (None, 1, False)]
)
def test_a_search_trial_pauses_at_each_rung_before_the_last(
    number: int | None, run_until: int | None, pauses: bool
) -> None:
    trial: Any = SimpleNamespace(number=number, run_until=run_until)
    assert grants._pauses(spec_of(**ASHA), trial) is pauses


async def test_no_verdict_on_a_fork_is_late(replica: Replica) -> None:
    name = await replica.create(**PATIENCE)
    parent = await replica.claim(name)
    await replica.report(parent, 1, 1.0)
    await replica.checkpoint(parent, 1)
    await replica.fork(name, 0, lr=0.05)
    fork = await replica.claim(name)
    assert (await replica.report(fork, 1, float("nan"), step=2)).action is Action.STOP
    await replica.report(fork, 2, 0.5, step=3)
    assert await late(replica, fork, Outcome(result="succeeded")) is None


async def test_a_trial_that_had_no_value_when_it_was_stopped_did_not_improve(replica: Replica) -> None:
    grant = await replica.claim(await replica.create(**PATIENCE))
    await replica.report(grant, 1, 1.0)

    def improvement(unit_of_work: UnitOfWork) -> str | None:
        study = unit_of_work.study
        spec = studies.spec(unit_of_work.connection, study.id, study.spec_version)
        trial = find_attempt(unit_of_work, grant.trial, grant.attempt, grant.nonce).trial
        return late_stop_module._improvement(unit_of_work, spec, trial, 0, 0.25)

    assert await replica.context.transact(grant.study, improvement) is None
