"""Builds facts about a study for tests of the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.analysis.diagnosis.facts import StudyFacts
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord

SPACE: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "dropout": {"type": "float", "low": 0.0, "high": 0.6},
}


def spec_of(*, metric: str = "val/accuracy", direction: str = "maximize", **more: Any) -> StudySpec:
    """Return a spec with one objective, and with two parameters unless `space` is given."""
    objective = {"metric": metric, "direction": direction}
    given = {"name": "mine", "objective": objective, "space": SPACE, **more}
    return StudySpec.model_validate(given)


def history_of(rows: Sequence[Mapping[str, Any] | float]) -> History:
    """Return a history of completed trials; a row is the value alone, or the fields of its record."""
    trials = []
    for number, row in enumerate(rows):
        fields = {"value": row} if isinstance(row, int | float) else dict(row)
        trials.append(TrialRecord(**{"number": number, "state": TrialState.COMPLETED, "parameters": {}, **fields}))
    return History(trials=tuple(trials))


def facts_of(spec: StudySpec, rows: Sequence[Mapping[str, Any] | float], **more: Any) -> StudyFacts:
    """Return facts about a study of completed trials."""
    return StudyFacts(spec=spec, history=history_of(rows), **more)
