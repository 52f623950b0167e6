"""A built-in metric with a contrary direction is refused; metrics whose direction is unknown may have any."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.catalogue import load_catalogue
from service.contract.study import StudySpec
from service.domain.metric_directions import check_directions
from worker.training.components.metrics import METRICS

TRAIN = {"train": {"data": {"name": "digits"}, "loss": {"name": "cross_entropy"}}}


def errors(*objectives: tuple[str, str], task: dict[str, Any] | None = TRAIN) -> list[tuple[str, str]]:
    given = [{"metric": metric, "direction": direction} for metric, direction in objectives]
    spec = StudySpec.model_validate(
        {
            "name": "s",
            "objective": given if len(given) > 1 else given[0],
            "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1}},
            **({} if task is None else {"task": task}),
        }
    )
    return [(error.path, error.message) for error in check_directions(spec)]


def test_the_error_names_the_direction_to_write() -> None:
    assert errors(("val/accuracy", "minimize")) == [
        (
            "objective.direction",
            "a larger val/accuracy is better, so the search would look for the worst model; write direction: maximize",
        )
    ]
    ((path, message),) = errors(("val/accuracy", "maximize"), ("val/mse", "maximize"))
    assert path == "objective.1.direction"
    assert message.startswith("a smaller val/mse is better")


@pytest.mark.parametrize("entry", list(METRICS), ids=lambda entry: entry.name)
@pytest.mark.parametrize("form", ["val/{}", "train/{}", "test_val/{}", "snapshots/val/{}", "val/{}/cat"])
def test_every_built_in_metric_has_one_direction(entry: Any, form: str) -> None:
    names = entry.facts.get("names", [entry.name])
    for name in names:
        metric = form.format(name)
        other = {"maximize": "minimize", "minimize": "maximize"}[entry.facts["direction"]]
        assert errors((metric, entry.facts["direction"])) == []
        assert len(errors((metric, other))) == 1


@pytest.mark.parametrize(
    ("metric", "task"),
    [
        ("val/mine", TRAIN),
        ("val/accuracy/std", TRAIN),
        ("num_parameters", TRAIN),
        ("seconds", TRAIN),
        ("val/accuracy", None),
        ("val/accuracy", {"function": "mine:train"}),
        ("accuracy", TRAIN),
    ],
)
def test_what_has_no_known_direction_may_have_any(metric: str, task: dict[str, Any] | None) -> None:
    assert "mine" not in load_catalogue().lists["metrics"]
    assert [errors((metric, direction), task=task) for direction in ("minimize", "maximize")] == [[], []]
