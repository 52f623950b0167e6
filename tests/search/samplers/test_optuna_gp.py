"""Gaussian process: used where it is the better model and available, otherwise TPE with the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from service.domain.history import History
from service.search import optional_deps
from service.search.samplers.optuna_gp import MAX_OBSERVATIONS, OptunaGpSampler
from service.search.space.sampling import sobol_sample
from service.search.validation import check_strategy
from tests.search.studies import EVERY_KIND, record, study

SPACE: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(2)}


def bowl(num_trials: int, space: dict[str, Any] = SPACE) -> History:
    drawn = [sobol_sample(study(space).space, at, 0) for at in range(num_trials)]
    return History(
        trials=tuple(
            record(at, each, sum((value - 0.3) ** 2 for value in each.values() if isinstance(value, float)))
            for at, each in enumerate(drawn)
        )
    )


def reason(history: History, space: dict[str, Any] = SPACE) -> str:
    return OptunaGpSampler(study(space).space, "minimize", 10).suggest(history, len(history), 0).reason


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(optional_deps._LIBRARIES, "gp", ("torch", "a_library_that_is_not_there"))
    optional_deps.has_extra.cache_clear()
    yield
    optional_deps.has_extra.cache_clear()


def test_it_finds_the_bottom_of_a_bowl_within_a_few_trials() -> None:
    history = bowl(20)
    drawn = OptunaGpSampler(study(SPACE).space, "minimize", 10).suggest(history, 20, 0)
    assert drawn.reason == "gp: expected improvement by a Gaussian process of 20 trials"
    assert all(abs(value - 0.3) < 0.05 for value in drawn.parameters.values() if isinstance(value, float))


def test_it_begins_with_sobol_s_points() -> None:
    assert reason(bowl(3)) == "gp startup: point 3 of Sobol's sequence, 3 of 10 trials to learn from"


def test_a_long_history_is_left_to_tpe() -> None:
    told = (
        f"gp: tpe suggested this one, because {MAX_OBSERVATIONS + 1} trials are more than the {MAX_OBSERVATIONS} that "
        "it is fast with; tpe: a"
    )
    assert reason(bowl(MAX_OBSERVATIONS + 1)).startswith(told)


def test_a_space_mostly_of_choices_and_conditions_is_left_to_tpe() -> None:
    space = {name: each for name, each in EVERY_KIND.items() if name not in ("batch_size", "model.dropout")}
    assert reason(bowl(12, space), space).startswith(
        "gp: tpe suggested this one, because only 3 of 6 parameters are numbers that always exist"
    )


@pytest.mark.usefixtures("without_torch")
def test_without_its_extra_a_study_is_refused_by_the_extra_s_name() -> None:
    errors = check_strategy(study(SPACE, sampler="optuna:gp"))
    message = "needs a_library_that_is_not_there on the service; install 'assayer[gp]' there, or write sampler: tpe"
    assert [(error.path, error.message) for error in errors] == [("sampler.name", f"optuna:gp {message}")]


@pytest.mark.usefixtures("without_torch")
def test_a_replica_without_the_extra_falls_back_to_tpe() -> None:
    assert reason(bowl(12)).startswith(
        "gp: tpe suggested this one, because this service lacks the extra gp; tpe: a model of 12 trials"
    )
