"""Rules about learning rates: too high, oscillating, a plateau, too low, decayed too early."""

from __future__ import annotations

import math

import numpy as np

from service.analysis.diagnosis.curve import Curve, slope_of
from service.analysis.diagnosis.progress import progress
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.divergence import too_fast
from service.analysis.diagnosis.trial_rules.reporting import at, figure, finding, number_text, point, step_of
from service.contract.finding import Confidence, Finding

LEAST_POINTS = 4
"""With fewer points neither noise nor a trend can be told."""
ABOVE_CHANCE = 1.25
"""A training loss that ends this many times above a constant prediction's was thrown there by its steps."""
RESTLESS = 0.004
"""Noise by the loss of chance, above which a loss at chance is not still."""
LOST_SHARE = 0.3
"""A training that ends with this share of its drop lost again has jumped out of where it was."""
NOISY_SHARE = 0.06
"""Noise of one value by the whole drop, above which a training loss oscillates."""
VALIDATION_NOISE = 0.025
"""Noise of validation by chance, below which it is that of few validation examples."""
PLATEAU_NOISE = 0.015
"""Noise of one value by the whole drop, above which a flat end means steps too long to settle."""
FLAT_SHARE = 0.03
"""A curve is flat over its last third if it falls there by less than this share of the whole drop."""
STEADY_RATIO = 0.6
"""Drop of the second half by that of the first, above which a curve is nearly a straight line: the rate is too low."""
SETTLED_SHARE = 0.3
"""A training loss below this share of chance has learned most of what there is."""
EARLY_DECAY = 0.05
"""A rate below this share of its base value hardly moves the weights."""


def rate_too_high(curves: TrialCurves) -> Finding | None:
    """The training loss is thrown above a constant prediction's, or jumps back and stays there."""
    train = curves.train or curves.val
    if train is None or len(train) < LEAST_POINTS or curves.is_cyclic:
        return None
    last, chance = len(train) - 1, curves.chance
    # A training that never gets below chance and is restless there was thrown about by its steps.
    is_restless = train.noise > RESTLESS * (chance or math.inf) and train.end > chance * 1.02 if chance else False
    if (
        chance is not None
        and not curves.is_fine_tuning
        and chance > 0
        and (train.end > ABOVE_CHANCE * chance or is_restless)
    ):
        sentence = (
            f"{train.name} ends at {number_text(train.sign * train.end)}, worse than a constant prediction "
            f"({number_text(train.sign * chance)})."
        )
        evidence = [point(train, last), figure("loss of a constant prediction", train.sign * chance)]
        return finding(
            curves, "rate_too_high", Confidence.MEDIUM, sentence, evidence=evidence, remedies=too_fast(curves, 0.1)
        )
    start = train.first if chance is None else max(train.first, chance)
    drop = start - train.best
    lost = train.end - train.best
    if drop <= 5 * train.noise or lost < LOST_SHARE * drop or train.best_index >= last - 2:
        return None
    sentence = (
        f"{train.name} had fallen to {at(train, train.best_index)} and ends at {at(train, last)}: "
        f"{lost / drop:.0%} of what it had gained is lost."
    )
    evidence = [point(train, train.best_index), point(train, last)]
    return finding(
        curves, "rate_too_high", Confidence.MEDIUM, sentence, evidence=evidence, remedies=too_fast(curves, 0.1)
    )


def oscillating(curves: TrialCurves) -> Finding | None:
    """The training loss jumps up and down by a large share of its drop."""
    train = curves.train or curves.val
    if train is None or len(train) < 2 * LEAST_POINTS or curves.is_cyclic:
        return None
    drop = _drop(curves, train)
    share = train.noise / drop if drop > 0 else 0.0
    if share < NOISY_SHARE and curves.val is not None and curves.chance is not None:
        # The training loss may be near 0 and smooth while the steps still throw validation about.
        train, drop = curves.val, _drop(curves, curves.val)
        is_restless = train.noise > VALIDATION_NOISE * curves.chance and len(train) >= 2 * LEAST_POINTS
        share = train.noise / drop if drop > 0 and is_restless else 0.0
    if share < NOISY_SHARE:
        return None
    tail = train.part(1 / 3)
    turns = int((np.diff(np.sign(np.diff(tail.values))) != 0).sum())
    sentence = (
        f"{train.name} jumps up and down by about {number_text(train.noise)}, {share:.0%} of its whole drop, "
        f"and turned {turns} times since step {step_of(tail, 0)}."
    )
    evidence = [figure("noise by drop", share), point(train, train.best_index), point(train, len(train) - 1)]
    found = [
        remedies.lower_rate(),
        remedies.decay_rate(),
        remedies.larger_batch(),
        remedies.shuffle(),
        remedies.clip_gradients(),
    ]
    return finding(curves, "oscillating", Confidence.LOW, sentence, evidence=evidence, remedies=found)


