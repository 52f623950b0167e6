"""Trials as arrays: what a fresh computation gives, however often and in whatever order they were asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.search import columns
from service.search.columns import Columns, columns_of
from service.search.lessons import Role
from tests.search.studies import EVERY_KIND, curve, record, smooth, study
from tests.search.studies import played as played_study

SPACE = study(EVERY_KIND).space
PLAYED = played_study(study(EVERY_KIND, sampler="random"), smooth).trials


def afresh(trials: tuple[TrialRecord, ...]) -> Columns:
    columns._known.clear()
    return columns_of(SPACE, trials)


def equal(one: Columns, other: Columns) -> bool:
    arrays = ("coordinates", "roles", "values", "steps")
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name != "roles") for name in arrays)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.sets(st.integers(0, 29))), min_size=1, max_size=6))
def test_what_is_taken_over_is_what_would_be_computed(questions: list[tuple[int, set[int]]]) -> None:
    trials = PLAYED
    for num_trials, moved in questions:
        trials = tuple(
            replace(trial, value=(trial.value or 0) + 1) if at in moved else trial for at, trial in enumerate(trials)
        )
        kept = columns_of(SPACE, trials[:num_trials])
        before = dict(columns._known)
        assert equal(kept, afresh(trials[:num_trials]))
        columns._known.update(before)


def test_a_parameter_that_does_not_exist_differs_from_a_value_of_another_space() -> None:
    trials = (record(0, {"optimizer.name": "adamw", "optimizer.lr": 1.0}),)
    found = columns_of(SPACE, trials)
    momentum, rate = found.names.index("optimizer.momentum"), found.names.index("optimizer.lr")
    assert found.coordinates[0, momentum] == -np.inf
    assert np.isnan(found.coordinates[0, rate])


def test_a_configuration_is_found_among_the_trials_and_only_there() -> None:
    found = columns_of(SPACE, PLAYED[:20])
    assert all(found.hold(SPACE, trial.parameters) for trial in PLAYED[:20])
    assert not any(found.hold(SPACE, trial.parameters) for trial in PLAYED[20:])


def test_each_trial_has_the_role_of_its_fate() -> None:
    fates = [
        (record(0, value=1.0), Role.COMPLETED),
        (record(1, value=float("nan")), Role.INFEASIBLE),
        (record(2, state=TrialState.PRUNED, series=curve(3.0, 2.0)), Role.PRUNED),
        (record(3, state=TrialState.PRUNED), Role.PRUNED),
        (record(4, state=TrialState.PRUNED, infeasible=True, series=curve(1.0)), Role.INFEASIBLE),
        (record(5, state=TrialState.FAILED, infeasible=True), Role.INFEASIBLE),
        (record(6, state=TrialState.FAILED), Role.NONE),
        (record(7, state=TrialState.CANCELLED), Role.NONE),
        (record(8, state=TrialState.PAUSED), Role.OPEN),
        (record(9), Role.OPEN),
    ]
    found = afresh(tuple(trial for trial, _ in fates))
    assert [Role(role) for role in found.roles] == [role for _, role in fates]
    assert found.values[:4, 0].tolist() == [1.0, 0.0, 2.0, 0.0]
    assert found.steps[:4].tolist() == [0, 0, 2, -1]
