"""A rule: the best trials are at a border of a parameter's range, so better values may lie beyond it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.additive_fit import AdditiveFit, fit_additive, positions
from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.option_bounds import option_bounds
from service.analysis.diagnosis.study_results import completed_trials, evidence, losses_of, ranks_of
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.space import FloatParameter, NumericParameter
from service.domain.history import TrialRecord

_FEWEST = 15
"""Smallest number of completed trials that have the parameter."""

_ZONE = 0.1
"""Share of the range, on its scale, that is called the border."""

_CROWD, _SMALL_CROWD = 0.6, 0.4
"""Share of the best trials that crowds at a border; the smaller one suffices if the best trial itself is there."""

_BEST = 8
"""One of so many trials is among the best, and at least six are."""

_CHANCE = 0.05
"""Largest probability of such a crowd among trials that are spread evenly, over all borders together."""

_T, _HIGH_T = 2.5, 4.0
"""Smallest number of standard errors by which the trials get better towards the border."""

_BEYOND, _NUM_BEYOND, _SHARE_BEYOND = 0.005, 3, 0.05
"""With more trials further out than each of the very best, by this share of the range, the best place is inside."""

_LEAST_GAIN = 0.01
"""Smallest share of the range that widening it must add."""

_NATURAL_HIGH = 0.95
"""A linear range that ends between this and 1 ends where shares, momenta and probabilities end."""


def best_at_border(facts: StudyFacts) -> Finding | None:
    """Find numbers of which the best trials crowd at an end of the range while trials get better towards it."""
    trials = completed_trials(facts)
    if len(trials) < _FEWEST:
        return None
    space = facts.spec.space
    numeric = [name for name in sorted(space) if isinstance(space[name], NumericParameter)]
    losses = losses_of(facts, trials)
    fit = fit_additive(space, trials, ranks_of(losses)) if numeric else None
    if fit is None:
        return None
    order = np.argsort(losses, kind="stable").tolist()
    ordered = [trials[at] for at in order]
    found = [
        border
        for name in numeric
        for is_upper in (False, True)
        if (border := _border(facts, name, ordered, fit, is_upper=is_upper, num_borders=2 * len(numeric)))
    ]
    if not found:
        return None
    found.sort(key=lambda border: (not border.is_certain, border.t, border.name))
    return _finding(facts, ordered[0], found)


@dataclass(frozen=True, slots=True)
class _Border:
    """A border at which the best trials crowd."""

    name: str
    is_upper: bool
    num_there: int
    num_best: int
    t: float
    """Slope of the ranks outwards, in standard errors; below 0: trials get better."""
    new_end: float
    has_best: bool

    @property
    def is_certain(self) -> bool:
        return self.has_best and self.num_there >= _CROWD * self.num_best and self.t <= -_HIGH_T


def _border(
    facts: StudyFacts, name: str, ordered: Sequence[TrialRecord], fit: AdditiveFit, *, is_upper: bool, num_borders: int
) -> _Border | None:
    parameter = facts.spec.space[name]
    assert isinstance(parameter, NumericParameter)
    found = positions(parameter, [trial.parameters.get(name) for trial in ordered])
    places = found[np.isfinite(found)].tolist()
    if len(places) < _FEWEST or name not in fit.columns:
        return None
    new_end = _widened(facts, name, parameter, is_upper=is_upper)
    if new_end is None:
        return None
    best = places[: max(6, math.ceil(len(places) / _BEST))]
    is_there = [place >= 1 - _ZONE if is_upper else place <= _ZONE for place in best]
    least = _SMALL_CROWD if is_there[0] else _CROWD
    if sum(is_there) < least * len(best) or _tail(len(best), sum(is_there), _mass(parameter)) > _CHANCE / num_borders:
        return None
    outer = [place if is_upper else 1 - place for place in places]
    reach = max(outer[: max(3, len(best) // 2)]) + _BEYOND
    if sum(place > reach for place in outer) > max(_NUM_BEYOND, _SHARE_BEYOND * len(outer)):
        return None
    slope, error = fit.slope_at(name, 1.0 if is_upper else 0.0)
    outwards = slope if is_upper else -slope
    t = outwards / error if error > 0 else 0.0
    if t > -_T:
        return None
    return _Border(name, is_upper, sum(is_there), len(best), t, new_end, is_there[0])


def _mass(parameter: NumericParameter) -> float:
    """Return the probability of the border's zone if values are spread evenly; a border value alone may have more."""
    if isinstance(parameter, FloatParameter) and parameter.step is None:
        return _ZONE
    num = math.floor((parameter.high - parameter.low) / (parameter.step or 1)) + 1
    return max(_ZONE, 1 / num)


