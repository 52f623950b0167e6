"""Bounds of the option that a parameter sets, from the catalogue of the training core."""

from __future__ import annotations

import math

from service.contract.base import TaskKind
from service.contract.catalogue import Setting, load_catalogue
from service.contract.study import StudySpec


def option_bounds(spec: StudySpec, name: str) -> tuple[float, float]:
    """Return the lowest and the highest value that the option of a parameter accepts; infinite where unbounded.

    An open bound is returned as if it were closed. If several entries have the option, the bounds hold for all of them.
    """
    if spec.task_kind not in {TaskKind.TRAIN, TaskKind.ESTIMATOR}:
        return -math.inf, math.inf
    catalogue = load_catalogue().for_kind(spec.task_kind)
    section, _, option = name.partition(".")
    settings: list[Setting] = [catalogue.settings[name]] if name in catalogue.settings else []
    settings += [
        entry.parameters[option]
        for entry in catalogue.registries.get(section, {}).values()
        if option in entry.parameters
    ]
    low = max((each.low for each in settings if each.low is not None), default=-math.inf)
    high = min((each.high for each in settings if each.high is not None), default=math.inf)
    return low, high
