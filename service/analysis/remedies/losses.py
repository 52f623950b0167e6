"""Remedies of the loss: another loss, and weights by which rare classes count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.proposal import follow_up, try_values
from service.analysis.remedies.rule_settings import positive, text_of
from service.analysis.remedies.subject import Subject
from service.contract.remedy_action import RemedyAction

_BALANCE = "loss.balance"


def class_weights(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Weight the classes by how rare they are, where the loss has the option.

    A study whose objective is its loss can't compare losses of different weights, so a follow-up study weights them.
    """
    present = subject.number(_BALANCE)
    wanted = min(1.0, positive(settings, _BALANCE) or 1.0)
    if present is None or present >= wanted:
        return None
    if any(objective.metric.endswith("/loss") for objective in subject.spec.objectives):
        return None if _BALANCE in subject.spec.space else follow_up(subject, {"task.train.loss.balance": wanted})
    return try_values(subject, {_BALANCE: wanted}, {_BALANCE: {"type": "float", "low": 0.0, "high": 1.0}})


def change_loss(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Use the loss that the rule names, in a follow-up study."""
    wanted = text_of(settings, "loss")
    if wanted is None or not subject.is_train or "loss.name" in subject.spec.space:
        return None
    options = [key for key in subject.spec.space if key.startswith("loss.")]
    if options or subject.entry_name("loss") == wanted:
        return None
    return follow_up(subject, {"task.train.loss": {"name": wanted}})
