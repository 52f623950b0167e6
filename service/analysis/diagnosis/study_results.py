"""The results of a study as the rules read them: comparable completed trials, their losses and their costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.analysis.diagnosis.facts import StudyFacts
from service.contract.finding import Evidence
from service.contract.report import to_wire
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.domain.other_data import stages_on_other_data

Floats = NDArray[np.float64]

MAX_TRIALS = 1_000
"""The largest number of trials that a rule computes with, so that its cost is bounded."""

_NUM_BEST = 100
"""How many of the best trials are always among them."""


def has_one_objective(facts: StudyFacts) -> bool:
    """Return whether the study has a single objective, so that its trials have an order."""
    return len(facts.spec.objectives) == 1


def completed_trials(facts: StudyFacts) -> list[TrialRecord]:
    """Return the completed feasible trials with finite values of a single-objective study, by number.

    Trials of stages that validate on other data are left out. Of more than MAX_TRIALS trials, the best ones and an even
    selection of the others are returned.
    """
    if not has_one_objective(facts):
        return []
    left_out = stages_on_other_data(facts.spec)
    found = [
        trial
        for trial in facts.history.finished()
        if trial.state is TrialState.COMPLETED and trial.stage not in left_out
    ]
    if len(found) <= MAX_TRIALS:
        return found
    order = np.argsort(losses_of(facts, found), kind="stable")
    best, others = order[:_NUM_BEST], np.sort(order[_NUM_BEST:])
    even = np.linspace(0, len(others) - 1, MAX_TRIALS - _NUM_BEST).round().astype(int)
    return [found[at] for at in np.sort(np.concatenate([best, others[even]])).tolist()]


def losses_of(facts: StudyFacts, trials: Sequence[TrialRecord]) -> Floats:
    """Return the final value of each trial as a loss: smaller is better, whatever the direction."""
    sign = -1.0 if facts.spec.primary_objective.direction == "maximize" else 1.0
    return np.array([sign * (trial.value or 0.0) for trial in trials], dtype=float)


def ranks_of(values: Floats) -> Floats:
    """Return the rank of each value as a share from 0 (smallest) to 1; equal values share their mean rank."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1.0
    ranks: Floats = (last - (counts - 1) / 2)[places]
    return ranks / max(1, len(values) - 1)


def rank_correlation(first: Floats, second: Floats) -> float:
    """Return Spearman's rank correlation; 0 if all values of one side are equal."""
    a, b = ranks_of(first), ranks_of(second)
    a, b = a - a.mean(), b - b.mean()
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / norm if norm > 0 else 0.0


def num_trainings(facts: StudyFacts) -> int:
    """Return how many models each trial trains by its task: folds times repeats. What the space sets counts as 1."""
    train = facts.spec.task.train if facts.spec.task is not None else None
    product = 1
    for name in ("folds", "repeats"):
        value = None if train is None or name in facts.spec.space else train.get(name)
        product *= value if isinstance(value, int) and value > 0 else 1
    return product


def evidence(name: str, value: float, step: int | None = None) -> Evidence:
    """Return a figure as evidence."""
    return Evidence(name=name, value=to_wire(float(value)), step=step)


def counted(num: int, noun: str) -> str:
    """Return a number with its noun: '1 trial', '2 trials'."""
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"
