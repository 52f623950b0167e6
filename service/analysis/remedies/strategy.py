"""Remedies of the search: its budget, its pruner, repeated configurations, memory, and a new preflight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.proposal import edit_search, more_trials
from service.analysis.remedies.rule_settings import positive
from service.analysis.remedies.space_ranges import narrow_range
from service.analysis.remedies.subject import Subject
from service.contract.base import TaskKind
from service.contract.pruner import MedianPrunerSpec, PercentilePrunerSpec
from service.contract.remedy_action import (
    EditAction,
    EnqueueAction,
    ExtendAction,
    PreflightAction,
    RemedyAction,
    StopAction,
)

_MORE_TRIALS = 1.5


def take_more_trials(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Raise the number of trials to one and a half times the present one, or as the rule says."""
    present = subject.spec.budget.trials
    if present is None:
        return None
    trials = math.ceil(positive(settings, "trials") or present * (positive(settings, "factor") or _MORE_TRIALS))
    return ExtendAction(trials=trials) if trials > present else None


def end_study(_subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """End the search."""
    return StopAction()


def change_pruner(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Use the pruner that the rule names; without one, let the pruner in use judge later."""
    wanted = settings.get("pruner")
    if isinstance(wanted, str | Mapping):
        return edit_search(subject, {"pruner": {"name": wanted} if isinstance(wanted, str) else dict(wanted)})
    pruner = subject.spec.pruner
    if isinstance(pruner, MedianPrunerSpec | PercentilePrunerSpec):
        return edit_search(subject, {"pruner.warmup_steps": _later(subject, pruner.warmup_steps)})
    return None


def repeat_seeds(subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """Train the best configuration once more, with another seed."""
    if subject.trial is None:
        return None
    parameters = dict(subject.trial.parameters)
    if budget := more_trials(subject, 1):
        return EditAction(changes=budget, enqueue=parameters)
    return EnqueueAction(parameters=parameters)


def limit_memory(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Leave out the region of the space that runs out of memory, or limit the number of the model's parameters."""
    if "parameter" in settings:
        return narrow_range(subject, settings)
    most = positive(settings, "parameters")
    if most is None or not subject.is_train:
        return None
    return edit_search(subject, {"constraints.parameters": {"max": most}})


def run_preflight(subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """Have a worker check the study again."""
    return None if subject.spec.task_kind is TaskKind.EXTERNAL else PreflightAction()


def _later(subject: Subject, warmup_steps: int) -> int:
    """Return the step from which the pruner judges: twice the present one, at least a third of the training."""
    resource = subject.spec.resource
    return max(2 * warmup_steps, 1 if resource is None else -(-resource.max // 3))
