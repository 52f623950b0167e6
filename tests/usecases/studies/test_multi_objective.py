"""Multi-objective studies from claim to Pareto front: values, completion, and membership."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.attempt import FinishRequest, Outcome
from service.contract.report import NonFinite, Point, ReportRequest
from service.contract.study import ParetoFront
from service.contract.trial import TrialDetail, TrialState
from service.domain.errors import DomainError
from service.storage.fsck.invariants import check
from service.storage.queries import checkpoints
from service.usecases.attempts.finish import finish
from service.usecases.attempts.report import report
from service.usecases.studies import creation
from service.usecases.trials.trial_lookup import get_best, get_front
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

SEVERAL: dict[str, Any] = {
    "objective": [
        {"metric": "accuracy", "direction": "maximize", "value": "best"},
        {"metric": "loss", "direction": "minimize"},
        {"metric": "size", "direction": "minimize"},
    ],
    "budget": {"trials": 9},
}


async def train(replica: Replica, name: str, *steps: dict[str, Any], **measured: Any) -> TrialDetail:
    """Claim a trial, report its steps, and finish with what was measured at the end."""
    grant = await replica.claim(name)
    points = [Point(step=at, metrics=metrics) for at, metrics in enumerate(steps, start=1)]
    await report(
        replica.context, grant.trial, grant.attempt, ReportRequest(nonce=grant.nonce, sequence=1, points=points)
    )
    outcome = Outcome(result="succeeded", metrics=measured)
    await finish(replica.context, grant.trial, grant.attempt, FinishRequest(nonce=grant.nonce, outcome=outcome))
    assert grant.number is not None
    return await replica.trial(name, grant.number)


async def test_each_final_value_is_of_its_own_series_or_measured_at_the_end(replica: Replica) -> None:
    name = await replica.create(**SEVERAL)
    steps = ({"accuracy": 0.9, "loss": 0.1}, {"accuracy": 0.8, "loss": 0.2})
    trial = await train(replica, name, *steps, size=100.0, accuracy=0.8)
    assert (trial.state, trial.values) == (TrialState.COMPLETED, [0.9, 0.2, 100.0])
    assert [each.broken for each in await replica.database.read(check) if each.broken] == []


async def test_a_trial_that_lacks_an_objective_has_failed_and_says_which(replica: Replica) -> None:
    name = await replica.create(**SEVERAL)
    trial = await train(replica, name, {"accuracy": 0.9})
    assert (trial.state, trial.values) == (TrialState.FAILED, None)
    assert trial.state_reason == "loss and size was never reported; it reported accuracy"


@pytest.mark.parametrize("wild", ["loss", "size"])
async def test_a_trial_of_which_one_objective_is_not_finite_has_diverged(replica: Replica, wild: str) -> None:
    name = await replica.create(**SEVERAL)
    nan = NonFinite(status="nan")
    told = {"loss": nan if wild == "loss" else 0.1}
    trial = await train(replica, name, {"accuracy": 0.9, **told}, size=nan if wild == "size" else 1.0)
    assert (trial.state, trial.infeasible, trial.values) == (TrialState.PRUNED, True, None)
    assert trial.state_reason == f"diverged: {wild} ended nan"


async def shown(replica: Replica, **changes: Any) -> tuple[str, ParetoFront]:
    """A study with four trials: the second is dominated by the first, the third and the last by nobody."""
    name = await replica.create(**{**SEVERAL, "objective": SEVERAL["objective"][:2], **changes})
    for accuracy, loss in ((0.9, 0.5), (0.8, 0.6), (0.7, 0.1), (0.95, 0.9)):
        await train(replica, name, {"accuracy": accuracy, "loss": loss})
    return name, await get_front(replica.context, name)


async def test_the_front_is_the_set_of_non_dominated_trials(replica: Replica) -> None:
    name, front = await shown(replica)
    assert [trial.number for trial in front.trials] == [0, 2, 3]
    view = await replica.study(name)
    assert (view.best, view.pareto_front, view.reference_summary) == (None, [0, 2, 3], None)
    assert view.budget_used.since_improvement == 0
    await train(replica, name, {"accuracy": 0.6, "loss": 0.6})
    assert (await replica.study(name)).budget_used.since_improvement == 1


async def test_the_hypervolume_ends_at_the_worst_values_or_where_the_study_says(replica: Replica) -> None:
    _, front = await shown(replica)
    assert front.reference_point == [0.7, 0.9]
    assert front.hypervolume == pytest.approx((0.9 - 0.7) * (0.9 - 0.5))
    _, front = await shown(replica, reference_point=[0.6, 1.0])
    assert front.reference_point == [0.6, 1.0]
    assert front.hypervolume == pytest.approx(0.3 * 0.5 + 0.1 * 0.4 + 0.05 * 0.1)


async def test_before_a_trial_is_completed_the_front_is_empty(replica: Replica) -> None:
    name = await replica.create(**SEVERAL)
    front = await get_front(replica.context, name)
    assert (front.trials, front.reference_point, front.hypervolume) == ([], None, None)
    assert (await replica.study(name)).pareto_front == []


async def test_no_trial_is_best(replica: Replica) -> None:
    name, _ = await shown(replica)
    with pytest.raises(DomainError, match="has 2 objectives and no best trial; use its Pareto front"):
        await get_best(replica.context, name)


async def test_with_one_objective_the_front_is_the_trials_with_the_best_value(replica: Replica) -> None:
    name = await replica.create()
    for value in (0.5, 0.3, 0.3):
        await replica.train(name, value)
    front = await get_front(replica.context, name)
    assert [trial.number for trial in front.trials] == [1, 2]
    assert front.hypervolume == pytest.approx(0.2)


async def test_a_grant_carries_the_monitor_of_the_first_steps(replica: Replica) -> None:
    grant = await replica.claim(await replica.create(**SEVERAL))
    assert (grant.monitor.metric, grant.monitor.direction, grant.monitor.keep) == ("accuracy", "maximize", "best")


async def test_last_checkpoints_of_all_on_the_front_are_kept(replica: Replica) -> None:
    name = await replica.create(**{**SEVERAL, "objective": SEVERAL["objective"][:2]})
    for number, loss in enumerate((0.5, 0.6, 0.1)):
        grant = await replica.claim(name)
        points = [Point(step=1, metrics={"accuracy": 0.9 - number / 10, "loss": loss})]
        request = ReportRequest(nonce=grant.nonce, sequence=1, points=points)
        await replica.checkpoint(grant, 1, request, sha256=str(number) * 64)
        await replica.finish(grant)
    assert await replica.database.read(checkpoints.wanted) == {"0" * 64, "2" * 64}


async def test_a_study_that_cannot_work_is_refused_with_all_that_is_wrong(replica: Replica) -> None:
    spec = spec_of(**SEVERAL, sampler="optuna:gp", pruner="median")
    with pytest.raises(DomainError) as caught:
        await creation.create_study(replica.context, spec)
    assert [error.path for error in caught.value.errors] == ["sampler.name", "pruner"]
