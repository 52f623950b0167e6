"""The action of each remedy: which function proposes it, and which remedies only a person can carry out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from service.analysis.remedies import (
    data,
    length,
    losses,
    model_size,
    rates,
    regularization,
    schedules,
    space_ranges,
    strategy,
)
from service.analysis.remedies.subject import StudyForRemedies, Subject
from service.contract.finding import Finding, Remedy, RemedyName
from service.contract.remedy_action import RemedyAction

Propose = Callable[[Subject, Mapping[str, Any]], RemedyAction | None]

PROPOSALS: Mapping[RemedyName, Propose] = {
    RemedyName.LOWER_RATE: rates.lower_rate,
    RemedyName.RAISE_RATE: rates.raise_rate,
    RemedyName.CLIP_GRADIENTS: rates.clip_gradients,
    RemedyName.LARGER_BATCH: rates.larger_batch,
    RemedyName.CHANGE_OPTIMIZER: rates.change_optimizer,
    RemedyName.DECAY_RATE: schedules.decay_rate,
    RemedyName.DECAY_LATER: schedules.decay_later,
    RemedyName.WARM_UP: schedules.warm_up,
    RemedyName.TRAIN_LONGER: length.train_longer,
    RemedyName.TRAIN_SHORTER: length.train_shorter,
    RemedyName.STOP_EARLY: length.stop_early,
    RemedyName.LARGER_MODEL: model_size.larger_model,
    RemedyName.SMALLER_MODEL: model_size.smaller_model,
    RemedyName.NORMALIZE: model_size.normalize,
    RemedyName.CHANGE_INITIALIZATION: model_size.change_initialization,
    RemedyName.CHANGE_ACTIVATION: model_size.change_activation,
    RemedyName.FINETUNE_LESS: model_size.finetune_less,
    RemedyName.MORE_REGULARIZATION: regularization.more_regularization,
    RemedyName.LESS_REGULARIZATION: regularization.less_regularization,
    RemedyName.AUGMENT: regularization.augment,
    RemedyName.CHANGE_LOSS: losses.change_loss,
    RemedyName.CLASS_WEIGHTS: losses.class_weights,
    RemedyName.MORE_DATA: data.more_data,
    RemedyName.LARGER_VALIDATION: data.larger_validation,
    RemedyName.NEW_SPLIT: data.new_split,
    RemedyName.WIDEN_RANGE: space_ranges.widen_range,
    RemedyName.NARROW_RANGE: space_ranges.narrow_range,
    RemedyName.FIX_PARAMETER: space_ranges.fix_parameter,
    RemedyName.MORE_TRIALS: strategy.take_more_trials,
    RemedyName.END_STUDY: strategy.end_study,
    RemedyName.CHANGE_PRUNER: strategy.change_pruner,
    RemedyName.REPEAT_SEEDS: strategy.repeat_seeds,
    RemedyName.LIMIT_MEMORY: strategy.limit_memory,
    RemedyName.RUN_PREFLIGHT: strategy.run_preflight,
}
"""Remedy -> the function that proposes its action for one trial or study."""

FOR_PEOPLE = frozenset(
    {
        RemedyName.OTHER_MODEL,
        RemedyName.ADD_FEATURES,
        RemedyName.ADAPT_DOMAIN,
        RemedyName.FINETUNE_ON_TARGET,
        RemedyName.CHECK_DATA,
        RemedyName.CHECK_LABELS,
        RemedyName.SHUFFLE,
        RemedyName.ANALYZE_ERRORS,
        RemedyName.ADD_FEATURES,
        RemedyName.SYNTHESIZE_DATA,
        RemedyName.ADAPT_DOMAIN,
        RemedyName.FINETUNE_ON_TARGET,
        RemedyName.INSPECT_HOST,
        RemedyName.TAKE_CHEAPER,
        RemedyName.TAKE_BASELINE,
    }
)
"""Remedies that only a person can carry out."""


def action_for(remedy: Remedy, finding: Finding, study: StudyForRemedies) -> RemedyAction | None:
    """Return the action that carries out a remedy.

    The action is a proposal: the use case that would carry it out may still refuse it.

    Args:
        remedy: one of the finding's remedies.
        finding: the finding, about a trial or about the study.
        study: the study as it is now.

    Returns:
        None: only a person can carry it out, or nothing is left to change.
    """
    propose, subject = PROPOSALS.get(remedy.name), Subject.of(study, finding.trial)
    if propose is None or subject is None:
        return None
    return propose(subject, remedy.settings)
