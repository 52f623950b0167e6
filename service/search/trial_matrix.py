"""Trials of a history as NumPy arrays for models, cached and updated incrementally between suggestions."""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, count

import numpy as np
from numpy.typing import NDArray

from service.contract.base import Value
from service.contract.space import Parameter, Space
from service.domain.history import TrialRecord
from service.domain.parameter import contains
from service.search.observations import ObservationKind, observation_kind
from service.search.space.transform import coordinate

Floats = NDArray[np.float64]

_ABSENT = -np.inf
_FOREIGN = np.nan

_KEPT = 32
"""Number of spaces whose arrays are cached: one per active study, and one per box of a coarse-to-fine search."""


@dataclass(frozen=True, slots=True)
class TrialMatrix:
    """Trials as arrays whose rows are in the order of trial numbers."""

    names: tuple[str, ...]
    coordinates: Floats
    """Shape (trials, parameters): the number that represents each value.

    It is -inf if a conditional parameter is inactive, and NaN if the value is not in this space.
    """
    roles: NDArray[np.int8]
    """Shape (trials,): the `ObservationKind` of each trial."""
    values: Floats
    """Shape (trials, objectives): the final values of completed trials, the last reported value of pruned ones, else 0.

    Of a pruned trial only the value of the first objective is known.
    """
    steps: NDArray[np.int64]
    """Shape (trials,): the last step of a pruned trial, -1 if it reported none; 0 for all other trials."""

    def columns(self, names: Sequence[str]) -> Floats:
        """Return the coordinates of the named parameters, in the order of `names`."""
        return self.coordinates[:, [self.names.index(name) for name in names]]

    def contains(self, space: Space, configuration: Mapping[str, Value], *, since: int = 0) -> bool:
        """Return whether a trial at index `since` or later has exactly this configuration."""
        row = [_number(space[name], name, configuration) for name in self.names]
        return bool((self.coordinates[since:] == row).all(axis=1).any())


_known: OrderedDict[str, tuple[Sequence[TrialRecord], TrialMatrix]] = OrderedDict()
_lock = threading.Lock()


def trial_matrix_of(space: Space, trials: Sequence[TrialRecord], num_objectives: int = 1) -> TrialMatrix:
    """Return `trials` as arrays over the parameters of `space`.

    Rows of the previous call are reused for records that are still the same objects. Records are immutable, so the
    result equals that of a fresh computation, and the cost depends on the trials that changed since the last call.

    Args:
        space: the space whose parameters become columns.
        trials: the trials that become rows.
        num_objectives: number of objectives of the study.
    """
    names = sorted(space)
    key = "\n".join([str(num_objectives), *(f"{name} {space[name].model_dump_json()}" for name in names)])
    with _lock:
        before, old = _known.get(key, ((), _blank(names, 0, num_objectives)))
    fresh = _blank(names, len(trials), num_objectives)
    num_shared = min(len(before), len(trials))
    for array in ("coordinates", "roles", "values", "steps"):
        getattr(fresh, array)[:num_shared] = getattr(old, array)[:num_shared]
    moved = compress(count(), map(operator.is_not, before, trials))
    for at in (*moved, *range(num_shared, len(trials))):
        _fill(fresh, space, at, trials[at])
    with _lock:
        _known[key] = (trials, fresh)
        _known.move_to_end(key)
        while len(_known) > _KEPT:
            _known.popitem(last=False)
    return fresh


def _blank(names: Sequence[str], num_trials: int, num_objectives: int) -> TrialMatrix:
    return TrialMatrix(
        names=tuple(names),
        coordinates=np.empty((num_trials, len(names))),
        roles=np.empty(num_trials, np.int8),
        values=np.zeros((num_trials, num_objectives)),
        steps=np.zeros(num_trials, np.int64),
    )


def _fill(columns: TrialMatrix, space: Space, at: int, trial: TrialRecord) -> None:
    role = observation_kind(trial)
    columns.coordinates[at] = [_number(space[name], name, trial.parameters) for name in columns.names]
    columns.roles[at] = role
    columns.values[at], columns.steps[at] = 0.0, 0
    if role is ObservationKind.COMPLETED:
        columns.values[at] = trial.values
    elif role is ObservationKind.PRUNED:
        columns.steps[at], columns.values[at, 0] = trial.series[-1] if trial.series else (-1, 0.0)


def _number(parameter: Parameter, name: str, values: Mapping[str, Value]) -> float:
    if name not in values:
        return _ABSENT
    value = values[name]
    return coordinate(parameter, value) if contains(parameter, value) else _FOREIGN
