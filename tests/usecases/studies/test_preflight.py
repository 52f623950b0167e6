"""Preflights: a worker checks a study before its first trial; its result may pause the study."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.capabilities import Device
from service.contract.claim import NoTrial
from service.contract.preflight import Check, CheckStatus, LearningRateRange, MemoryLimit, PreflightResult
from service.contract.problem import ErrorCode
from service.contract.study import Constraints, EditRequest, PauseCause, StudyState
from service.contract.trial import TrialKind, TrialState
from service.domain.errors import DomainError
from service.usecases.studies import lifecycle
from service.usecases.studies.edit import edit_study
from service.usecases.studies.planning import plan_study
from service.usecases.studies.preflight import get_preflight, start_preflight
from service.usecases.studies.study_lookup import list_events, list_studies
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

TRAIN: dict[str, Any] = {
    "preflight": None,
    "task": {
        "train": {
            "data": {"name": "digits"},
            "model": {"name": "mlp"},
            "optimizer": {"name": "sgd"},
            "loss": {"name": "cross_entropy"},
            "epochs": 4,
        }
    },
    "space": {
        "optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64], "ordered": True},
        "model.dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    },
}


def result_of(*statuses: CheckStatus, **measured: Any) -> PreflightResult:
    checks = [
        Check(number=at, name=f"check_{at}", status=status, sentence=f"the figure is {at}", remedy="lower optimizer.lr")
        for at, status in enumerate(statuses, start=1)
    ]
    return PreflightResult(checks=checks, seconds=2.5, seconds_per_epoch=0.5, **measured)


RATES = LearningRateRange(falls=2e-4, steepest=1e-3, explodes=5e-3, proposed=1e-3)


PASSED, WARNED, FAILED = CheckStatus.PASSED, CheckStatus.WARNED, CheckStatus.FAILED


async def test_the_first_grant_of_a_train_study_is_its_preflight_at_the_centre_of_the_space(replica: Replica) -> None:
    name = await replica.create(**TRAIN, budget={"trials": 5, "hours": 2})
    grant = await replica.claim(name)
    assert grant.number is None
    assert grant.preflight is not None
    assert (grant.preflight.spec.name, set(grant.preflight.spec.space)) == (name, set(TRAIN["space"]))
    assert (grant.preflight.budget_epochs, grant.preflight.spec.budget.hours) == (20, 2)
    assert grant.parameters == {
        "optimizer.lr": pytest.approx(1e-3),
        "batch_size": 32,
        "model.dropout": pytest.approx(0.2),
    }
    assert (await replica.trial(name, grant.trial)).kind is TrialKind.PREFLIGHT


async def test_the_first_trial_waits_for_the_preflight_and_is_number_0(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    grant = await replica.claim(name)
    answer = await replica.ask(name, worker="other")
    assert isinstance(answer, NoTrial)
    assert "its preflight has not ended" in answer.reason
    await replica.finish(grant, preflight=result_of(PASSED, PASSED))
    first = await replica.claim(name, worker="other")
    assert (first.number, first.preflight) == (0, None)
    view = await get_preflight(replica.context, name)
    assert (view.state, view.result) == (TrialState.COMPLETED, result_of(PASSED, PASSED))
    assert view.state_reason == "preflight: 2 passed"


async def test_a_preflight_counts_against_no_budget(replica: Replica) -> None:
    name = await replica.create(**TRAIN, budget={"trials": 1})
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED))
    study = await replica.study(name)
    assert (study.budget_used.trials, study.budget_used.device_hours, study.budget_used.failures) == (0, 0, 0)
    assert [trial.number for trial in await replica.trials(name)] == []
    await replica.train(name, 0.5)
    assert (await replica.study(name)).state is StudyState.COMPLETED


async def test_a_failed_check_warns_by_default_and_the_search_begins(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, FAILED, WARNED))
    assert (await replica.study(name)).state is StudyState.ACTIVE
    view = await get_preflight(replica.context, name)
    assert view.state_reason == (
        "preflight: 1 passed, 1 warned, 1 failed; check_2: the figure is 2; lower optimizer.lr"
    )
    assert (await replica.claim(name)).number == 0


async def test_a_failed_check_pauses_a_study_that_requires_its_preflight(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "require"})
    await replica.finish(await replica.claim(name), preflight=result_of(FAILED, FAILED))
    study = await replica.study(name)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, PauseCause.PREFLIGHT)
    assert study.state_reason is not None
    assert "the preflight failed: check_1: the figure is 1; lower optimizer.lr (and 1 more)" in study.state_reason
    assert f"study preflight {name} --again" in study.state_reason
    await lifecycle.resume_study(replica.context, name)
    assert (await replica.claim(name)).number == 0


async def test_a_study_whose_preflight_is_reviewed_waits_for_its_user_though_all_is_well(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "review"})
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, WARNED))
    study = await replica.study(name)
    assert (study.state, study.pause_cause) == (StudyState.PAUSED, PauseCause.PREFLIGHT)
    assert (study.state_reason or "").startswith("preflight: 1 passed, 1 warned; check_2: the figure is 2; lower")
    await lifecycle.resume_study(replica.context, name)
    assert (await replica.claim(name)).number == 0


async def test_a_new_preflight_lets_a_study_go_on_that_the_last_one_paused(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "require"})
    await replica.finish(await replica.claim(name), preflight=result_of(FAILED))
    view = await start_preflight(replica.context, name)
    assert (view.state, view.result) == (TrialState.WAITING, None)
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED))
    assert (await replica.claim(name)).number == 0


async def test_only_one_preflight_is_open_at_a_time(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    first = (await get_preflight(replica.context, name)).trial
    assert (await start_preflight(replica.context, name)).trial == first
    assert (await replica.claim(name)).trial == first
    assert (await start_preflight(replica.context, name)).trial == first
    assert isinstance(await replica.ask(name), NoTrial), "no second preflight waits"


async def test_a_preflight_that_its_worker_pauses_waits_for_the_next(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name), "paused")
    again = await replica.claim(name, worker="other")
    assert (again.preflight is not None, again.attempt) == (True, 2)
    assert (await get_preflight(replica.context, name)).finished_at is None
    await replica.finish(again, preflight=result_of(PASSED))
    assert (await get_preflight(replica.context, name)).finished_at is not None


async def test_a_preflight_that_ends_after_the_stop_keeps_its_result(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    grant = await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "enough")
    await replica.finish(grant, preflight=result_of(PASSED))
    view = await get_preflight(replica.context, name)
    assert (view.state, view.result) == (TrialState.COMPLETED, result_of(PASSED))
    assert (await replica.study(name)).state is StudyState.STOPPED


async def test_a_required_preflight_pauses_nothing_while_it_passes_or_waits_for_another_worker(
    replica: Replica,
) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "require"})
    await replica.claim(name)
    assert await replica.lose() == 1
    assert (await replica.study(name)).state is StudyState.ACTIVE
    await replica.finish(await replica.claim(name, worker="other"), preflight=result_of(PASSED, WARNED))
    assert (await replica.study(name)).state is StudyState.ACTIVE


async def test_a_study_that_its_user_paused_stays_paused_by_its_user(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "require"})
    grant = await replica.claim(name)
    await lifecycle.pause_study(replica.context, name, "lunch")
    await replica.finish(grant, preflight=result_of(FAILED))
    study = await replica.study(name)
    assert (study.pause_cause, study.state_reason) == (PauseCause.USER, "lunch")
    assert (await get_preflight(replica.context, name)).state is TrialState.COMPLETED


async def test_a_search_that_has_begun_is_not_paused_by_a_later_preflight(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "require"})
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED))
    assert (await replica.claim(name)).number == 0
    await start_preflight(replica.context, name)
    await replica.finish(await replica.claim(name), preflight=result_of(FAILED))
    assert (await replica.study(name)).state is StudyState.ACTIVE


async def test_a_study_that_has_ended_or_is_being_stopped_is_not_checked(replica: Replica) -> None:
    ended = await replica.create(**{**TRAIN, "preflight": "off", "budget": {"trials": 1}})
    await replica.train(ended, 0.5)
    assert (await replica.study(ended)).state is StudyState.COMPLETED
    stopping = await replica.create(**{**TRAIN, "preflight": "off"})
    await replica.claim(stopping)
    await lifecycle.stop_study(replica.context, stopping, "enough")
    assert (await replica.study(stopping)).state is StudyState.ACTIVE
    for name in (ended, stopping):
        with pytest.raises(DomainError, match=f"has ended or is being stopped; extend it first .study extend {name}"):
            await start_preflight(replica.context, name)


async def test_a_preflight_of_a_study_at_work_holds_no_trial_back(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "off"})
    await replica.claim(name)
    await start_preflight(replica.context, name)
    assert (await replica.claim(name)).preflight is not None
    assert (await replica.claim(name)).number == 1


@pytest.mark.parametrize("mode", ["off", "warn", "require", "review"])
async def test_a_preflight_that_raises_ends_without_a_result(replica: Replica, mode: str) -> None:
    name = await replica.create(**{**TRAIN, "preflight": mode})
    await start_preflight(replica.context, name)  # with `off` its user asks for one
    await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION, message="KeyError: 1")
    view = await get_preflight(replica.context, name)
    assert (view.state, view.result, view.state_reason) == (TrialState.FAILED, None, "KeyError: 1")
    study = await replica.study(name)
    holds_back = mode in ("require", "review")
    assert study.state is (StudyState.PAUSED if holds_back else StudyState.ACTIVE)
    if holds_back:
        assert "the preflight ended without a result: KeyError: 1" in (study.state_reason or "")


async def test_a_preflight_without_results_has_failed(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name))
    view = await get_preflight(replica.context, name)
    assert (view.state, view.state_reason) == (TrialState.FAILED, "its worker sent no results of the checks")


async def test_a_lost_preflight_waits_for_another_worker(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    lost = await replica.claim(name)
    assert await replica.lose() == 1
    again = await replica.claim(name, worker="other")
    assert (again.trial, again.attempt) == (lost.trial, 2)


async def test_stopping_a_study_ends_its_preflight(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    grant = await replica.claim(name)
    await lifecycle.stop_study(replica.context, name, "enough")
    await replica.finish(grant, "released", failure=FailureClass.PREEMPTED)
    assert (await get_preflight(replica.context, name)).state is TrialState.CANCELLED
    assert (await replica.study(name)).state is StudyState.STOPPED


async def test_three_failed_preflights_do_not_pause_the_study_as_failing_trials_do(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    for _ in range(3):
        await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION, message="KeyError: 1")
        await start_preflight(replica.context, name)
    assert (await replica.study(name)).state is StudyState.ACTIVE


async def test_a_study_without_a_task_or_preflight_says_so(replica: Replica) -> None:
    name = await replica.create()
    for call, code, message in (
        (start_preflight, ErrorCode.STUDY_STATE, "has no task that a worker could check"),
        (get_preflight, ErrorCode.UNKNOWN_TRIAL, f"has no preflight; start one: study preflight {name}"),
    ):
        with pytest.raises(DomainError, match=message) as caught:
            await call(replica.context, name)
        assert caught.value.code is code


async def test_a_paused_study_is_resumed_first(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED))
    await lifecycle.pause_study(replica.context, name, "lunch")
    with pytest.raises(DomainError, match=f"is paused: lunch; resume it first .study resume {name}."):
        await start_preflight(replica.context, name)


async def test_a_study_shows_its_newest_preflight_in_one_line(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    waiting = (await replica.study(name)).preflight
    assert waiting is not None
    assert (waiting.state, waiting.state_reason, waiting.holds_back) == (TrialState.WAITING, None, True)
    grant = await replica.claim(name)
    running = (await replica.study(name)).preflight
    assert running is not None
    assert (running.state, running.holds_back) == (TrialState.RUNNING, True)
    await replica.finish(grant, preflight=result_of(PASSED, FAILED))
    ended = (await replica.study(name)).preflight
    assert ended is not None
    assert (ended.state, ended.holds_back) == (TrialState.COMPLETED, False)
    assert ended.state_reason == "preflight: 1 passed, 1 failed; check_2: the figure is 2; lower optimizer.lr"
    await replica.claim(name)
    await start_preflight(replica.context, name)
    again = (await replica.study(name)).preflight
    assert again is not None
    assert (again.state, again.holds_back) == (TrialState.WAITING, False), "the search has begun"
    listed = {each.name: each.preflight for each in (await list_studies(replica.context)).studies}
    assert listed[name] == again


async def test_rates_are_proposed_with_the_edit_that_accepts_them(replica: Replica) -> None:
    name = await replica.create(**TRAIN)
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, learning_rate=RATES))
    assert (await replica.study(name)).spec_version == 1
    (proposal,) = (await get_preflight(replica.context, name)).proposals
    assert proposal.settings == {"space.optimizer.lr.low": 1e-4, "space.optimizer.lr.high": 5e-3}
    assert "proposes 0.001" in proposal.reason


async def test_rates_are_applied_by_a_new_version_of_the_spec_before_the_first_trial(replica: Replica) -> None:
    name = await replica.create(**TRAIN, preflight_rates="apply")
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, learning_rate=RATES))
    study = await replica.study(name)
    assert study.spec_version == 2
    rate = study.spec.space["optimizer.lr"].model_dump()
    assert (rate["low"], rate["high"]) == (1e-4, 5e-3)
    (edited,) = (await list_events(replica.context, name, 0, 100, "study_edited")).events
    assert edited.data["version"] == 2
    changed, why = edited.data["changes"]
    assert changed == "space.optimizer.lr.high: 0.01 -> 0.005"
    assert why == (
        "after the preflight: the learning-rate range test proposes 0.001, so optimizer.lr is searched from 0.0001 to "
        "0.005, and not from 0.0001 to 0.01"
    )
    view = await get_preflight(replica.context, name)
    assert (view.proposals, view.spec_version) == ([], 1)
    first = await replica.claim(name)
    assert first.number == 0
    assert 1e-4 <= first.parameters["optimizer.lr"] <= 5e-3  # type: ignore[operator]


async def test_a_search_that_has_begun_keeps_its_rates(replica: Replica) -> None:
    name = await replica.create(**TRAIN, preflight_rates="apply")
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED))
    assert (await replica.claim(name)).number == 0
    await start_preflight(replica.context, name)
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, learning_rate=RATES))
    assert (await replica.study(name)).spec_version == 1
    assert len((await get_preflight(replica.context, name)).proposals) == 1


async def test_a_spec_that_was_edited_during_its_preflight_is_kept(replica: Replica) -> None:
    name = await replica.create(**TRAIN, preflight_rates="apply")
    grant = await replica.claim(name)
    spec = (await replica.study(name)).spec.model_copy(update={"description": "edited meanwhile"})
    await edit_study(replica.context, name, EditRequest(spec=spec, version=1))
    await replica.finish(grant, preflight=result_of(PASSED, learning_rate=RATES))
    assert (await replica.study(name)).spec_version == 2


async def test_a_preflight_that_failed_applies_nothing(replica: Replica) -> None:
    name = await replica.create(**TRAIN, preflight_rates="apply")
    await replica.fail(
        await replica.claim(name), FailureClass.USER_EXCEPTION, preflight=result_of(PASSED, learning_rate=RATES)
    )
    assert (await replica.study(name)).spec_version == 1


async def test_corners_that_ran_out_of_memory_are_infeasible_in_advance(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "sampler": {"name": "random"}, "budget": {"trials": 30}})
    limit = MemoryLimit(parameters={"batch_size": 64}, larger=["batch_size"], gpu_memory_gib=8)
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, memory_limits=[limit]))
    study = await replica.study(name)
    assert (study.spec_version, study.spec.constraints) == (2, Constraints(memory=[limit]))
    (edited,) = (await list_events(replica.context, name, 0, 100, "study_edited")).events
    assert "too small for batch_size = 64; such configurations and larger ones are infeasible" in str(edited.data)
    device = Device(kind="cuda", memory_gib=8)
    granted = [await replica.claim(name, devices=[device]) for _ in range(8)]
    assert {grant.parameters["batch_size"] for grant in granted} == {16, 32}
    ended = [trial for trial in await replica.trials(name) if trial.infeasible]
    assert ended
    assert {trial.parameters["batch_size"] for trial in ended} == {64}


AUTO: dict[str, Any] = {
    **TRAIN,
    "task": {"train": {**TRAIN["task"]["train"], "batch_size": "auto"}},
    "space": {"optimizer.lr": TRAIN["space"]["optimizer.lr"]},
}


async def test_an_automatic_batch_size_is_the_same_number_for_all_trials(replica: Replica) -> None:
    name = await replica.create(**AUTO)
    grant = await replica.claim(name)
    assert grant.task["batch_size"] == "auto"  # type: ignore[index,call-overload]
    await replica.finish(grant, preflight=result_of(PASSED, batch_size=128))
    assert (await replica.study(name)).spec_version == 2
    (edited,) = (await list_events(replica.context, name, 0, 100, "study_edited")).events
    assert edited.data["changes"] == [
        'task.train.batch_size: "auto" -> 128',
        "after the preflight: batch_size: auto becomes 128, the same for all trials",
    ]
    for _ in range(2):
        assert (await replica.claim(name)).task["batch_size"] == 128  # type: ignore[index,call-overload]


async def test_a_plan_of_an_automatic_batch_size_knows_its_study(replica: Replica) -> None:
    name = await replica.create(**AUTO, name="automatic")
    await replica.finish(await replica.claim(name), preflight=result_of(PASSED, batch_size=128))
    assert (await plan_study(replica.context, spec_of(**AUTO, name="automatic"))).step_seconds == 0.5
    other = {**AUTO["task"]["train"], "model": {"name": "linear"}}
    spec = spec_of(**{**AUTO, "task": {"train": other}}, name="automatic")
    assert (await plan_study(replica.context, spec)).step_seconds is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({**TRAIN, "preflight": "off"}, "this study has no preflight; write preflight: warn, or leave"),
        (
            {"task": {"function": "mine:train"}, "preflight": "warn"},
            "only a train task has learning rates to measure; leave",
        ),
    ],
)
async def test_rates_that_no_preflight_measures_are_not_applied(
    replica: Replica, changes: dict[str, Any], why: str
) -> None:
    with pytest.raises(DomainError, match=f"preflight_rates: apply needs the rates of a preflight, and {why}"):
        await replica.create(**changes, preflight_rates="apply")
    await replica.create(**changes, preflight_rates="propose")


async def test_a_reason_to_pause_joins_sentences_without_their_full_stops(replica: Replica) -> None:
    name = await replica.create(**{**TRAIN, "preflight": "require"})
    check = Check(number=2, name="initial_loss", status=FAILED, sentence="The loss is 9.", remedy="Look at the model.")
    await replica.finish(await replica.claim(name), preflight=PreflightResult(checks=[check], seconds=1))
    reason = (await replica.study(name)).state_reason or ""
    assert reason.startswith("the preflight failed: initial_loss: The loss is 9; Look at the model; start the search")


async def test_the_centre_has_the_choice_that_the_task_sets(replica: Replica) -> None:
    space = {"optimizer.name": {"type": "categorical", "choices": ["adamw", "sgd"]}}
    grant = await replica.claim(await replica.create(**{**TRAIN, "space": space}))
    assert grant.parameters == {"optimizer.name": "sgd"}
    own = await replica.create(task={"function": "mine:train"}, preflight="warn")
    assert set((await replica.claim(own)).parameters) == {"lr"}


@pytest.mark.parametrize("mode", ["warn", "require", "review"])
async def test_a_study_without_a_task_has_no_preflight(replica: Replica, mode: str) -> None:
    with pytest.raises(DomainError, match="preflight: callers of the API execute the trials of a study without a task"):
        await replica.create(preflight=mode)
    await replica.create(preflight="off")
    await replica.create(preflight=None)