def _tail(num: int, least: int, share: float) -> float:
    """Return the probability of at least `least` successes in `num` independent draws."""
    return sum(math.comb(num, hits) * share**hits * (1 - share) ** (num - hits) for hits in range(least, num + 1))


def _widened(facts: StudyFacts, name: str, parameter: NumericParameter, *, is_upper: bool) -> float | None:
    """Return the new end of the range: a decade further, or half of its width; None if the border is natural."""
    low, high = float(parameter.low), float(parameter.high)
    is_real = isinstance(parameter, FloatParameter)
    if is_upper and not parameter.log and low >= 0 and _NATURAL_HIGH <= high <= 1:
        return None
    is_zero_below = isinstance(parameter, FloatParameter) and parameter.zero
    if not is_upper and (is_zero_below or (not parameter.log and low == 0) or (not is_real and low <= 1)):
        return None
    step = None if parameter.log else parameter.step
    end = _further(low, high, step, is_log=parameter.log, is_upper=is_upper)
    least, most = option_bounds(facts.spec, name)
    if low > 0:  # 0 may be no valid value.
        least = max(least, low / 10 if is_real else 1.0)
    new = min(max(end, least), most)
    if not is_real:
        new = float(math.floor(new) if is_upper else math.ceil(new))
    if not math.isfinite(new):
        return None
    old = high if is_upper else low
    gained = abs(math.log(new / old)) / math.log(high / low) if parameter.log else abs(new - old) / (high - low)
    # A range that gains less than a hundredth of itself is at the option's own bound.
    return new if gained > _LEAST_GAIN else None


def _further(low: float, high: float, step: float | None, *, is_log: bool, is_upper: bool) -> float:
    """Return a round number beyond an end of a range, whole steps away if it has steps."""
    if is_log:
        factor = min(10.0, high / low)
        return float(f"{high * factor if is_upper else low / factor:.4g}")
    reach = (high - low) / 2
    if step is not None:
        reach = step * max(1, math.floor(reach / step + 1e-9))
        return float(f"{high + reach if is_upper else low - reach:.12g}")
    return float(f"{high + reach if is_upper else low - reach:.4g}")


def _finding(facts: StudyFacts, best: TrialRecord, found: Sequence[_Border]) -> Finding:
    metric = facts.spec.primary_objective.metric
    parts, remedies, figures = [], [], [evidence(f"best {metric}", best.value or 0.0)]
    for border in found:
        parameter = facts.spec.space[border.name]
        assert isinstance(parameter, NumericParameter)
        side, beyond = ("upper", "above") if border.is_upper else ("lower", "below")
        key, end = ("high", parameter.high) if border.is_upper else ("low", parameter.low)
        parts.append(
            f"{border.num_there} of the best {border.num_best} trials have {border.name} in the {side} tenth of its "
            f"range from {parameter.low:g} to {parameter.high:g}, and trials get better towards {end:g}"
        )
        new = border.new_end if isinstance(parameter, FloatParameter) else int(border.new_end)
        remedies.append(
            Remedy(
                name=RemedyName.WIDEN_RANGE,
                sentence=f"Search {border.name} {beyond} {end:g} too: set its {key} to {new:g}.",
                settings={"parameter": border.name, key: new},
            )
        )
        figures.append(evidence(f"{border.name}: best trials at the {side} border", border.num_there))
        figures.append(evidence(f"{border.name}: slope towards it, in standard errors", border.t))
    sentence = f"Better values may lie outside the ranges: {'; '.join(parts)}."
    confidence = Confidence.HIGH if found[0].is_certain else Confidence.MEDIUM
    return Finding(rule="best_at_border", confidence=confidence, sentence=sentence, evidence=figures, remedies=remedies)
