"""Remedies of regularization: weight decay, dropout, label smoothing, penalties, augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.domains import Domain, log_range, one_of, rounded
from service.analysis.remedies.proposal import try_values
from service.analysis.remedies.rule_settings import number_of, positive
from service.analysis.remedies.subject import Subject
from service.contract.base import Value
from service.contract.remedy_action import RemedyAction

DECAY, DROPOUT, SMOOTHING, L1 = "optimizer.weight_decay", "model.dropout", "loss.label_smoothing", "l1"

_DECOUPLED = ("adamw",)
"""Optimizers whose decay is multiplied by the rate, so that it must be larger."""

_DROPOUT, _MORE_DROPOUT, _MOST_DROPOUT = 0.3, 0.2, 0.6
_DECAY, _MOST_DECAY = 0.1, 1.0
"""The usual and the largest decay of decoupled optimizers. Others take a hundredth and a tenth of them."""
_LESS_DECAY, _LESS_DROPOUT = 0.1, 1 / 3
_NEGLIGIBLE: Mapping[str, float] = {DECAY: 1e-4, DROPOUT: 0.05, SMOOTHING: 0.02, L1: 1e-7}
"""Option -> the strength below which it does not hold a training back."""

_AUGMENTATIONS: Mapping[str, tuple[str, Mapping[str, Value]]] = {
    "images": ("images", {"augment.rotate": 10.0, "augment.translate": 0.1}),
    "rows": ("mixup", {}),
}
"""Input of the model -> the augmentation, and the options without which it would change nothing."""


def more_regularization(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try more dropout where the model has it, and more weight decay; at least as much as the rule says."""
    values: dict[str, Value] = {}
    domains: dict[str, Domain] = {}
    dropout, decay = subject.number(DROPOUT), subject.number(DECAY)
    if dropout is not None and dropout < _MOST_DROPOUT:
        least = positive(settings, DROPOUT) or _DROPOUT
        values[DROPOUT] = rounded(least if dropout < least else min(_MOST_DROPOUT, dropout + _MORE_DROPOUT))
        domains[DROPOUT] = {"type": "float", "low": 0.0, "high": _MOST_DROPOUT}
    is_decoupled = subject.entry_name("optimizer") in _DECOUPLED
    usual, most = (_DECAY, _MOST_DECAY) if is_decoupled else (_DECAY / 100, _MOST_DECAY / 10)
    if decay is not None and decay < most:
        least = min(most, positive(settings, DECAY) or usual) if is_decoupled else usual
        values[DECAY] = rounded(least if decay < least else min(most, 10 * decay))
        domains[DECAY] = log_range(usual / 100, most, zero=True)
    return try_values(subject, values, domains) if values else None


def less_regularization(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try a tenth of weight decay and penalties, a third of dropout and label smoothing, or the values of the rule."""
    values: dict[str, Value] = {}
    domains: dict[str, Domain] = {}
    for path, negligible in _NEGLIGIBLE.items():
        present = subject.number(path)
        if present is None or present <= negligible:
            continue
        proposed = number_of(settings, path)
        share = _LESS_DECAY if path in (DECAY, L1) else _LESS_DROPOUT
        less = rounded(present * share) if proposed is None or not 0 <= proposed < present else proposed
        values[path] = less
        if path in (DECAY, L1):
            domains[path] = log_range(present / 100, present, zero=True)
        else:
            domains[path] = {"type": "float", "low": 0.0, "high": present}
    return try_values(subject, values, domains) if values else None


def augment(subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try an augmentation that fits the data: small rotations and shifts of images, mixup of rows."""
    data = subject.entry("data")
    inputs = data.facts.get("inputs") if data is not None else None
    present = subject.entry_name("augment")
    if not isinstance(inputs, list) or present != "none":
        return None
    for each in inputs:
        if each in _AUGMENTATIONS:
            name, options = _AUGMENTATIONS[each]
            domains: dict[str, Domain] = {"augment.name": one_of(present, name)}
            for path, value in options.items():
                domains[path] = {"type": "float", "low": 0.0, "high": 2 * float(value)}  # type: ignore[arg-type]
            return try_values(subject, {"augment.name": name, **options}, domains)
    return None
