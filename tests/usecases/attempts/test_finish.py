"""Finishing an attempt: the value comes from the canonical series, and the outcome decides the trial's state."""

from __future__ import annotations

import math
from typing import Any

import pytest

from service.contract.attempt import FailureClass
from service.contract.problem import ErrorCode
from service.contract.report import NonFinite, Number, Point, ReportRequest
from service.contract.trial import TrialState
from service.domain.errors import DomainError
from service.search import decide
from service.storage.queries import attempts
from service.usecases.attempts.report import report
from service.usecases.studies import lifecycle
from service.usecases.studies.study_lookup import get_study
from service.usecases.trials.trial_lookup import get_best
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("value", "direction", "final"),
    [
        ("last", "minimize", 0.6),
        ("best", "minimize", 0.2),
        ("best", "maximize", 0.8),
        ({"mean_of_last": 2}, "minimize", 0.5),
        ({"mean_of_last": 9}, "minimize", 0.5),
    ],
)
async def test_the_final_value_is_taken_as_the_objective_says(
    replica: Replica, value: Any, direction: str, final: float
) -> None:
    name = await replica.create(objective={"metric": "loss", "direction": direction, "value": value})
    await replica.train(name, 0.8, 0.2, 0.4, 0.6)
    trial = await replica.trial(name, 0)
    assert trial.state is TrialState.COMPLETED
    assert trial.values == [pytest.approx(final)]


@pytest.mark.parametrize("failure", [FailureClass.DIVERGED, FailureClass.INFEASIBLE, FailureClass.INVALID])
async def test_parameters_that_do_not_work_are_pruned_as_infeasible(replica: Replica, failure: FailureClass) -> None:
    name = await replica.create(sampler="grid", space={"lr": {"type": "categorical", "choices": [0.1, 0.2]}})
    grant = await replica.claim(name)
    assert (await replica.fail(grant, failure, message="no such luck")).trial_state == "pruned"
    trial = await replica.trial(name, 0)
    assert (trial.infeasible, trial.state_reason, trial.num_attempts) == (True, "no such luck", 1)


@pytest.mark.parametrize(
    ("value", "values"),
    [
        ("last", (0.5, math.nan)),
        ("best", (math.nan, math.inf)),
        ("best", (0.5, math.nan)),
        ("best", (0.5, -math.inf)),
        ({"mean_of_last": 2}, (0.5, math.nan)),
    ],
)
async def test_a_trial_that_succeeds_without_a_finite_value_has_diverged(
    replica: Replica, value: str | dict[str, int], values: tuple[float, ...]
) -> None:
    name = await replica.create(objective={"metric": "loss", "direction": "minimize", "value": value})
    await replica.train(name, *values)
    trial = await replica.trial(name, 0)
    assert (trial.state, trial.infeasible) == (TrialState.PRUNED, True)
    assert (trial.state_reason or "").startswith("diverged: loss ended ")


async def test_a_trial_that_never_reported_the_objective_fails(replica: Replica) -> None:
    name = await replica.create()
    assert (await replica.finish(await replica.claim(name))).trial_state == "failed"
    trial = await replica.trial(name, 0)
    assert (trial.state_reason, trial.infeasible) == ("loss was never reported; it reported nothing", False)


async def test_an_outcome_keeps_its_message_traceback_and_metrics(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    metrics = {"test/loss": 0.5, "grad": NonFinite(status="inf")}
    await replica.fail(grant, FailureClass.USER_EXCEPTION, message="boom", traceback="Traceback …", metrics=metrics)
    trial = await replica.trial(name, 0)
    assert trial.metrics == metrics
    (attempt,) = trial.attempts
    assert (attempt.failure, attempt.message, attempt.traceback) == ("user_exception", "boom", "Traceback …")
    assert attempt.ended_at is not None
    assert trial.started_at is not None
    assert trial.started_at <= attempt.ended_at


async def test_the_best_is_completed(replica: Replica) -> None:
    name = await replica.create(budget={"trials": 4})
    with pytest.raises(DomainError, match="has no completed trial yet") as caught:
        await get_best(replica.context, name)
    assert caught.value.code is ErrorCode.UNKNOWN_TRIAL
    pruned = await replica.claim(name)
    await replica.report(pruned, 1, 0.001)
    await replica.finish(pruned, "pruned")
    for value in (0.5, 0.3, 0.4):
        await replica.train(name, value)
    best = await get_best(replica.context, name)
    assert (best.number, best.values) == (2, [0.3])


async def test_of_equal_values_the_lower_plain_loss_is_the_best(replica: Replica) -> None:
    """The database and the history choose the same trial."""
    name = await replica.create(
        objective={"metric": "val/accuracy", "direction": "maximize", "value": "best"}, budget={"trials": 5}
    )
    for accuracy, loss in ((0.9, None), (0.9, 0.4), (0.9, 0.3), (0.9, 0.3), (0.8, 0.1)):
        grant = await replica.claim(name)
        metrics: dict[str, Number] = {"val/accuracy": accuracy}
        if loss is not None:
            metrics["val/cross_entropy"] = loss
        request = ReportRequest(nonce=grant.nonce, sequence=1, points=[Point(step=1, metrics=metrics)])
        await report(replica.context, grant.trial, grant.attempt, request)
        await replica.finish(grant)
    best = await get_best(replica.context, name)
    assert (best.number, best.values) == (2, [0.9])
    study = await get_study(replica.context, name)
    assert study.best is not None
    history = await replica.database.read(
        lambda connection: replica.context.histories.latest(connection, study.id, "val/accuracy")
    )
    of_history = history.best("maximize")
    assert of_history is not None
    assert (study.best.number, of_history.number) == (2, 2)


async def test_an_unknown_trial_number_is_reported(replica: Replica) -> None:
    name = await replica.create()
    with pytest.raises(DomainError, match="has no trial 7; it has 0, numbered from 0") as caught:
        await replica.trial(name, 7)
    assert caught.value.code is ErrorCode.UNKNOWN_TRIAL


async def test_whether_a_search_is_over_is_asked_only_where_it_may_be(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether its sampler has more to hand out is a question to the whole history."""
    num_asked = 0

    def over(*args: Any, **kwargs: Any) -> str | None:
        nonlocal num_asked
        num_asked += 1
        return right(*args, **kwargs)

    right = decide.completion_reason
    monkeypatch.setattr(decide, "completion_reason", over)
    name = await replica.create(budget={"trials": 3})
    first, second = await replica.claim(name), await replica.claim(name, worker="other")
    await replica.finish(first)
    assert num_asked == 0, "a trial of it runs"
    await lifecycle.pause_study(replica.context, name, "")
    await replica.finish(second)
    assert num_asked == 0, "it is paused"
    await lifecycle.resume_study(replica.context, name)
    assert num_asked == 1


async def test_only_a_failure_lets_a_study_s_failures_be_counted(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    num_asked = 0

    def ends(*args: Any, **kwargs: Any) -> Any:
        nonlocal num_asked
        num_asked += 1
        return right(*args, **kwargs)

    right = attempts.ends
    monkeypatch.setattr(attempts, "ends", ends)
    name = await replica.create(budget={"trials": 9})
    await replica.train(name, 0.5)
    await replica.finish(await replica.claim(name), "released")
    await replica.fail(await replica.claim(name), FailureClass.PROCESS_KILLED)
    assert num_asked == 0
    await replica.fail(await replica.claim(name), FailureClass.USER_EXCEPTION)
    assert num_asked > 0
