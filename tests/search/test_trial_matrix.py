"""Trials as arrays: incremental updates equal a fresh computation, in whatever order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.search import trial_matrix
from service.search.observations import ObservationKind
from service.search.trial_matrix import TrialMatrix, trial_matrix_of
from tests.search.studies import EVERY_KIND, curve, record, smooth, study
from tests.search.studies import played as played_study

SPACE = study(EVERY_KIND).space
PLAYED = played_study(study(EVERY_KIND, sampler="random"), smooth).trials


def afresh(trials: tuple[TrialRecord, ...]) -> TrialMatrix:
    trial_matrix._known.clear()
    return trial_matrix_of(SPACE, trials)


def equal(one: TrialMatrix, other: TrialMatrix) -> bool:
    arrays = ("coordinates", "roles", "values", "steps")
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=name != "roles") for name in arrays)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 30), st.sets(st.integers(0, 29))), min_size=1, max_size=6))
def test_carried_over_arrays_equal_computed_ones(questions: list[tuple[int, set[int]]]) -> None:
    trials = PLAYED
    for num_trials, moved in questions:
        trials = tuple(
            replace(trial, value=(trial.value or 0) + 1) if at in moved else trial for at, trial in enumerate(trials)
        )
        kept = trial_matrix_of(SPACE, trials[:num_trials])
        before = dict(trial_matrix._known)
        assert equal(kept, afresh(trials[:num_trials]))
        trial_matrix._known.update(before)


def test_a_parameter_that_does_not_exist_differs_from_a_value_of_another_space() -> None:
    trials = (record(0, {"optimizer.name": "adamw", "optimizer.lr": 1.0}),)
    found = trial_matrix_of(SPACE, trials)
    momentum, rate = found.names.index("optimizer.momentum"), found.names.index("optimizer.lr")
    assert found.coordinates[0, momentum] == -np.inf
    assert np.isnan(found.coordinates[0, rate])


def test_a_configuration_is_found_among_the_trials_and_only_there() -> None:
    found = trial_matrix_of(SPACE, PLAYED[:20])
    assert all(found.contains(SPACE, trial.parameters) for trial in PLAYED[:20])
    assert not any(found.contains(SPACE, trial.parameters) for trial in PLAYED[20:])


def test_each_trial_has_the_role_of_its_fate() -> None:
    fates = [
        (record(0, value=1.0), ObservationKind.COMPLETED),
        (record(1, value=float("nan")), ObservationKind.INFEASIBLE),
        (record(2, state=TrialState.PRUNED, series=curve(3.0, 2.0)), ObservationKind.PRUNED),
        (record(3, state=TrialState.PRUNED), ObservationKind.PRUNED),
        (record(4, state=TrialState.PRUNED, infeasible=True, series=curve(1.0)), ObservationKind.INFEASIBLE),
        (record(5, state=TrialState.FAILED, infeasible=True), ObservationKind.INFEASIBLE),
        (record(6, state=TrialState.FAILED), ObservationKind.NONE),
        (record(7, state=TrialState.CANCELLED), ObservationKind.NONE),
        (record(8, state=TrialState.PAUSED), ObservationKind.OPEN),
        (record(9), ObservationKind.OPEN),
    ]
    found = afresh(tuple(trial for trial, _ in fates))
    assert [ObservationKind(role) for role in found.roles] == [role for _, role in fates]
    assert found.values[:4, 0].tolist() == [1.0, 0.0, 2.0, 0.0]
    assert found.steps[:4].tolist() == [0, 0, 2, -1]
