"""Baselines of the preflight stand beside the best value of a study, and a worse best value is a finding."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.preflight import Baseline, Check, CheckStatus, PreflightResult
from service.storage import tables
from service.usecases.maintenance.diagnosis import diagnose_due
from service.usecases.studies.preflight import get_preflight, start_preflight
from service.usecases.studies.study_lookup import list_studies
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio

TRAIN: dict[str, Any] = {
    "preflight": "warn",
    "objective": {"metric": "val/accuracy", "direction": "maximize"},
    "task": {
        "train": {
            "data": {"name": "digits"},
            "model": {"name": "mlp"},
            "optimizer": {"name": "sgd"},
            "loss": {"name": "cross_entropy"},
        }
    },
    "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}},
    "reference": {"human": 0.99, "baseline": 0.1},
}


def result(**values: float) -> PreflightResult:
    check = Check(number=1, name="one_step", status=CheckStatus.PASSED, sentence="One step runs.")
    baselines = [
        Baseline(name=name, model="a model", metrics={"val/accuracy": value, "val/loss": 1.0})
        for name, value in values.items()
    ]
    without_value = Baseline(name="hist_boosting", note="not fitted: the 10 s of all baselines were over")
    return PreflightResult(checks=[check], seconds=1.0, baselines=[*baselines, without_value])


async def checked(replica: Replica, **changes: Any) -> str:
    """A study whose preflight has ended."""
    name = await replica.create(**{**TRAIN, **changes})
    await replica.finish(await replica.claim(name), preflight=result(majority=0.1, linear=0.96))
    return name


async def test_baselines_stand_beside_the_best_value_after_what_is_known_of_it(replica: Replica) -> None:
    name = await checked(replica)
    before = await replica.study(name)
    assert [(each.name, each.kind, each.value) for each in before.references] == [
        ("human", "human", 0.99),
        ("baseline", "baseline", 0.1),
        ("majority", "baseline", 0.1),
        ("linear", "baseline", 0.96),
    ]
    assert (before.reference_summary, before.findings) == (None, [])
    await replica.train(name, 0.97)
    study = await replica.study(name)
    assert study.reference_summary == "reaches baseline 0.1, majority 0.1, linear 0.96; 0.02 short of human 0.99"
    assert study.findings == []
    assert [each.references for each in (await list_studies(replica.context)).studies] == [study.references]
    assert (await get_preflight(replica.context, name)).result == result(majority=0.1, linear=0.96)


@pytest.mark.usefixtures("at_once")
async def test_a_best_value_below_the_linear_baseline_is_a_finding_until_a_trial_beats_it(replica: Replica) -> None:
    name = await checked(replica)
    await replica.train(name, 0.9)
    await diagnose_due(replica.context)
    [found] = (await replica.study(name)).findings
    assert found.rule == "below_linear"
    assert "so far, 0.9, is worse than the 0.96 of a linear model" in found.sentence
    assert f"study preflight {name}" in found.remedies[0].sentence
    await replica.train(name, 0.961)
    await diagnose_due(replica.context)
    assert (await replica.study(name)).findings == []


async def test_a_baseline_that_does_not_measure_the_first_objective_is_left_out(replica: Replica) -> None:
    name = await checked(replica, objective={"metric": "val/f1_macro", "direction": "maximize"}, reference=None)
    assert (await replica.study(name)).references == []


async def test_the_newest_completed_preflight_counts(replica: Replica) -> None:
    name = await checked(replica)
    await start_preflight(replica.context, name)
    assert [each.value for each in (await replica.study(name)).references][-1] == 0.96
    again = await replica.claim(name)
    assert again.preflight is not None
    assert [each.value for each in (await replica.study(name)).references][-1] == 0.96, "while a worker runs it"
    await replica.finish(again, preflight=result(majority=0.1, linear=0.5))
    assert [each.value for each in (await replica.study(name)).references][-1] == 0.5


async def test_damaged_baselines_do_not_hide_the_study(replica: Replica) -> None:
    name = await checked(replica)
    with replica.database.writer.begin() as connection:
        outcome = {"result": "succeeded", "preflight": {"baselines": [{"name": 3, "unknown": []}]}}
        connection.execute(tables.attempt.update().values(outcome=outcome))
    other = Replica(replica.database)
    assert [each.name for each in (await other.study(name)).references] == ["human", "baseline"]


async def test_the_front_of_several_objectives_has_the_baselines_of_the_first(replica: Replica) -> None:
    objectives = [
        {"metric": "val/accuracy", "direction": "maximize"}, {"metric": "num_parameters", "direction": "minimize"},
    ]  # fmt: skip
    name = await checked(replica, objective=objectives, reference=None)
    study = await replica.study(name)
    assert [each.name for each in study.references] == ["majority", "linear"]
    assert (study.reference_summary, study.findings) == (None, [])
