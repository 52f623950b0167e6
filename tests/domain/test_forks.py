"""Which settings a fork may change: those that the weights of its parent survive."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.catalogue import load_catalogue
from service.domain.forks import fork_parameters
from tests.worker.grants import digits

SGD = {"name": "sgd", "lr": 0.1, "nesterov": True}


def changed(
    changes: dict[str, Any], before: dict[str, Any] | None = None, overrides: dict[str, Any] | None = None, **task: Any
) -> tuple[dict[str, Any], dict[str, str]]:
    """The fork's parameters, and what is wrong with the changes, by path."""
    parameters, errors = fork_parameters(digits(**task), overrides or {}, before or {}, changes, load_catalogue())
    return parameters, {error.path: error.message for error in errors}


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer.lr": 3e-4},
        {"optimizer.name": "sgd", "optimizer.momentum": 0.8},
        {"schedule.name": "cosine", "schedule.warmup": 0.1},
        {"loss.label_smoothing": 0.1},
        {"augment.name": "mixup"},
        {"model.dropout": 0.5},
        {"batch_size": 128, "epochs": 40, "ema_decay": 0.99},
    ],
    ids=str,
)
def test_settings_that_weights_survive_may_be_changed(changes: dict[str, Any]) -> None:
    assert changed(changes, {"batch_size": 32}) == ({"batch_size": 32} | changes, {})


@pytest.mark.parametrize(
    ("changes", "path", "message"),
    [
        ({"model.hidden": [8]}, "set.model.hidden", "a fork must keep the model that its parent was trained with"),
        ({"model.name": "linear"}, "set.model.name", "a fork must keep the model that its parent was trained with"),
        ({"data.seed": 1}, "set.data.seed", "a fork must keep the data that its parent was trained with"),
        ({"repeats": 3}, "set.repeats", "a fork must keep the repeats that its parent was trained with"),
        ({"optimizer.rate": 0.1}, "set.optimizer.rate", "has no effect on the task; "),
        ({"optimizer.lr.x": 0.1}, "set.optimizer.lr.x", "has no effect on the task; "),
        ({"epoch": 4}, "set.epoch", "has no effect on the task; did you mean 'epochs'?"),
        ({"optimizer.lr": -1.0}, "set.optimizer.lr", "must be above 0, got -1"),
        ({"optimizer.lr": "high"}, "set.optimizer.lr", "must be a number, got 'high'"),
        ({"optimizer.name": "sdg"}, "set.optimizer.name", "there is no optimizer 'sdg'; did you mean 'sgd'?"),
    ],
)
def test_settings_that_weights_do_not_survive_and_unknown_ones_are_named(
    changes: dict[str, Any], path: str, message: str
) -> None:
    _, errors = changed(changes)
    assert list(errors) == [path]
    assert message in errors[path]


def test_settings_that_another_optimizer_lacks_are_dropped() -> None:
    parameters, errors = changed(
        {"optimizer.name": "adamw"}, {"optimizer.momentum": 0.9, "optimizer.lr": 0.1, "batch_size": 32}, optimizer=SGD
    )
    assert (parameters, errors) == ({"optimizer.name": "adamw", "optimizer.lr": 0.1, "batch_size": 32}, {})


def test_a_stages_settings_stay_under_the_changes() -> None:
    parameters, errors = changed({"optimizer.lr": 0.01}, overrides={"batch_size": 16, "optimizer.weight_decay": 0.1})
    assert (parameters, errors) == ({"optimizer.lr": 0.01}, {})
