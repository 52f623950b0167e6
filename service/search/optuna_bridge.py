"""The only place that speaks Optuna: its TPE, asked through a read-only view of our trials.

No Optuna study, storage or trial is created; nothing is kept between two questions.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Any, assert_never, cast

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.sampler import default_gamma
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.contract.base import Direction, Value
from service.contract.space import (
    CategoricalParameter,
    ConstantParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    Space,
)
from service.contract.trial import TrialState as OurState
from service.domain.history import TrialRecord
from service.domain.parameter import axis, fits, same
from service.domain.space import is_active, ordered
from service.search.scale import from_unit, to_unit, zero_stands_at


@dataclass(frozen=True, slots=True)
class TpeAnswer:
    """A configuration, and what the model that chose it was made of."""

    parameters: dict[str, Value]
    num_learned: int
    num_good: int
    num_open: int


def suggest_tpe(space: Space, direction: Direction, trials: Iterable[TrialRecord], seed: int) -> TpeAnswer:
    """Ask TPE (Bergstra et al. 2011; multivariate as in Falkner et al. 2018) for one configuration of `space`.

    The trials are open ones and lessons: ended with a value, pruned on the way, or infeasible.
    Open trials count as bad ones nearby (constant liar), infeasible ones as worst, pruned ones behind the completed.
    Parameters that exist under the same condition are modelled jointly, from the trials that had them all.
    """
    known = list(trials)
    view = cast("Study", _StudyView(direction, [_frozen(space, trial) for trial in known]))
    sampler = TPESampler(n_startup_trials=0, multivariate=True, constant_liar=True, seed=seed)
    asking = create_trial(state=TrialState.RUNNING)
    values: dict[str, Value] = {}
    for group in _groups(space):
        active = {name: _distribution(space[name]) for name in group if is_active(space[name], values)}
        open_choice = {name: distribution for name, distribution in active.items() if not distribution.single()}
        drawn = sampler.sample_relative(view, asking, open_choice)
        values |= {name: from_unit(space[name], 0.0) for name in active if name not in open_choice}
        values |= {name: _from_optuna(space[name], value) for name, value in drawn.items()}
    num_open = sum(trial.is_open for trial in known)
    num_learned = len(known) - num_open
    return TpeAnswer(values, num_learned, default_gamma(num_learned), num_open)


class _StudyView:
    """What TPE reads of a study: its direction and its trials."""

    def __init__(self, direction: Direction, trials: list[FrozenTrial]) -> None:
        self.direction = StudyDirection.MINIMIZE if direction == "minimize" else StudyDirection.MAXIMIZE
        self.directions = [self.direction]
        self.trials = trials
        self._storage = _NoStorage()

    def _is_multi_objective(self) -> bool:
        return False

    def _get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None, use_cache: bool = False
    ) -> list[FrozenTrial]:
        del deepcopy, use_cache
        return [trial for trial in self.trials if states is None or trial.state in states]


class _NoStorage:
    """Optuna tells other processes what it is about to try; ours learn it from the history."""

    def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
        """Forget it."""


def _groups(space: Space) -> list[list[str]]:
    """Names that exist together, groups and names in an order in which conditions are decided first."""
    groups: dict[frozenset[tuple[str, str]], list[str]] = {}
    for name in ordered(space):
        condition = frozenset((named, repr(value)) for named, value in (space[name].when or {}).items())
        groups.setdefault(condition, []).append(name)
    return list(groups.values())


def _frozen(space: Space, trial: TrialRecord) -> FrozenTrial:
    """Say a trial as Optuna would; parameters outside this space are left out, so that their group ignores it."""
    kept = [name for name in ordered(space) if name in trial.parameters and fits(space[name], trial.parameters[name])]
    infeasible = trial.infeasible or (trial.value is not None and not math.isfinite(trial.value))
    if trial.is_open:
        state = TrialState.RUNNING
    elif trial.state is OurState.PRUNED or trial.value is None:
        state = TrialState.PRUNED
    else:
        state = TrialState.COMPLETE
    return FrozenTrial(
        number=trial.number,
        trial_id=trial.number,
        state=state,
        value=trial.value if state is TrialState.COMPLETE else None,
        datetime_start=None,
        datetime_complete=None,
        params={name: _to_optuna(space[name], trial.parameters[name]) for name in kept},
        distributions={name: _distribution(space[name]) for name in kept},
        user_attrs={},
        system_attrs={"constraints:feasible": 1.0} if infeasible else {},
        intermediate_values=dict(trial.series),
    )


def _distribution(parameter: Parameter) -> BaseDistribution:
    """The parameter as Optuna would declare it; choices by position: it knows no lists, and 1 is True to it."""
    match parameter:
        case CategoricalParameter(ordered=True):
            return IntDistribution(0, len(parameter.choices) - 1)
        case CategoricalParameter():
            return CategoricalDistribution(range(len(parameter.choices)))
        case ConstantParameter():
            return CategoricalDistribution([0])
        case IntParameter():
            high = range(parameter.low, parameter.high + 1, parameter.step)[-1]
            return IntDistribution(parameter.low, high, log=parameter.log, step=parameter.step)
        case FloatParameter():
            values = axis(parameter)
            top = parameter.high if values is None else cast("float", values[-1])
            low = parameter.low / 10 if parameter.zero else parameter.low
            return FloatDistribution(low, top, log=parameter.log, step=parameter.step)
        case _:
            assert_never(parameter)


def _to_optuna(parameter: Parameter, value: Value) -> Any:
    match parameter:
        case CategoricalParameter() | ConstantParameter():
            return next(at for at, choice in enumerate(axis(parameter) or ()) if same(choice, value))
        case FloatParameter(zero=True):
            return value or zero_stands_at(parameter)
        case _:
            return value


def _from_optuna(parameter: Parameter, value: Any) -> Value:
    match parameter:
        case CategoricalParameter():
            return parameter.choices[int(value)]
        case FloatParameter() if parameter.step is not None or parameter.zero:
            # Onto our own scale: Optuna's sums of steps differ in the last digit, and it knows no zero below a range.
            return from_unit(parameter, to_unit(parameter, value))
        case _:
            return cast("Value", value)
