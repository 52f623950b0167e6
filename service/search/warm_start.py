"""Warm start: which trials of earlier studies teach a model, and for how long they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from service.contract.base import Direction
from service.contract.problem import FieldError
from service.contract.sampler import AutoSampler, GpSampler, TpeSampler
from service.contract.study import StudySpec
from service.domain.history import History, TrialRecord
from service.search.lessons import is_lesson

MOST_EARLIER = 50
"""Earlier trials that a study takes over at most."""

REPLACED = 5
"""Earlier trials that make way for each trial of the study's own that a model learns from."""


def spread(trials: Sequence[TrialRecord], direction: Direction) -> tuple[TrialRecord, ...]:
    """At most MOST_EARLIER completed trials, evenly from the worst to the best, numbered from below up to -1."""
    sign = 1.0 if direction == "maximize" else -1.0
    ranked = sorted(trials, key=lambda trial: sign * (trial.value or 0.0))
    num = min(len(ranked), MOST_EARLIER)
    # Counted from the best, which is taken in any case.
    taken = [ranked[len(ranked) - 1 - at * len(ranked) // num] for at in reversed(range(num))]
    return tuple(replace(trial, number=at - num) for at, trial in enumerate(taken))


def still_taught_by(history: History, number: int) -> Sequence[TrialRecord]:
    """The earlier trials that a model of trials 0 ... number - 1 learns from beside them.

    Each lesson of the study's own takes the place of REPLACED of them, the worst first. So they shape its beginning,
    and what they say that is wrong here is over after MOST_EARLIER / REPLACED lessons at the latest.
    """
    if not history.earlier:
        return ()
    own = islice(filter(is_lesson, history.trials[:number]), len(history.earlier))
    return history.earlier[REPLACED * sum(1 for _ in own) :]


def check_warm_start(spec: StudySpec) -> list[FieldError]:
    """What keeps a sampler from learning of other studies."""
    if not spec.warm_start or isinstance(spec.sampler, AutoSampler | TpeSampler | GpSampler):
        return []
    message = f"{spec.sampler.name} does not learn from other studies; write sampler: tpe, auto or optuna:gp"
    return [FieldError(path="warm_start", message=message)]
