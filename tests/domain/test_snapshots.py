"""More snapshots than epochs are refused at creation, in the task, in the space and in the stages."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.catalogue import load_catalogue
from service.contract.study import StudySpec
from service.search.validation import check_spec

EPOCHS_3_TO_20 = {"epochs": {"type": "int", "low": 3, "high": 20}}


def errors(
    train: dict[str, Any] | None = None, space: dict[str, Any] | None = None, **more: Any
) -> list[tuple[str, str]]:
    task: dict[str, Any] = {
        "data": {"name": "digits"},
        "model": {"name": "linear"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw"},
    }
    spec = StudySpec.model_validate(
        {
            "name": "s",
            "objective": {"metric": "val/accuracy", "direction": "maximize"},
            "task": {"train": task | (train or {})},
            "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1}, **(space or {})},
            "budget": {"trials": 20},
            **more,
        }
    )
    return [(error.path, error.message) for error in check_spec(spec, load_catalogue())]


def stages(*of_each: dict[str, Any]) -> dict[str, Any]:
    return {"sampler": {"name": "coarse_to_fine", "stages": [{"trials": 5, **each} for each in of_each]}}


@pytest.mark.parametrize(
    ("train", "space", "more", "path", "message"),
    [
        ({"snapshots": 6, "epochs": 5}, {}, {}, "task.train.snapshots", "6 snapshots need at least 6 epochs"),
        ({"snapshots": 6.0, "epochs": 5.0}, {}, {}, "task.train.snapshots", "6 snapshots need at least 6 epochs"),
        ({"snapshots": 21}, {}, {}, "task.train.snapshots", "but a training may have 20 (task.train.epochs)"),
        ({"snapshots": 5}, EPOCHS_3_TO_20, {}, "task.train.snapshots", "but a training may have 3 (space.epochs.low)"),
        (
            {"epochs": 5},
            {"snapshots": {"type": "int", "low": 1, "high": 6}},
            {},
            "space.snapshots.high",
            "6 snapshots need at least 6 epochs",
        ),
        (
            {"epochs": 5},
            {"snapshots": {"type": "categorical", "choices": [0, 6]}},
            {},
            "space.snapshots",
            "6 snapshots",
        ),
        (
            {"epochs": 5},
            {},
            stages({}, {"overrides": {"snapshots": 7}}),
            "sampler.stages.1.overrides.snapshots",
            "7 snapshots need at least 7 epochs",
        ),
    ],
)
def test_more_snapshots_than_epochs_are_refused(
    train: dict[str, Any], space: dict[str, Any], more: dict[str, Any], path: str, message: str
) -> None:
    ((where, said),) = errors(train, space, **more)
    assert where == path
    assert message in said


@pytest.mark.parametrize(
    ("train", "space", "more"),
    [
        ({"snapshots": 5, "epochs": 5}, {}, {}),
        ({"snapshots": 3}, EPOCHS_3_TO_20, {}),
        ({"snapshots": 5}, {}, stages({"resource": 2}, {"resource": 20})),
        ({"snapshots": 5}, {}, {"pruner": {"name": "asha", "min": 1}}),
    ],
)
def test_a_stage_or_a_rung_may_end_before_all_snapshots(
    train: dict[str, Any], space: dict[str, Any], more: dict[str, Any]
) -> None:
    assert errors(train, space, **more) == []
