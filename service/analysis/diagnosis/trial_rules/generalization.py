"""Rules about training against validation: overfitting, underfitting, labels that do not fit."""

from __future__ import annotations

import numpy as np

from service.analysis.diagnosis.curve import Curve, slope_of
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.rate import LEAST_POINTS
from service.analysis.diagnosis.trial_rules.reporting import at, figure, finding, number_text, point
from service.contract.finding import Confidence, Finding, Remedy

WORSE_SHARE = 0.08
"""Validation must end worse than its best by this share of its drop for overfitting."""
GAP_SHARE = 0.25
"""A gap between validation and training of this share of chance is variance, also where validation stays flat."""
POOR_SHARE = 0.4
"""A training loss that ends above this share of chance is poor."""
SMALL_GAP = 0.1
"""A gap below this share of chance is small."""
NO_BETTER = 0.98
"""A validation loss that never falls below this share of chance learned nothing that generalises."""


def noisy_labels(curves: TrialCurves) -> Finding | None:
    """Training falls, and validation never becomes better than a constant prediction."""
    train, val = curves.train, curves.val
    if train is None or val is None or min(len(train), len(val)) < LEAST_POINTS or curves.is_fine_tuning:
        return None
    chance = curves.chance
    start = val.first if chance is None else chance
    fell = max(train.first, start) - train.end
    learned = start - float(val.smooth.min())
    if fell <= 0.1 * abs(start) or learned > (1 - NO_BETTER) * abs(start):
        return None
    confidence = Confidence.HIGH if chance is not None else Confidence.MEDIUM
    reference = "a constant prediction" if chance is not None else "at its first step"
    sentence = (
        f"{train.name} fell to {at(train, len(train) - 1)} while {val.name} was never better than {reference} "
        f"({number_text(val.sign * start)}; best {at(val, val.best_index)}): inputs and labels do not belong together."
    )
    evidence = [point(train, len(train) - 1), point(val, val.best_index), figure("level of chance", val.sign * start)]
    found = [remedies.check_labels(), remedies.check_data(), remedies.more_data(), remedies.more_regularization()]
    return finding(curves, "noisy_labels", confidence, sentence, evidence=evidence, remedies=found)


def overfitting(curves: TrialCurves) -> Finding | None:
    """Validation becomes worse while training goes on falling, so that the gap grows."""
    train, val = curves.train, curves.val
    if train is None or val is None or len(train) != len(val) or len(val) < LEAST_POINTS:
        return None
    start = val.first if curves.start is None else max(val.first, curves.start)
    best = int(np.argmin(val.smooth))
    drop, worse = start - val.best, val.end - float(val.smooth[best])
    train_fell = float(train.smooth[best]) - train.end
    if best >= len(val) - 2 or worse < WORSE_SHARE * max(drop, 1e-12) or worse <= 3 * val.noise or train_fell <= 0:
        return None
    gap_before, gap_after = float(val.smooth[best] - train.smooth[best]), val.end - train.end
    sentence = (
        f"{val.name} rose from {at(val, val.best_index)} to {at(val, len(val) - 1)} while {train.name} fell to "
        f"{number_text(train.sign * train.end)}: the gap grew from {number_text(gap_before)} to "
        f"{number_text(gap_after)}."
    )
    evidence = [
        point(val, val.best_index),
        point(val, len(val) - 1),
        point(train, len(train) - 1),
        figure("gap", gap_after),
    ]
    return finding(curves, "overfitting", Confidence.HIGH, sentence, evidence=evidence, remedies=_variance(curves))


def high_variance(curves: TrialCurves) -> Finding | None:
    """The gap between training and validation is a large share of what there is to learn."""
    train, val, start = curves.train, curves.val, curves.start
    if train is None or val is None or start is None or min(len(train), len(val)) < LEAST_POINTS:
        return None
    gap = val.end - train.end
    scale = max(start, val.first) - train.end
    if scale <= 0 or gap < GAP_SHARE * scale or gap <= 3 * val.noise:
        return None
    sentence = (
        f"{val.name} ends at {number_text(val.sign * val.end)} and {train.name} at "
        f"{number_text(train.sign * train.end)}: the gap is {gap / scale:.0%} of what training gained."
    )
    evidence = [point(val, len(val) - 1), point(train, len(train) - 1), figure("gap by gain", gap / scale)]
    return finding(curves, "high_variance", Confidence.MEDIUM, sentence, evidence=evidence, remedies=_variance(curves))


def underfitting(curves: TrialCurves) -> Finding | None:
    """Training and validation end flat, close together, and far above what is possible."""
    train, val, chance = curves.train, curves.val, curves.chance
    if train is None or len(train) < LEAST_POINTS or chance is None or not curves.is_finished or chance <= 0:
        return None
    gap = 0.0 if val is None else val.end - train.end
    if train.end < POOR_SHARE * chance or gap > SMALL_GAP * chance or _still_falls(train, chance):
        return None
    sentence = (
        f"{train.name} ends at {number_text(train.sign * train.end)}, {train.end / chance:.0%} of the loss of "
        f"a constant prediction, and the gap to validation is only {number_text(gap)}: the model fits neither."
    )
    evidence = [point(train, len(train) - 1), figure("gap", gap), figure("loss of a constant prediction", chance)]
    found: list[Remedy] = [
        remedies.larger_model(),
        remedies.train_longer(curves),
        remedies.less_regularization(),
        remedies.other_model(),
        remedies.raise_rate(),
    ]
    return finding(curves, "underfitting", Confidence.MEDIUM, sentence, evidence=evidence, remedies=found)


def _still_falls(curve: Curve, chance: float) -> bool:
    slope = slope_of(curve.part(1 / 2))
    return slope.falls and -slope.change > 0.05 * chance


def _variance(curves: TrialCurves) -> list[Remedy]:
    """Return the remedies of variance in the order of the lectures (Ng): data, augmentation, regularisation, model."""
    return [
        remedies.stop_early(curves),
        remedies.more_data(),
        remedies.augment(),
        remedies.more_regularization(),
        remedies.smaller_model(),
    ]
