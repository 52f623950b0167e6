"""Remedies of the space: a wider or narrower range, and a parameter that is fixed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from service.analysis.remedies.domains import rounded
from service.analysis.remedies.proposal import edit_search
from service.analysis.remedies.rule_settings import number_of, text_of
from service.analysis.remedies.subject import Subject
from service.contract.remedy_action import RemedyAction
from service.contract.space import CategoricalParameter, FloatParameter, IntParameter, NumericParameter

_FACTOR = 10.0
"""How far a log range is widened without a value from the rule; other ranges grow by their width."""


def widen_range(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Widen a range to the ends that the rule names, or past the side at which the best trials lie."""
    path = text_of(settings, "parameter") or ""
    parameter = subject.spec.space.get(path)
    if isinstance(parameter, CategoricalParameter) and isinstance(settings.get("choices"), list):
        more = [each for each in settings["choices"] if each not in parameter.choices]
        return edit_search(subject, {f"space.{path}.choices": [*parameter.choices, *more]} if more else {})
    if not isinstance(parameter, FloatParameter | IntParameter):
        return None
    ends = {side: number_of(settings, side) for side in ("low", "high")}
    if ends == {"low": None, "high": None}:
        side = text_of(settings, "side")
        if side not in ends:
            return None
        ends[str(side)] = _further(parameter, is_high=side == "high")
    changes: dict[str, Any] = {}
    for side, end in ends.items():
        present = getattr(parameter, side)
        if end is not None and (end > present if side == "high" else end < present):
            bounded = _within(subject, path, end, is_high=side == "high")
            if bounded != present:
                changes[f"space.{path}.{side}"] = round(bounded) if isinstance(parameter, IntParameter) else bounded
    return edit_search(subject, changes)


def narrow_range(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Narrow a range, or leave out choices, as the rule says."""
    path = text_of(settings, "parameter") or ""
    parameter = subject.spec.space.get(path)
    if isinstance(parameter, CategoricalParameter):
        listed, without = settings.get("choices"), settings.get("without")
        kept = [
            choice
            for choice in parameter.choices
            if (not isinstance(listed, list) or choice in listed)
            and (not isinstance(without, list) or choice not in without)
        ]
        fits = 0 < len(kept) < len(parameter.choices)
        return edit_search(subject, {f"space.{path}.choices": kept}) if fits else None
    if not isinstance(parameter, FloatParameter | IntParameter):
        return None
    changes: dict[str, Any] = {}
    for side in ("low", "high"):
        end, present = number_of(settings, side), getattr(parameter, side)
        if end is not None and (end < present if side == "high" else end > present):
            changes[f"space.{path}.{side}"] = round(end) if isinstance(parameter, IntParameter) else end
    return edit_search(subject, changes)


def fix_parameter(subject: Subject, settings: Mapping[str, Any]) -> RemedyAction | None:
    """Give a parameter one value: the rule's, else that of the best trial."""
    path = text_of(settings, "parameter")
    if path is None or path not in subject.spec.space or len(subject.spec.space) == 1:
        return None
    value = settings.get("value", subject.parameters.get(path))
    if value is None or subject.spec.space[path].type == "constant":
        return None
    fixed: dict[str, Any] = {"type": "constant", "value": value}
    if (when := subject.spec.space[path].when) is not None:
        fixed["when"] = {name: _plain(condition) for name, condition in when.items()}
    return edit_search(subject, {f"space.{path}": fixed})


def _plain(condition: Any) -> Any:
    return condition.model_dump(exclude_none=True) if hasattr(condition, "model_dump") else condition


def _further(parameter: NumericParameter, *, is_high: bool) -> float:
    """Return an end past the present one: a factor of ten on a log scale, else the width of the range."""
    if parameter.log:
        return rounded(parameter.high * _FACTOR if is_high else parameter.low / _FACTOR)
    width = parameter.high - parameter.low
    return parameter.high + width if is_high else parameter.low - width


def _within(subject: Subject, path: str, end: float, *, is_high: bool) -> float:
    """Return the end of a range, moved into the bounds of the option that the parameter sets."""
    setting = subject.setting(path)
    bound = None if setting is None else (setting.high if is_high else setting.low)
    if bound is None or not math.isfinite(bound):
        return end
    return min(end, bound) if is_high else max(end, bound)
