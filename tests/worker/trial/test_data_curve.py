"""Trainings on parts of the data: the same validation examples, nested parts, as many steps, and clear refusals."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.study import StudySpec
from worker.training import ConfigError
from worker.trial.data_curve import Trained, train_on_parts


def spec(**changes: Any) -> StudySpec:
    train = {
        "data": {"name": "wine"}, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "sgd", "lr": 0.1}, "epochs": 2,
    } | changes.pop("train", {})  # fmt: skip
    return StudySpec.model_validate(
        {
            "name": "wine",
            "objective": {"metric": "val/accuracy", "direction": "maximize"},
            "task": {"train": train},
            "space": {"optimizer.momentum": {"type": "float", "low": 0.0, "high": 0.8}},
            "budget": {"trials": 1},
        }
        | changes
    )


def test_each_part_is_trained_with_each_seed_and_told_when_it_is_done() -> None:
    told: list[Trained] = []
    train_on_parts(spec(), fractions=(0.2, 1.0), seeds=2, on_trained=told.append)
    assert [(each.fraction, each.seed, each.num_done) for each in told] == [
        (0.2, 0, 1), (1.0, 0, 2), (0.2, 1, 3), (1.0, 1, 4),
    ]  # fmt: skip
    assert {each.num_total for each in told} == {4}
    assert [each.num_examples for each in told] == [22, 106, 22, 106]
    assert all(0 <= each.value <= 1 for each in told)
    assert all(each.train_value is not None and 0 <= each.train_value <= 1 for each in told)
    again: list[Trained] = []
    train_on_parts(spec(), fractions=(0.2,), seeds=1, on_trained=again.append)
    assert again[0].value == told[0].value


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": {"function": "mine:train"}}, "a task of the kind function trains nothing here"),
        ({"objective": {"metric": "train/loss", "direction": "minimize"}}, "train/loss is not measured on validation"),
        (
            {"train": {"data": {"name": "text", "path": "t.txt"}, "model": {"name": "lstm"}}},
            "the data 'text' have no setting train_fraction",
        ),
    ],
)
def test_what_has_no_parts_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        train_on_parts(spec(**changes), fractions=(0.2, 1.0), seeds=1, on_trained=lambda _: None)
