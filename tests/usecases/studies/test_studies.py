"""Studies: checked whole before creation; paused, resumed, stopped and extended by users."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.claim import NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action
from service.contract.study import EnqueueRequest, ExtendRequest, StudySpec, StudyState
from service.contract.trial import AttemptState, TrialState
from service.domain.errors import DomainError
from service.usecases.studies import creation, lifecycle, study_lookup
from service.usecases.studies.enqueue import enqueue
from service.usecases.trials.trial_lookup import get_best
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

TRAIN: dict[str, Any] = {
    "train": {
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw"},
        "epochs": 5,
    }
}
LR: dict[str, Any] = {"optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True}}


def trained(**changes: Any) -> StudySpec:
    return spec_of(
        **{"task": TRAIN, "space": LR, "objective": {"metric": "val/loss", "direction": "minimize"}} | changes
    )


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"space": {"optimizer.lrr": LR["optimizer.lr"]}}, "space.optimizer.lrr", "optimizer.lr"),
        (
            {"task": {"train": TRAIN["train"] | {"model": {"name": "mpl"}}}},
            "task.train.model.name",
            "did you mean 'mlp'?",
        ),
        ({"resource": {"name": "epoch", "max": 7}}, "resource.max", "the task trains 5 epochs"),
        (
            {"space": LR | {"batch_size": {"type": "int", "low": 8, "high": 64, "when": {"colour": "red"}}}},
            "",
            "colour",
        ),
    ],
)
async def test_a_spec_that_cannot_work_is_refused_with_the_field(
    replica: Replica, changes: dict[str, Any], path: str, message: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await creation.create_study(replica.context, trained(**changes))
    assert caught.value.code is ErrorCode.INVALID_SPEC
    assert any(path in error.path and message in error.message for error in caught.value.errors), caught.value.errors
    assert (await study_lookup.list_studies(replica.context)).studies == []


async def test_a_training_study_takes_its_resource_from_the_task(replica: Replica) -> None:
    view = await creation.create_study(replica.context, trained())
    assert view.spec.resource is not None
    assert (view.spec.resource.name, view.spec.resource.max) == ("epoch", 5)
    grant = await replica.claim(view.name)
    assert grant.run_until == 5
    assert isinstance(grant.task, dict)
    assert grant.task["optimizer"]["lr"] == grant.parameters["optimizer.lr"]


async def test_a_stage_s_overrides_reach_the_task_of_its_trials_and_of_no_others(replica: Replica) -> None:
    stages = [{"trials": 1, "resource": 2, "overrides": {"schedule.name": "constant", "data.limit": 50}}, {"trials": 1}]
    view = await creation.create_study(
        replica.context, trained(sampler={"name": "coarse_to_fine", "stages": stages}, budget={"trials": 2})
    )
    coarse = await replica.claim(view.name)
    assert isinstance(coarse.task, dict)
    assert (coarse.run_until, coarse.task["schedule"], coarse.task["data"]["limit"]) == (2, {"name": "constant"}, 50)
    await replica.fail(coarse, FailureClass.USER_EXCEPTION)
    fine = await replica.claim(view.name)
    assert isinstance(fine.task, dict)
    assert fine.run_until == 5
    assert "limit" not in fine.task["data"]


async def test_a_trial_of_a_stage_on_other_data_is_never_the_best(replica: Replica) -> None:
    """The database, the history and a study that learns from this one agree."""
    stages = [{"trials": 2, "overrides": {"data.classes": 2}}, {"trials": 2}]
    view = await creation.create_study(
        replica.context, trained(sampler={"name": "coarse_to_fine", "stages": stages}, budget={"trials": 4})
    )
    for value in (0.1, 0.2):
        grant = await replica.claim(view.name)
        await replica.report(grant, 1, value, step=5)
        await replica.finish(grant)
    assert (await replica.study(view.name)).best is None
    for value in (0.9, 0.8):
        grant = await replica.claim(view.name)
        await replica.report(grant, 1, value, step=5)
        await replica.finish(grant)
    best = (await replica.study(view.name)).best
    assert best is not None
    assert (best.number, (await get_best(replica.context, view.name)).number) == (3, 3)
    heir = await creation.create_study(replica.context, trained(sampler="tpe", warm_start=[view.name]))
    assert "2 were validated on other data in an early stage" in str(heir.notice)


@pytest.mark.parametrize("task", [None, {"function": "mine:train"}, {"command": ["true"]}], ids=str)
async def test_settings_of_the_training_core_are_refused_for_other_tasks(
    replica: Replica, task: dict[str, Any] | None
) -> None:
    stages = [{"trials": 1}, {"trials": 1, "overrides": {"lr": 0.1}}]
    sampler = {"name": "coarse_to_fine", "stages": stages}
    with pytest.raises(DomainError) as caught:
        await replica.create(task=task, sampler=sampler, constraints={"parameters": {"max": 5}}, budget={})
    assert [error.path for error in caught.value.errors] == ["constraints", "sampler.stages.1.overrides"]


async def test_a_stage_s_overrides_that_cannot_be_are_refused_at_creation(replica: Replica) -> None:
    stages = [{"trials": 1, "overrides": {"data.limt": 50}}, {"trials": 1}]
    with pytest.raises(DomainError) as caught:
        await creation.create_study(replica.context, trained(sampler={"name": "coarse_to_fine", "stages": stages}))
    assert [error.path for error in caught.value.errors] == ["sampler.stages.0.overrides.data.limt"]
    assert "did you mean 'data.limit'?" in caught.value.errors[0].message


async def test_names_are_unique_within_a_project(replica: Replica) -> None:
    name = await replica.create(name="twice")
    with pytest.raises(DomainError, match="there is already a study 'twice' in project 'default'") as caught:
        await replica.create(name="twice")
    assert caught.value.code is ErrorCode.STUDY_EXISTS
    await replica.create(name="twice", project="other")
    assert (await replica.study("other/twice")).project == "other"
    assert (await replica.study(name)).project == "default"


async def test_a_misspelt_name_is_answered_with_the_nearest(replica: Replica) -> None:
    with pytest.raises(DomainError, match="there are no studies yet"):
        await replica.study("digits")
    await replica.create(name="digits")
    for ask in (replica.study("digts"), replica.ask("digts")):
        with pytest.raises(DomainError, match=r"there is no study 'digts'; did you mean 'digits'") as caught:
            await ask
        assert caught.value.code is ErrorCode.UNKNOWN_STUDY


async def test_a_claim_names_a_study_as_everything_else_does(replica: Replica) -> None:
    await replica.create(name="same", project="other")
    await replica.create(name="same")
    assert (await replica.claim("same")).study == (await replica.study("same")).id
    assert (await replica.claim("other/same")).study == (await replica.study("other/same")).id


async def test_a_paused_study_hands_out_nothing_and_lets_the_running_go_on(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    assert (await lifecycle.pause_study(replica.context, name, "lunch")).state_reason == "lunch"
    assert isinstance(await replica.ask(name), NoTrial)
    assert (await replica.report(grant, 1, 0.5)).action is Action.CONTINUE
    assert (await replica.finish(grant)).trial_state == "completed"
    assert (await lifecycle.resume_study(replica.context, name)).state is StudyState.ACTIVE
    assert (await replica.claim(name)).number == 1


async def test_only_what_fits_the_state_can_be_asked(replica: Replica) -> None:
    name = await replica.create()
    with pytest.raises(DomainError, match="the study is active; only one that is paused can be resumed") as caught:
        await lifecycle.resume_study(replica.context, name)
    assert caught.value.code is ErrorCode.STUDY_STATE
    await lifecycle.stop_study(replica.context, name, "")
    with pytest.raises(DomainError, match="the study is stopped; only one that is active can be paused"):
        await lifecycle.pause_study(replica.context, name, "")


async def test_a_study_with_nothing_running_stops_at_once(replica: Replica) -> None:
    name = await replica.create()
    view = await lifecycle.stop_study(replica.context, name, "enough")
    assert (view.state, view.state_reason, view.stop_requested) == (StudyState.STOPPED, "enough", True)
    assert view.finished_at is not None
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert answer.done
    again = await lifecycle.stop_study(replica.context, name, "more than enough")
    assert (again.state_reason, again.revision) == ("enough", view.revision)


@pytest.mark.parametrize("result", ["pruned", "released", "paused"])
async def test_a_stop_waits_for_running_attempts(replica: Replica, result: str) -> None:
    name = await replica.create()
    running, waiting = await replica.claim(name), await replica.claim(name)
    await replica.finish(waiting, "released")
    view = await lifecycle.stop_study(replica.context, name, "enough")
    assert (view.state, view.stop_requested) == (StudyState.ACTIVE, True)
    assert (await replica.trial(name, 1)).state is TrialState.CANCELLED
    assert isinstance(await replica.ask(name), NoTrial)
    status = await replica.heartbeat(running)
    assert (status.order, status.reason) == (Action.STOP, "the study was stopped")
    verdict = await replica.report(running, 1, 0.5)
    assert (verdict.action, verdict.reason) == (Action.STOP, "the study was stopped")
    assert (await replica.finish(running, result)).trial_state == "cancelled"
    view = await replica.study(name)
    assert (view.state, view.state_reason) == (StudyState.STOPPED, "enough")


async def test_an_attempt_that_ends_by_itself_after_a_stop_keeps_its_outcome(replica: Replica) -> None:
    name = await replica.create()
    done, failed = await replica.claim(name), await replica.claim(name)
    await replica.report(done, 1, 0.5)
    await lifecycle.stop_study(replica.context, name, "")
    assert (await replica.finish(done)).values == [0.5]
    assert (await replica.fail(failed, FailureClass.USER_EXCEPTION)).trial_state == "failed"
    assert (await replica.study(name)).state is StudyState.STOPPED


async def test_a_stopped_study_does_not_wait_for_a_dead_worker(replica: Replica) -> None:
    name = await replica.create()
    await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "")
    assert await replica.lose() == 1
    assert (await replica.study(name)).state is StudyState.STOPPED
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.attempts[0].state) == (TrialState.CANCELLED, AttemptState.LOST)


async def test_a_paused_study_can_be_stopped(replica: Replica) -> None:
    name = await replica.create()
    await lifecycle.pause_study(replica.context, name, "")
    assert (await lifecycle.stop_study(replica.context, name, "")).state is StudyState.STOPPED


async def test_a_study_is_complete_after_its_last_finish(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 2})
    grants = [await replica.claim(name) for _ in range(2)]
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert "all 2 trials of the budget were suggested; 2 are still open" in answer.reason
    assert not answer.done
    for grant in grants:
        assert (await replica.study(name)).state is StudyState.ACTIVE
        await replica.report(grant, 1, 0.5)
        await replica.finish(grant)
    view = await replica.study(name)
    assert (view.state, view.state_reason) == (StudyState.COMPLETED, "all 2 trials of the budget were suggested")
    answer = await replica.ask(name)
    assert isinstance(answer, NoTrial)
    assert answer.done


async def test_a_finished_study_continues_when_extended(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 1})
    await replica.train(name, 0.5)
    assert (await replica.study(name)).state is StudyState.COMPLETED
    view = await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=2))
    assert (view.state, view.spec_version, view.budget_trials, view.finished_at) == (StudyState.ACTIVE, 2, 2, None)
    grant = await replica.train(name, 0.4)
    assert grant.number == 1
    assert (await replica.study(name)).state is StudyState.COMPLETED


async def test_a_stopped_study_continues_when_extended(replica: Replica) -> None:
    name = await replica.create()
    await lifecycle.stop_study(replica.context, name, "")
    view = await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=4))
    assert (view.state, view.stop_requested) == (StudyState.ACTIVE, False)
    assert (await replica.claim(name)).number == 0


async def test_a_budget_only_grows(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 3})
    with pytest.raises(DomainError, match="the budget is 3 trials; name more than that to extend it"):
        await lifecycle.extend_study(replica.context, name, ExtendRequest(trials=3))
    assert (await replica.study(name)).spec_version == 1


async def test_enqueued_configurations_go_first(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 4})
    for lr, priority, num_ahead in ((0.01, 0, 0), (0.02, 0, 1), (0.03, 5, 0)):
        request = EnqueueRequest(parameters={"lr": lr}, priority=priority)
        assert (await enqueue(replica.context, name, request)).num_ahead == num_ahead
    grants = [await replica.claim(name) for _ in range(4)]
    assert [grant.parameters["lr"] for grant in grants[:3]] == [0.03, 0.01, 0.02]
    assert grants[3].parameters["lr"] not in {0.01, 0.02, 0.03}
    assert (await replica.trial(name, 0)).suggestion_reason == "enqueued by a user"


async def test_an_enqueued_configuration_must_fit(replica: Replica) -> None:
    name = await replica.create()
    with pytest.raises(DomainError, match="lr") as caught:
        await enqueue(replica.context, name, EnqueueRequest(parameters={"lr": 7.0}))
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "")
    with pytest.raises(DomainError, match="the study is being stopped; extend it first"):
        await enqueue(replica.context, name, EnqueueRequest(parameters={"lr": 0.01}))


async def test_studies_are_listed_newest_first_with_their_counts_and_best(replica: Replica) -> None:
    older = await replica.create()
    newer = await replica.create(reference={"baseline": 0.4})
    await replica.train(newer, 0.5)
    await replica.train(newer, 0.3)
    await replica.claim(newer)
    views = (await study_lookup.list_studies(replica.context)).studies
    assert [view.name for view in views] == [newer, older]
    assert views[0].num_trials == {TrialState.COMPLETED: 2, TrialState.RUNNING: 1}
    assert views[0].best is not None
    assert (views[0].best.number, views[0].best.values) == (1, [0.3])
    assert views[0].reference_summary is not None
    assert "baseline" in views[0].reference_summary
