"""CMA-ES: its state is a function of the trials by generation, in whatever order they end."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from statistics import median
from typing import Any

from service.contract.base import Value
from service.contract.trial import TrialState
from service.domain.history import History
from service.search import decide
from service.search.validation import check_strategy
from tests.search.studies import EVERY_KIND, begun, ended, played, study

SPACE: dict[str, Any] = {f"x{at}": {"type": "float", "low": -2.0, "high": 2.0} for at in range(4)}


def spec_of(sampler: str, seed: int = 0, trials: int = 150) -> Any:
    return study(SPACE, sampler={"name": sampler, "seed": seed}, budget={"trials": trials})


def valley(parameters: Mapping[str, Value]) -> float:
    x = [value for _, value in sorted(parameters.items()) if isinstance(value, float)]
    return sum(100 * (after - before**2) ** 2 + (1 - before) ** 2 for before, after in pairwise(x))


def test_it_descends_a_curved_valley_that_random_search_does_not() -> None:
    found = {
        name: median(played(spec_of(name, seed), valley).best("minimize").value for seed in range(3))  # type: ignore[union-attr, type-var]
        for name in ("optuna:cmaes", "random")
    }
    assert found["optuna:cmaes"] < 0.3 * found["random"]  # type: ignore[operator]


def test_a_generation_is_used_once_by_the_trials_after_it() -> None:
    history = played(spec_of("optuna:cmaes", trials=33), valley)
    generations = [trial.notes["generation"] for trial in history]
    size = 8  # 4 + 3 ln 4
    assert generations == [at // size for at in range(33)]
    assert [trial.number for trial in history if "told" in trial.notes] == [8, 16, 24, 32]
    assert history.trials[8].notes["told"] == list(range(8))


def test_a_late_trial_changes_no_earlier_generation() -> None:
    spec = spec_of("optuna:cmaes", trials=40)
    history = History()
    for number in range(20):
        decision = decide.next_action(history, spec)
        assert isinstance(decision, decide.Suggest)
        history = begun(history, decision)
        if number != 3:
            history = ended(history, number, valley(history.trials[number].parameters))
    assert history.trials[9].notes["told"] == [0, 1, 2, 4, 5, 6, 7, 8]
    late = decide.next_action(ended(history, 3, -1e9), spec)
    assert isinstance(late, decide.Suggest)
    assert late.suggestion.notes == decide.next_action(history, spec).suggestion.notes  # type: ignore[union-attr]


def test_failed_trials_are_sampled_again_and_infeasible_ones_count_as_worst() -> None:
    spec = spec_of("optuna:cmaes", trials=40)
    history = History()
    for number in range(10):
        decision = decide.next_action(history, spec)
        assert isinstance(decision, decide.Suggest)
        history = begun(history, decision)
        fate: dict[str, Any] = {"value": None, "state": TrialState.FAILED, "infeasible": number == 1}
        history = ended(history, number, **(fate if number < 2 else {"value": 1.0}))
    assert history.trials[9].notes == {"generation": 1, "told": [1, 2, 3, 4, 5, 6, 7, 8]}


def test_spaces_that_cma_es_cannot_search_are_left_to_tpe() -> None:
    decision = decide.next_action(History(), study(EVERY_KIND, sampler="optuna:cmaes"))
    assert isinstance(decision, decide.Suggest)
    assert decision.suggestion.reason == "cmaes: generation 0 of 8 trials each; 4 others by tpe"


def test_a_space_without_numbers_says_what_to_write() -> None:
    errors = check_strategy(study({"a": {"type": "categorical", "choices": [1, 2]}}, sampler="optuna:cmaes"))
    message = (
        "optuna:cmaes needs two numbers (or ordered choices) without a condition, and this space has 0; "
        "write sampler: tpe, or ordered: true where choices have an order"
    )
    assert [(error.path, error.message) for error in errors] == [("sampler.name", message)]
