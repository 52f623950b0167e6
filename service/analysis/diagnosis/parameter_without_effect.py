"""A rule: parameters that make no difference within their ranges, so the search can do without them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.additive_fit import AdditiveFit, fit_additive
from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.sampling_error import Z
from service.analysis.diagnosis.study_results import completed_trials, evidence, losses_of, ranks_of
from service.contract.base import Value
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.space import NumericParameter
from service.domain.history import TrialRecord

_FEWEST = 40
"""Smallest number of completed trials."""

_NEGLIGIBLE = 0.15
"""A parameter is left out of the search only if it surely moves a trial by less than this share of the ranking."""

_SMALL_SHARE = 0.5
"""Largest importance (PED-ANOVA), as a multiple of an equal share."""

_EXPLAINED = 0.3
"""Smallest share of the ranking that the other parameters explain. Below it, the regression sees no effect of any."""

_POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


def parameter_without_effect(facts: StudyFacts) -> Finding | None:
    """Find parameters whose effect on the ranking of the trials is surely negligible, while others have one."""
    trials = completed_trials(facts)
    if len(trials) < _FEWEST or len(facts.spec.space) < 2:
        return None
    losses = losses_of(facts, trials)
    fit = fit_additive(facts.spec.space, trials, ranks_of(losses))
    if fit is None or fit.explained < _EXPLAINED:
        return None
    shares = _shares(facts)
    # A parameter that decides which others exist has no effect of its own to judge.
    parents = {parent for parameter in facts.spec.space.values() for parent in parameter.when or {}}
    found = [
        effect
        for name in fit.columns
        if not facts.spec.space[name].when
        and name not in parents
        and shares.get(name, 0.0) <= _SMALL_SHARE / len(facts.spec.space)
        and (effect := _effect(facts, fit, name)).most <= _NEGLIGIBLE
    ]
    if not found:
        return None
    found.sort(key=lambda effect: (effect.most, effect.name))
    return _finding(trials[int(np.argmin(losses))], found, fit.num_trials)


@dataclass(frozen=True, slots=True)
class _Effect:
    """The largest difference between two values of a parameter, as a share of the ranking."""

    name: str
    estimate: float
    most: float
    """Upper end of its interval of 95 %."""


def _shares(facts: StudyFacts) -> Mapping[str, float]:
    return {} if facts.importance is None else {each.name: each.share for each in facts.importance.parameters}


def _effect(facts: StudyFacts, fit: AdditiveFit, name: str) -> _Effect:
    place = fit.columns[name]
    width = place.stop - place.start
    if isinstance(facts.spec.space[name], NumericParameter):
        values = [np.array([at - 0.5, (at - 0.5) ** 2][:width]) for at in _POSITIONS]
    else:
        values = [np.zeros(width), *np.eye(width)]
    largest, most = 0.0, 0.0
    for at, first in enumerate(values):
        for second in values[at + 1 :]:
            estimate, error = fit.contrast(name, second - first)
            largest, most = max(largest, abs(estimate)), max(most, abs(estimate) + Z * error)
    return _Effect(name, largest, most)


def _finding(best: TrialRecord, found: list[_Effect], num: int) -> Finding:
    listed = ", ".join(f"{each.name} (at most {100 * each.most:.0f} %)" for each in found)
    moves = "moves" if len(found) == 1 else "each move"
    sentence = (
        f"Within its range, {listed} {moves} a trial by little in the ranking of {num} trials, "
        "while other parameters decide it."
    )
    return Finding(
        rule="parameter_without_effect",
        confidence=Confidence.MEDIUM,
        sentence=sentence,
        evidence=[evidence(f"{each.name}: largest share of the ranking (95 %)", each.most) for each in found],
        remedies=[
            Remedy(
                name=RemedyName.FIX_PARAMETER,
                sentence=f"Fix {each.name} at {_words(best.parameters[each.name])} and search the other parameters.",
                settings={"parameter": each.name, "value": best.parameters[each.name]},
            )
            for each in found
            if each.name in best.parameters
        ],
    )


def _words(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
