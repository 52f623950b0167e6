"""Extreme numbers: every answer that contains them is JSON, and a client reads the same numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from service.contract.report import Point, ReportRequest
from service.contract.study import MeanOfLast, Objective
from service.contract.trial import TrialState
from service.domain.objective import final_value
from service.storage.database import Database
from service.usecases.attempts.report import report
from service.usecases.studies import creation, study_lookup
from service.usecases.studies.importance import study_importance
from service.usecases.studies.planning import plan_study
from service.usecases.trials import trial_lookup
from tests.usecases.replica import Replica, spec_of

pytestmark = pytest.mark.anyio

LARGEST = 1.7976931348623157e308
CURVES = ([1.7e308] * 3, [-1.7e308] * 3, [LARGEST, -LARGEST, LARGEST], [5e-324] * 3, [-0.0, 5e-324, -5e-324], [1e308])


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_mean_of_finite_values_lies_among_them(values: list[float]) -> None:
    objective = Objective(metric="loss", direction="minimize", value=MeanOfLast(mean_of_last=len(values)))
    mean = final_value(objective, tuple(enumerate(values)))
    assert mean is not None
    assert math.isfinite(mean)
    smallest, largest = min(values), max(values)
    slack = 4 * len(values) * math.ulp(max(abs(smallest), abs(largest)))
    assert smallest - slack <= mean <= largest + slack


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_mean_over_a_value_that_is_not_finite_is_not_finite(bad: float) -> None:
    objective = Objective(metric="loss", direction="minimize", value=MeanOfLast(mean_of_last=3))
    mean = final_value(objective, ((1, 1.0), (2, bad), (3, LARGEST)))
    assert mean is not None
    assert not math.isfinite(mean)


def sent(answer: BaseModel) -> BaseModel:
    """What a client reads; it is equal to what was sent."""
    read = type(answer).model_validate_json(answer.model_dump_json())
    assert read == answer
    return read


async def send_all(replica: Replica, name: str, *, several: bool = False) -> None:
    """Send every answer about a study."""
    context = replica.context
    view = await replica.study(name)
    sent(view)
    sent(await study_lookup.list_studies(context))
    sent(await trial_lookup.list_trials(context, name, 0, 100))
    sent(await study_lookup.list_events(context, name, 0, 1000))
    sent(await study_importance(context, name))
    sent(await (trial_lookup.get_front if several else trial_lookup.get_best)(context, name))
    for each in await replica.trials(name):
        sent(await replica.trial(name, each.number or 0))
    sent(await plan_study(context, view.spec, name))


@pytest.mark.parametrize("rule", ["last", "best", {"mean_of_last": 3}])
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
async def test_extreme_values_of_one_objective(database: Database, rule: Any, direction: str) -> None:
    replica = Replica(database)
    name = await replica.create(
        objective={"metric": "loss", "direction": direction, "value": rule},
        space={
            "lr": {"type": "float", "low": 1e-300, "high": 1.0, "log": True},
            "shift": {"type": "float", "low": -8e307, "high": 8e307},
        },
        reference={"baseline": LARGEST, "human": -LARGEST, "published": 5e-324},
        budget={"trials": 100, "hours": 1e308},
        sampler={"name": "random", "seed": 1},
    )
    for curve in CURVES:
        await replica.train(name, *curve)
        await send_all(replica, name)
    assert (await replica.study(name)).num_trials == {TrialState.COMPLETED: len(CURVES)}


async def test_extreme_values_of_several_objectives(database: Database) -> None:
    replica = Replica(database)
    metrics = ("loss", "size", "seconds")
    name = await replica.create(
        objective=[{"metric": metric, "direction": "minimize"} for metric in metrics], budget={"trials": 100}
    )
    for values in [(LARGEST, -LARGEST, 0.0), (-LARGEST, LARGEST, 5e-324), (-1.7e308, -1.7e308, -1.7e308)]:
        grant = await replica.claim(name)
        point = Point(step=1, metrics=dict(zip(metrics, values, strict=True)))
        request = ReportRequest(nonce=grant.nonce, sequence=1, points=[point])
        sent(await report(replica.context, grant.trial, grant.attempt, request))
        sent(await replica.finish(grant))
        await send_all(replica, name, several=True)


@pytest.mark.parametrize("pruner", ["median", "percentile", "patience", "asha", "hyperband"])
async def test_extreme_values_before_a_pruner(database: Database, pruner: str) -> None:
    replica = Replica(database)
    options = {"percentile": {"percentile": 50}, "patience": {"patience": 1}}.get(pruner, {})
    spec = spec_of(pruner={"name": pruner, **options}, resource={"name": "epoch", "max": 9}, budget={"trials": 20})
    name = (await creation.create_study(replica.context, spec)).name
    for curve in CURVES:
        grant = await replica.claim(name)
        for step, value in enumerate(curve, start=1):
            sent(await replica.report(grant, step, value))
        await replica.finish(grant)
    for each in await replica.trials(name):
        sent(await replica.trial(name, each.number or 0))
    sent(await replica.study(name))
