"""Remedies of the data: all of a limited data set, a larger validation split, a fresh split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.domains import rounded
from service.analysis.remedies.proposal import follow_up
from service.analysis.remedies.rule_settings import positive
from service.analysis.remedies.subject import Subject
from service.contract.remedy_action import RemedyAction

_MOST_VALIDATION = 0.4


def more_data(subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """Train on all examples, in a follow-up study, where the task limits their number."""
    limit = _fixed(subject, "limit")
    return None if limit is None else follow_up(subject, {f"task.{subject.spec.task_kind}.data.limit": None})


def larger_validation(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Validate on twice the share of the data, in a follow-up study, where the service makes the split."""
    present = _fixed(subject, "val_fraction")
    if not isinstance(present, float) or not _is_split(subject):
        return None
    share = rounded(min(_MOST_VALIDATION, positive(settings, "val_fraction") or 2 * present))
    if share <= present:
        return None
    return follow_up(subject, {f"task.{subject.spec.task_kind}.data.val_fraction": share})


def new_split(subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """Split the data anew, in a follow-up study, where the service makes the split by a seed."""
    seed = _fixed(subject, "seed")
    if not isinstance(seed, int) or not _is_split(subject):
        return None
    return follow_up(subject, {f"task.{subject.spec.task_kind}.data.seed": seed + 1})


def _fixed(subject: Subject, option: str) -> Any:
    """Return the value of an option of the data; None: it has none, or the space searches the data."""
    if any(key.startswith("data.") for key in subject.spec.space) or subject.setting(f"data.{option}") is None:
        return None
    return subject.value(f"data.{option}")


def _is_split(subject: Subject) -> bool:
    """Return whether the training splits the data at random, and not by a column, by time or by files."""
    return not any(subject.value(f"data.{option}") for option in ("val", "fold", "time"))
