"""Builds the facts about a trial from curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.analysis.diagnosis.facts import TrialFacts
from service.analysis.diagnosis.trial import diagnose_trial
from service.contract.trial import TrialState


def facts(
    curves: Mapping[str, Sequence[float]],
    *,
    state: TrialState = TrialState.COMPLETED,
    objective: str = "val/loss",
    first_step: int = 1,
    **others: Any,
) -> TrialFacts:
    """The facts about trial 7, whose metrics were reported once per step."""
    points = {
        name: tuple((first_step + index, value) for index, value in enumerate(values))
        for name, values in curves.items()
    }
    longest = max(map(len, curves.values()), default=0)
    settings: dict[str, Any] = {"direction": "minimize", "last_step": first_step - 1 + longest, **others}
    return TrialFacts(number=7, state=state, objective=objective, curves=points, **settings)


def rules_of(curves: Mapping[str, Sequence[float]], **settings: Any) -> list[str]:
    """The rules that find something, the first one first."""
    return [found.rule for found in diagnose_trial(facts(curves, **settings))]
