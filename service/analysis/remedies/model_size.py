"""Remedies of the model: its size, normalisation, activation, first weights, and how much of it is fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.domains import one_of
from service.analysis.remedies.proposal import try_values
from service.analysis.remedies.rule_settings import positive, text_of
from service.analysis.remedies.subject import Subject
from service.contract.base import Value
from service.contract.remedy_action import RemedyAction

_LARGER, _SMALLER = 2.0, 0.5
_USUAL_WIDTH = 128
"""Width of a perceptron's hidden layers without `width` and `hidden`."""

_LARGER_THAN_LINEAR = "mlp"
_ACTIVATIONS = {"tanh": "relu", "relu": "gelu"}
"""Activation -> one that saturates or dies less."""


def larger_model(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try a model of twice the width; instead of a linear one, a perceptron."""
    if subject.entry_name("model") == "linear":
        names = one_of("linear", _LARGER_THAN_LINEAR)
        return try_values(subject, {"model.name": _LARGER_THAN_LINEAR}, {"model.name": names})
    return _resize(subject, positive(settings, "factor") or _LARGER)


def smaller_model(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try a model of half the width."""
    return _resize(subject, positive(settings, "factor") or _SMALLER)


def normalize(subject: Subject, _settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try batch normalisation in a model that has the option and uses none."""
    return _switch(subject, "model.norm", {"none": "batch"})


def change_activation(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try the rule's activation, or one that saturates or dies less than the present one."""
    present = str(subject.value("model.activation"))
    wanted = text_of(settings, "activation") or _ACTIVATIONS.get(present, present)
    return _switch(subject, "model.activation", {present: wanted})


def change_initialization(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try the rule's first weights or He's; where the trial has them, the model's own."""
    present, wanted = subject.value("model.init"), text_of(settings, "init") or "kaiming"
    return _switch(subject, "model.init", {str(present): "default" if present == wanted else wanted})


def finetune_less(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Try to train the head of a pretrained model only, or another way to tune less of it."""
    if not subject.value("model.pretrained"):
        return None
    choice = settings.get("finetune")
    name = choice.get("name") if isinstance(choice, Mapping) else choice
    return _switch(subject, "finetune.name", {"full": name if isinstance(name, str) else "head"})


def _resize(subject: Subject, factor: float) -> RemedyAction | None:
    hidden, width = subject.value("model.hidden"), subject.value("model.width")
    if isinstance(hidden, list) and all(isinstance(each, int) for each in hidden):
        resized: Value = [max(1, round(each * factor)) for each in hidden]
        return try_values(subject, {"model.hidden": resized}, {"model.hidden": _by_size(hidden, resized)})
    if subject.setting("model.width") is None:
        return None
    present = width if isinstance(width, int) else _USUAL_WIDTH
    wide = max(1, round(present * factor))
    return try_values(subject, {"model.width": wide}, {"model.width": _by_size(present, wide)})


def _by_size(one: Value, other: Value) -> dict[str, Any]:
    """Return a parameter of two sizes, the smaller first, whose neighbours are similar."""
    ordered = sorted((one, other), key=lambda size: sum(size) if isinstance(size, list) else size)  # type: ignore[arg-type]
    return {**one_of(*ordered), "ordered": True}


def _switch(subject: Subject, path: str, instead: Mapping[str, str]) -> RemedyAction | None:
    """Try another text for an option; None: the present one has no better one, or the model has no such option."""
    present = subject.value(path)
    wanted = instead.get(present) if isinstance(present, str) else None
    if wanted is None or wanted == present:
        return None
    return try_values(subject, {path: wanted}, {path: one_of(str(present), wanted)})
