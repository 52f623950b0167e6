"""Studies of an estimator: their settings are checked when they are created, and any worker may get their trials."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.base import TaskKind
from service.contract.claim import Grant, NoTrial
from service.contract.study import StudySpec, StudyState
from service.domain.errors import DomainError
from service.usecases.dispatch.claim import claim
from service.usecases.studies.preflight import start_preflight
from tests.usecases.replica import Replica, claim_request, spec_of

pytestmark = pytest.mark.anyio

DATA = {"name": "csv", "path": "houses.csv", "target": "price", "kind": "regression"}
ESTIMATOR: dict[str, Any] = {
    "objective": {"metric": "val/rmse", "direction": "minimize", "value": "best"},
    "task": {"estimator": {"data": DATA, "model": {"name": "hist_boosting", "max_iter": 200, "learning_rate": 0.2}}},
    "space": {
        "model.name": {"type": "categorical", "choices": ["random_forest"]},
        "model.max_features": {"type": "float", "low": 0.2, "high": 1.0},
    },
}
RATE = {"model.learning_rate": {"type": "float", "low": 0.01, "high": 0.3, "log": True}}


def changed(estimator: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    task = {"estimator": {**ESTIMATOR["task"]["estimator"], **(estimator or {})}}
    return {**ESTIMATOR, "task": task, "space": RATE, **changes}


async def test_a_trial_is_granted_with_its_parameters_applied_to_a_worker_that_allows_no_functions(
    replica: Replica,
) -> None:
    name = await replica.create(**ESTIMATOR)
    request = claim_request(name)
    old = request.capabilities.model_copy(update={"tasks": [TaskKind.TRAIN, TaskKind.FUNCTION]})
    assert isinstance(await claim(replica.context, request.model_copy(update={"capabilities": old})), NoTrial)
    usual = request.capabilities.model_copy(update={"tasks": [TaskKind.TRAIN, TaskKind.ESTIMATOR]})
    grant = await claim(replica.context, request.model_copy(update={"capabilities": usual}))
    assert isinstance(grant, Grant)
    assert grant.task_kind is TaskKind.ESTIMATOR
    features = grant.parameters["model.max_features"]
    assert grant.task == {"data": DATA, "model": {"name": "random_forest", "max_features": features}}
    assert grant.dropped == ["model.max_iter", "model.learning_rate"]
    assert (grant.number, grant.preflight) == (0, None)


async def test_the_resource_is_the_size_of_the_ensemble_unless_it_is_searched(replica: Replica) -> None:
    fixed = await replica.study(await replica.create(**changed()))
    assert fixed.spec.resource is not None
    assert (fixed.spec.resource.name, fixed.spec.resource.max) == ("step", 200)
    usual = await replica.study(await replica.create(**changed({"model": {"name": "random_forest"}}, space={
        "model.max_features": {"type": "float", "low": 0.2, "high": 1.0},
    })))  # fmt: skip
    assert usual.spec.resource is not None
    assert usual.spec.resource.max == 100
    searched = {"model.max_iter": {"type": "int", "low": 10, "high": 100}}
    assert (await replica.study(await replica.create(**changed(space=searched)))).spec.resource is None
    assert (await replica.study(await replica.create(**ESTIMATOR))).spec.resource is None


@pytest.mark.parametrize(
    ("estimator", "changes", "message"),
    [
        (
            {"model": {"name": "boosting"}},
            {},
            "task.estimator.model.name: there is no model 'boosting'; did you mean 'hist_boosting'?",
        ),
        (
            {"model": {"name": "hist_boosting", "max_leafs": 3}},
            {},
            "task.estimator.model.max_leafs: hist_boosting has no option 'max_leafs'",
        ),
        (
            {"model": {"name": "hist_boosting", "min_samples_leaf": 0}},
            {},
            "task.estimator.model.min_samples_leaf: must be at least 1, got 0",
        ),
        (
            {"model": {"name": "hist_boosting", "max_iter": 2.5}},
            {},
            "task.estimator.model.max_iter: must be a whole number, got 2.5",
        ),
        ({"optimizer": {"name": "sgd"}}, {}, "task.estimator.optimizer: an estimator has no 'optimizer'"),
        ({"model": None}, {}, "task.estimator.model: needs a name, as in model: {name: hist_boosting}"),
        ({"data": {"name": "csv", "path": "houses.csv"}}, {}, "task.estimator.data.target: missing: column to predict"),
        ({"data": {"name": "text", "path": "book.txt"}}, {}, "hist_boosting is for classification or ranking or regr"),
        ({}, {"space": {"optimizer.lr": RATE["model.learning_rate"]}}, "space.optimizer.lr: has no effect on the task"),
        (
            {},
            {"space": {"model.n_estimators": {"type": "int", "low": 1, "high": 9}}},
            "space.model.n_estimators: has no effect on the task",
        ),
        (
            {},
            {"space": {"model.learning_rate": {"type": "float", "low": 0.0, "high": 0.3}}},
            "space.model.learning_rate.low: must be above 0, got 0",
        ),
        (
            {},
            {"objective": {"metric": "val/accuracy", "direction": "maximize"}},
            "objective.metric: no training of this study reports 'val/accuracy'",
        ),
        (
            {},
            {"objective": {"metric": "val/mape", "direction": "minimize"}},
            "val/mape is not reported unless the task asks for it; add task.estimator.metrics: [mape]",
        ),
        ({}, {"constraints": {"parameters": {"max": 5}}}, "constraints: apply only to models of the training core"),
    ],
)  # fmt: skip
async def test_a_wrong_setting_is_refused_in_one_sentence(
    replica: Replica, estimator: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DomainError) as refused:
        await replica.create(**changed(estimator, **changes))
    assert message in refused.value.detail


def test_a_task_is_one_of_its_kinds() -> None:
    assert spec_of(**ESTIMATOR).task_kind is TaskKind.ESTIMATOR
    assert spec_of(**{**ESTIMATOR, "preflight": None}).preflight_mode == "off"
    with pytest.raises(ValueError, match="name exactly one of train, estimator, function, command"):
        StudySpec.model_validate({**spec_of().model_dump(), "task": {"estimator": {}, "command": ["x"]}})


async def test_a_metric_that_the_task_asks_for_can_be_the_objective(replica: Replica) -> None:
    name = await replica.create(
        **changed(
            {"metrics": ["mape"]}, objective={"metric": "val/mape", "direction": "minimize"}, budget={"trials": 1}
        )
    )
    await replica.train(name, 0.2)
    assert (await replica.study(name)).state is StudyState.COMPLETED


async def test_a_study_of_an_estimator_can_be_checked_on_request(replica: Replica) -> None:
    name = await replica.create(**ESTIMATOR)
    await start_preflight(replica.context, name)
    grant = await replica.claim(name)
    assert grant.preflight is not None


@pytest.mark.parametrize("task", [ESTIMATOR["task"], {"function": "mine:train"}], ids=["estimator", "function"])
async def test_a_trial_that_was_lost_waits_for_no_module_because_of_a_name_that_it_chose(
    replica: Replica, task: dict[str, Any]
) -> None:
    name = await replica.create(**{**ESTIMATOR, "task": task})
    first = await replica.claim(name)
    await replica.lose()
    again = await replica.claim(name)
    assert (again.number, again.attempt, again.parameters) == (0, 2, first.parameters)
