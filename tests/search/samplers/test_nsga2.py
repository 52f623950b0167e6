"""NSGA-II: generations descend from the first fronts, by the notes of trials, in whatever order they end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.contract.base import Value
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History
from service.search import decide
from tests.search.studies import begun, ended, played, study

SPACE: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(3)}
TWO = [{"metric": "near", "direction": "minimize"}, {"metric": "far", "direction": "maximize"}]


def spec_of(population: int = 6, **changes: Any) -> StudySpec:
    sampler = {"name": "optuna:nsga2", "population": population}
    return study(SPACE, **{"objective": TWO, "sampler": sampler, "budget": {"trials": 40}, **changes})


def trade(parameters: Mapping[str, Value]) -> tuple[float, ...]:
    """Near wants x0 small, far wants it large, and both want the others to be small."""
    x = [float(str(parameters[f"x{at}"])) for at in range(3)]
    return x[0] + x[1] + x[2], x[0] - x[1] - x[2]


def test_a_generation_ends_when_its_population_has_ended() -> None:
    history = played(spec_of(), trade)
    assert [trial.notes["generation"] for trial in history] == [at // 6 for at in range(40)]
    assert [trial.number for trial in history if "parents" in trial.notes] == [6, 12, 18, 24, 30, 36]


def test_parents_are_the_best_of_the_generation_and_of_its_own_parents() -> None:
    history = played(spec_of(), trade)
    assert history.trials[6].notes["parents"] == [0, 1, 2, 3, 4, 5]
    parents = history.trials[12].notes["parents"]
    assert len(parents) == 6
    front = [trial.number for trial in History(trials=history.trials[:12]).pareto_front(("minimize", "maximize"))]
    assert set(front[:6]) <= set(parents) or set(parents) <= set(front)


def test_children_inherit_most_of_what_their_parents_had() -> None:
    history = played(spec_of(), trade)
    inherited = 0
    for trial in history.trials[12:18]:
        parents = [history.trials[number] for number in history.trials[12].notes["parents"]]
        inherited += sum(
            any(abs(float(str(parent.parameters[name])) - float(str(value))) < 1e-9 for parent in parents)
            for name, value in trial.parameters.items()
        )
    assert 9 <= inherited < 18


def test_a_trial_that_ends_late_changes_no_parents_that_were_chosen() -> None:
    spec, history = spec_of(), History()
    for number in range(10):
        decision = decide.next_action(history, spec)
        assert isinstance(decision, decide.Suggest)
        history = begun(history, decision)
        if number != 3:
            history = ended(history, number, trade(history.trials[number].parameters))
    assert history.trials[7].notes["parents"] == [0, 1, 2, 4, 5, 6]
    late = decide.next_action(ended(history, 3, (-9.0, 9.0)), spec)
    assert isinstance(late, decide.Suggest)
    assert late.suggestion == decide.next_action(history, spec).suggestion  # type: ignore[union-attr]


def test_infeasible_trials_never_become_parents_while_there_are_others() -> None:
    spec, history = spec_of(population=3), History()
    for number in range(7):
        decision = decide.next_action(history, spec)
        assert isinstance(decision, decide.Suggest)
        history = begun(history, decision)
        bad: dict[str, Any] = {"state": TrialState.PRUNED, "infeasible": True}
        history = ended(history, number, None, **bad) if number % 2 else ended(history, number, (number / 9, 0.5))
    assert history.trials[3].notes["parents"] == [0, 1, 2]
    assert history.trials[6].notes["parents"] == [0, 2, 4]


def test_with_one_objective_nsga2_is_a_genetic_algorithm() -> None:
    spec = spec_of(objective={"metric": "near", "direction": "minimize"}, budget={"trials": 120})
    history = played(spec, lambda parameters: trade(parameters)[0])
    first, last = (min(trial.value or 0 for trial in history.trials[at : at + 30]) for at in (0, 90))
    assert last < 0.5 * first


def test_the_reason_says_whose_child_it_is() -> None:
    decisions = []
    history = played(spec_of(), trade)
    for number in (3, 20):
        decision = decide.next_action(History(trials=history.trials[:number]), spec_of())
        assert isinstance(decision, decide.Suggest)
        decisions.append(decision.suggestion.reason)
    assert decisions == [
        "nsga2: generation 0, a uniform draw, because there are no parents yet",
        "nsga2: generation 3, a child of 6 parents",
    ]
