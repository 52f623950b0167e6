"""Rules about the beginning of a training: never learned, flat before it learned, a bad initialisation."""

from __future__ import annotations

import numpy as np

from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.rate import LEAST_POINTS
from service.analysis.diagnosis.trial_rules.reporting import at, figure, finding, number_text, point, step_of
from service.contract.finding import Confidence, Finding

SMALL_UPDATE = 1e-7
"""Length of a step by the length of the weights, below which nothing moves; 1e-3 is usual."""
STALLED_SHARE = 0.03
"""A training loss that changed by less than this share of its level has not learned (AutoTrainer: accuracy +0.01)."""
NEAR_CHANCE = 0.9
"""Above this share of chance a loss is at its level: the classes may be uneven, and split and mean may differ."""
FLAT_SHARE = 0.05
"""While a loss is within this share of its drop of the start, it is flat."""
FLAT_STEPS = 0.15
"""A loss that is flat for this share of the steps and then drops began badly."""
FAR_ABOVE = 2.0
"""A first loss this many times above that of a constant prediction comes from weights or inputs of the wrong scale."""


def stalled(curves: TrialCurves) -> Finding | None:
    """The training loss has not changed: the training never learned."""
    train = curves.train or curves.val
    if train is None or len(train) < LEAST_POINTS or curves.is_fine_tuning:
        return None
    chance = curves.chance
    third = max(1, len(train) // 3)
    begin, end = float(np.mean(train.values[:third])), float(np.mean(train.values[-third:]))
    scale = abs(begin) if chance is None else abs(chance)
    if scale == 0 or begin - end > STALLED_SHARE * scale or end - begin > 0.1 * scale:
        return None
    if chance is not None and (train.end < NEAR_CHANCE * chance or train.end > 1.25 * chance):
        return None
    if chance is None and curves.is_skilled:
        return None
    level = "" if chance is None else f", the level of a constant prediction ({number_text(train.sign * chance)})"
    sentence = f"{train.name} did not fall: {at(train, 0)}, {at(train, len(train) - 1)}{level}."
    evidence = [point(train, 0), point(train, len(train) - 1)]
    confidence = Confidence.HIGH if chance is not None else Confidence.MEDIUM
    found = [
        remedies.raise_rate(10.0),
        remedies.run_preflight(),
        remedies.check_data(),
        remedies.change_initialization(),
        remedies.change_activation(),
        remedies.change_loss(),
    ]
    return finding(curves, "stalled", confidence, sentence, evidence=evidence, remedies=found)


def no_step(curves: TrialCurves) -> Finding | None:
    """No step of the optimizer changes the weights."""
    updates = curves.reported("norm/update_ratio")
    if updates is None or float(updates.values.max()) >= SMALL_UPDATE:
        return None
    largest = float(updates.values.max())
    sentence = f"No step changes the weights by more than {number_text(largest)} of their length."
    found = [remedies.raise_rate(10.0), remedies.change_optimizer(), remedies.run_preflight()]
    evidence = [point(updates, 0), point(updates, len(updates) - 1)]
    return finding(curves, "stalled", Confidence.HIGH, sentence, evidence=evidence, remedies=found)


def flat_then_drop(curves: TrialCurves) -> Finding | None:
    """The training loss stays at its start for many steps and only then drops."""
    train = curves.train or curves.val
    if train is None or len(train) < 2 * LEAST_POINTS or curves.is_fine_tuning:
        return None
    start = train.first if curves.chance is None else min(train.first, 1.02 * curves.chance)
    drop = start - train.best
    if drop <= 0.1 * abs(start) or drop <= 10 * train.noise:
        return None
    is_flat = np.abs(train.values - start) <= FLAT_SHARE * drop
    num_flat = int(np.argmin(is_flat)) if not is_flat.all() else len(train)
    if num_flat < max(3, FLAT_STEPS * len(train)) or num_flat == len(train):
        return None
    sentence = (
        f"{train.name} stayed at {number_text(train.raw(0))} until step {step_of(train, num_flat - 1)} and then "
        f"fell to {at(train, train.best_index)}."
    )
    evidence = [point(train, 0), point(train, num_flat - 1), point(train, train.best_index)]
    found = [remedies.change_initialization(), remedies.normalize(), remedies.warm_up(), remedies.raise_rate()]
    return finding(curves, "flat_then_drop", Confidence.MEDIUM, sentence, evidence=evidence, remedies=found)


def bad_initialization(curves: TrialCurves) -> Finding | None:
    """The first losses are far above those of a constant prediction."""
    train, chance = curves.train or curves.val, curves.chance
    if train is None or chance is None or chance <= 0 or curves.is_fine_tuning or train.first < FAR_ABOVE * chance:
        return None
    sentence = (
        f"{train.name} begins at {at(train, 0)}, {number_text(train.first / chance)} times the loss of a constant "
        f"prediction ({number_text(chance)}): first weights or inputs have the wrong scale, or the rate is too high."
    )
    evidence = [point(train, 0), figure("loss of a constant prediction", chance)]
    found = [remedies.normalize(), remedies.change_initialization(), remedies.lower_rate(0.1), remedies.warm_up()]
    return finding(curves, "bad_initialization", Confidence.MEDIUM, sentence, evidence=evidence, remedies=found)