def plateau(curves: TrialCurves) -> Finding | None:
    """The training loss ends flat and noisy at a rate that did not decay."""
    train = curves.train or curves.val
    if train is None or len(train) < 2 * LEAST_POINTS or curves.is_cyclic or not curves.is_finished:
        return None
    rates = curves.rates
    if rates is not None and len(rates) == len(train) and rates[-1] < 0.3 * rates.max():
        return None
    drop, tail = _drop(curves, train), train.part(2 / 3)
    slope = slope_of(tail)
    if drop <= 0 or train.noise < PLATEAU_NOISE * drop or (slope.falls and -slope.change > FLAT_SHARE * drop):
        return None
    sentence = (
        f"{train.name} does not fall any more since step {step_of(tail, 0)} and varies by "
        f"{number_text(train.noise)} about {number_text(train.sign * float(tail.values.mean()))}."
    )
    evidence = [point(tail, 0), point(train, len(train) - 1), figure("noise by drop", train.noise / drop)]
    found = [remedies.decay_rate(), remedies.lower_rate(), remedies.larger_batch()]
    return finding(curves, "plateau", Confidence.LOW, sentence, evidence=evidence, remedies=found)


def rate_too_low(curves: TrialCurves) -> Finding | None:
    """The training loss falls along a straight line: it is far from where it would settle."""
    train = curves.train or curves.val
    if train is None or len(train) < LEAST_POINTS or curves.is_cyclic or not curves.is_finished:
        return None
    # The drop before the first report is not known exactly, so both halves are taken between reports.
    gone = progress(curves, train, start=train.first)
    is_steady = gone.ratio >= STEADY_RATIO and slope_of(train.last_half).falls
    has_come_back = gone.end - train.best > 2 * train.noise + FLAT_SHARE * max(gone.gain, 0.0)
    if not is_steady or gone.second_half <= 3 * gone.noise or has_come_back or _is_near_the_end(curves, train):
        return None
    sentence = (
        f"{train.name} fell as fast in the second half of the training ({number_text(gone.second_half)}) as in the "
        f"first ({number_text(gone.gain - gone.second_half)}): it is far from settling."
    )
    evidence = [
        point(train, 0),
        point(train, len(train) - 1),
        figure("drop of the second half by the first", gone.ratio),
    ]
    found = [remedies.raise_rate(), remedies.train_longer(curves), remedies.change_optimizer(), remedies.normalize()]
    return finding(curves, "rate_too_low", Confidence.MEDIUM, sentence, evidence=evidence, remedies=found)


def decayed_too_early(curves: TrialCurves) -> Finding | None:
    """The rate fell to almost nothing while the loss was still falling, long before the end."""
    train, rates = curves.train or curves.val, curves.rates
    if train is None or rates is None or len(train) < LEAST_POINTS or len(rates) != len(train):
        return None
    small = rates < EARLY_DECAY
    # A decay that ends with the training is as it should be: only the first half is looked at.
    if not small[len(small) // 2] or not small[-1]:
        return None
    begin = int(np.argmax(small & (np.arange(len(small)) >= int(np.argmax(rates)))))
    later = float(train.values[begin] - train.end)
    sentence = (
        f"The learning rate is below {EARLY_DECAY:.0%} of its base value since step {step_of(train, begin)}, and "
        f"{train.name} fell by only {number_text(max(0.0, later))} after that."
    )
    evidence = [point(train, begin), point(train, len(train) - 1), figure("rate by base rate", float(rates[begin]))]
    found = [remedies.decay_later(), remedies.train_shorter(curves, max(0.1, (begin + 1) / len(train)))]
    return finding(curves, "decayed_too_early", Confidence.HIGH, sentence, evidence=evidence, remedies=found)


def _is_near_the_end(curves: TrialCurves, train: Curve) -> bool:
    """Return whether a slow fall is the last of a training that has learned most already."""
    if curves.chance is not None and not curves.is_fine_tuning:
        return train.end < SETTLED_SHARE * curves.chance
    return curves.is_skilled


def _drop(curves: TrialCurves, curve: Curve) -> float:
    start = curve.first if curves.chance is None else max(curve.first, curves.chance)
    if curves.chance is not None and not curves.is_fine_tuning:
        start = curves.chance
    return float(start - curve.best)
