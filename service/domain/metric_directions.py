"""Check of the objectives' directions: a built-in metric says itself whether a larger value is better."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from service.contract.base import Direction
from service.contract.catalogue import load_catalogue
from service.contract.problem import FieldError
from service.contract.study import StudySpec
from service.domain.metric_names import EVERY_EPOCH, SNAPSHOTS, SPREAD


def check_directions(spec: StudySpec) -> Iterator[FieldError]:
    """Yield an error for each built-in metric with a contrary direction, such as `val/accuracy` with `minimize`.

    Custom metrics, the spread over folds and the metrics of other tasks may have any direction.
    """
    if spec.task is None or spec.task.configuration is None:
        return
    for at, objective in enumerate(spec.objectives):
        better = _direction_of(objective.metric)
        if better is not None and better != objective.direction:
            size = "larger" if better == "maximize" else "smaller"
            path = f"objective.{at}.direction" if len(spec.objectives) > 1 else "objective.direction"
            message = (
                f"a {size} {objective.metric} is better, so the search would look for the worst model; "
                f"write direction: {better}"
            )
            yield FieldError(path=path, message=message)


def _direction_of(metric: str) -> Direction | None:
    """Return the direction of a metric that the built-in training reports; None: it has none, or is custom."""
    split, _, name = metric.removeprefix(SNAPSHOTS).partition("/")
    if split not in EVERY_EPOCH or metric.endswith(SPREAD):
        return None
    return _directions().get(name.partition("/")[0])  # val/f1/cat is the F1 of a class


@cache
def _directions() -> Mapping[str, Direction]:
    """Return the direction of each metric that is not custom, by its name without the split."""
    found: dict[str, Direction] = {"loss": "minimize"}
    for name, entry in load_catalogue().lists["metrics"].items():
        found |= dict.fromkeys(entry.facts.get("names") or [name], entry.facts["direction"])
    return found
