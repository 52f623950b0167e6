"""Settings with which a training learns nothing are refused by the core, and by the service alone or within a range."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from service.contract.catalogue import load_catalogue
from service.contract.space import FloatParameter
from service.domain.task_config import check_space_paths, check_task
from worker.training import ConfigError, TrainingConfig

TASK: dict[str, Any] = {
    "data": {"name": "digits"},
    "model": {"name": "mlp", "dropout": 0.1},
    "loss": {"name": "cross_entropy", "label_smoothing": 0.1},
    "optimizer": {"name": "sgd", "momentum": 0.9},
    "epochs": 3,
    "ema_decay": 0.9,
}
SENSELESS: dict[str, Any] = {
    "model.dropout": 1.0,
    "loss.label_smoothing": 1.0,
    "loss.class_weights": [1.0] * 9 + [0.0],
    "optimizer.momentum": 1.0,
    "ema_decay": 1.0,
    "epochs": 10**30,
}


def with_setting(path: str, value: object) -> dict[str, Any]:
    task = copy.deepcopy(TASK)
    *sections, option = path.split(".")
    target = task
    for section in sections:
        target = target[section]
    target[option] = value
    return task


@pytest.mark.parametrize(("path", "value"), SENSELESS.items(), ids=SENSELESS)
def test_it_is_refused_by_its_path_and_bound(path: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"{path}.*: must be (<=|>) "):
        TrainingConfig.from_mapping(with_setting(path, value))
    (error,) = check_task(with_setting(path, value), {}, load_catalogue())
    assert error.path.startswith(f"task.train.{path}")


@pytest.mark.parametrize("option", ["dropout", "label_smoothing", "momentum", "ema_decay"])
def test_no_entry_allows_an_option_that_leaves_nothing_at_1(option: str) -> None:
    catalogue = load_catalogue()
    entries = {f"{section}.{name}": entry for section, of in catalogue.sections.items() for name, entry in of.items()}
    having = {path: entry.parameters[option] for path, entry in entries.items() if option in entry.parameters}
    having |= {"": catalogue.settings[option]} if option in catalogue.settings else {}
    assert having
    assert [path for path, setting in having.items() if setting.high is None or setting.high >= 1] == []


def test_what_is_just_within_the_bounds_is_taken() -> None:
    for path, value in (("model.dropout", 0.9), ("optimizer.momentum", 0.999), ("ema_decay", 0.9999)):
        TrainingConfig.from_mapping(with_setting(path, value))
        assert check_task(with_setting(path, value), {}, load_catalogue()) == []


@pytest.mark.parametrize("path", ["model.dropout", "loss.label_smoothing", "optimizer.momentum"])
def test_a_range_that_reaches_it_is_refused(path: str) -> None:
    section, option = path.split(".")
    task = copy.deepcopy(TASK)
    del task[section][option]
    space = {path: FloatParameter(type="float", low=0.0, high=1.0)}
    errors = check_space_paths(task, space, load_catalogue())
    assert [error.path.removesuffix(".high") for error in errors] == [f"space.{path}"]
