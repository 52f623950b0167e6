"""Rules about training against validation: overfitting, underfitting, labels that do not fit."""

from __future__ import annotations

import numpy as np

from service.analysis.diagnosis.curve import Curve, slope_of
from service.analysis.diagnosis.schedule import number, section
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.rate import LEAST_POINTS
from service.analysis.diagnosis.trial_rules.reporting import at, figure, finding, number_text, point
from service.contract.finding import Confidence, Finding, Remedy

WORSE_SHARE = 0.08
"""Validation must end worse than its best by this share of its drop for overfitting."""
SLIGHTLY_WORSE = 0.025
"""... or by this share of its drop and WORSE_SHARE of its best value, which is less sure."""
MEMORISED, MEMORISED_GAP = 0.02, 0.1
"""A training loss below the first share of its start with a gap above the second one is memorised."""
GAP_SHARE = 0.25
"""A gap between validation and training of this share of chance is variance, also where validation stays flat."""
POOR_SHARE = 0.4
"""A training loss that ends above this share of chance is poor."""
LIMITED_SHARE = 0.1
"""With a setting that limits the model, a training loss above this share of its start is poor."""
TINY_WIDTH = 3
"""Units of a hidden layer, up to which it lets hardly anything through."""
STRONG_DROPOUT, STRONG_L1, STRONG_L2, STRONG_DECAY = 0.8, 0.01, 0.1, 0.003
"""Strengths that no search space of the literature reaches; the last is decoupled decay times rate, per step."""
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
    if chance is None and curves.is_skilled:
        return None
    start = val.first if chance is None else chance
    fell = max(train.first, start) - train.end
    learned = start - float(val.smooth.min())
    if fell <= 0.1 * abs(start) or learned > (1 - NO_BETTER) * abs(start):
        return None
    reference = "a constant prediction" if chance is not None else "at its first step"
    sentence = (
        f"{train.name} fell to {at(train, len(train) - 1)} while {val.name} was never better than {reference} "
        f"({number_text(val.sign * start)}; best {at(val, val.best_index)}): inputs and labels do not belong together."
    )
    evidence = [point(train, len(train) - 1), point(val, val.best_index), figure("level of chance", val.sign * start)]
    found = [remedies.check_labels(), remedies.check_data(), remedies.more_data(), remedies.more_regularization()]
    return finding(curves, "noisy_labels", Confidence.LOW, sentence, evidence=evidence, remedies=found)


def overfitting(curves: TrialCurves) -> Finding | None:
    """Validation becomes worse while training goes on falling, so that the gap grows; or training is memorised."""
    train, val = curves.train, curves.val
    if train is None or val is None or len(train) != len(val) or len(val) < LEAST_POINTS:
        return None
    start = val.first if curves.start is None else max(val.first, curves.start)
    best = int(np.argmin(val.smooth))
    drop, worse = start - val.best, val.end - float(val.smooth[best])
    train_fell = float(train.smooth[best]) - train.end
    rises = best < len(val) - 2 and worse > 3 * val.noise and train_fell > 0
    # Validation that worsens little beside all it gained may still have lost much of what it had reached.
    is_clear = rises and worse >= WORSE_SHARE * max(drop, 1e-12)
    is_slight = rises and worse >= SLIGHTLY_WORSE * drop and worse >= WORSE_SHARE * abs(val.best)
    gap_before, gap_after = float(val.smooth[best] - train.smooth[best]), val.end - train.end
    is_memorised = start > 0 and train.end < MEMORISED * start and gap_after >= MEMORISED_GAP * start
    if not (is_clear or is_slight or is_memorised):
        return None
    sentence = (
        f"{val.name} rose from {at(val, val.best_index)} to {at(val, len(val) - 1)} while {train.name} fell to "
        f"{number_text(train.sign * train.end)}: the gap grew from {number_text(gap_before)} to "
        f"{number_text(gap_after)}."
    )
    if not (is_clear or is_slight):
        sentence = (
            f"{train.name} fell to {number_text(train.sign * train.end)}: the training examples are memorised. "
            f"{val.name} stays at {at(val, len(val) - 1)}."
        )
    confidence = Confidence.MEDIUM if is_clear else Confidence.LOW
    evidence = [
        point(val, val.best_index),
        point(val, len(val) - 1),
        point(train, len(train) - 1),
        figure("gap", gap_after),
    ]
    return finding(curves, "overfitting", confidence, sentence, evidence=evidence, remedies=_variance(curves))


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
    return finding(curves, "high_variance", Confidence.LOW, sentence, evidence=evidence, remedies=_variance(curves))


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
    return finding(curves, "underfitting", Confidence.LOW, sentence, evidence=evidence, remedies=found)


def strong_regularization(curves: TrialCurves) -> Finding | None:
    """Training and validation end close together and far above 0, and a setting of the task explains it."""
    train, start = curves.train, curves.start
    cause = _limit(curves)
    if train is None or start is None or cause is None or len(train) < LEAST_POINTS or start <= 0:
        return None
    gap = 0.0 if curves.val is None else curves.val.end - train.end
    if train.end < LIMITED_SHARE * start or gap > SMALL_GAP * start:
        return None
    setting, value, is_size = cause
    sentence = (
        f"{train.name} ends at {number_text(train.sign * train.end)}, {train.end / start:.0%} of its start, with a gap "
        f"of {number_text(gap)} to validation, and {setting} is {value:g}: that keeps the model from fitting."
    )
    evidence = [point(train, len(train) - 1), figure("gap", gap), figure(setting, value)]
    found: list[Remedy] = [remedies.less_regularization(), remedies.larger_model(), remedies.train_longer(curves)]
    if is_size:
        found = [remedies.larger_model(), remedies.other_model(), remedies.train_longer(curves)]
    return finding(curves, "underfitting", Confidence.HIGH, sentence, evidence=evidence, remedies=found)


def _limit(curves: TrialCurves) -> tuple[str, float, bool] | None:
    """Return the setting that limits the model, its value, and whether it is the model's size; None: none does."""
    model, optimizer = section(curves.config, "model"), section(curves.config, "optimizer")
    hidden = model.get("hidden", (model.get("width"),))
    sizes = [each for each in hidden if isinstance(each, int)] if isinstance(hidden, list | tuple) else []
    if sizes and min(sizes) <= TINY_WIDTH:
        return "the narrowest hidden layer", float(min(sizes)), True
    if (dropout := number(model, "dropout", 0.0)) >= STRONG_DROPOUT:
        return "model.dropout", dropout, False
    if (penalty := number(curves.config, "l1", 0.0)) >= STRONG_L1:
        return "l1", penalty, False
    decay, rate = number(optimizer, "weight_decay", 0.0), number(optimizer, "lr", 0.0)
    is_decoupled = optimizer.get("name") in ("adamw", "nadam", "radam")
    if (is_decoupled and decay * rate >= STRONG_DECAY) or (not is_decoupled and decay >= STRONG_L2):
        return "optimizer.weight_decay", decay, False
    return None


def _still_falls(curve: Curve, chance: float) -> bool:
    slope = slope_of(curve.last_half)
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
