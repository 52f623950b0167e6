"""The Gaussian process sampler: how it starts, what it learns from, and what its suggestions depend on."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from service.contract.base import Value
from service.contract.trial import TrialState
from service.domain.history import History, Suggestion
from service.domain.space import check_parameters
from service.search.samplers.gp import GpSampler
from service.search.space.sampling import sample, sobol_sample
from tests.search.studies import EVERY_KIND, played, record, study

SQUARE: dict[str, Any] = {f"x{at}": {"type": "float", "low": 0.0, "high": 1.0} for at in range(2)}


def bowl(parameters: Mapping[str, Value]) -> float:
    return sum((value - 0.3) ** 2 for value in parameters.values() if isinstance(value, float))


def drawn(num: int, space: Mapping[str, Any] = SQUARE, value: Callable[[Mapping[str, Value]], float] = bowl) -> History:
    configurations = [sample(study(space).space, 5, at) for at in range(num)]
    return History(trials=tuple(record(at, each, value(each)) for at, each in enumerate(configurations)))


def suggest(history: History, space: Mapping[str, Any] = SQUARE, direction: Any = "minimize") -> Suggestion:
    return GpSampler(study(space).space, direction).suggest(history, len(history), 0)


def test_it_begins_with_the_centre_and_three_sobol_points() -> None:
    spec = study(EVERY_KIND, sampler="gp")
    history = played(spec, lambda parameters: (float(len(parameters)),))
    first = history.trials[0].parameters
    assert (first["model.depth"], first["model.dropout"], first["batch_size"]) == (3, 0.4, 64)
    assert first["optimizer.lr"] == pytest.approx(1e-3)
    assert [trial.parameters for trial in history.trials[1:4]] == [sobol_sample(spec.space, at, 0) for at in (1, 2, 3)]
    assert all("gp" not in trial.notes for trial in history.trials[:4])
    assert all("gp" in trial.notes for trial in history.trials[4:])


def test_it_finds_the_bottom_of_a_bowl_within_a_few_trials() -> None:
    spec = study(SQUARE, sampler="gp", budget={"trials": 12})
    history = played(spec, lambda parameters: (bowl(parameters),))
    best = history.best("minimize")
    assert best is not None
    assert bowl(best.parameters) < 1e-3


def test_the_reason_tells_the_prediction_and_what_it_rests_on() -> None:
    history = drawn(10)
    trials = list(history.trials)
    trials[3] = replace(trials[3], state=TrialState.PRUNED, infeasible=True, value=None)
    trials[4] = replace(trials[4], state=TrialState.RUNNING, value=None)
    reason = suggest(replace(history, trials=tuple(trials))).reason
    assert reason.startswith("gp: largest expected improvement by a Gaussian process of 8 trials, which predicts ")
    assert "; feasible with probability 0." in reason or "; feasible with probability 1.00" in reason
    assert reason.endswith("(1 trials were not); 1 running trials count as if they ended as predicted")


def test_the_direction_and_the_scale_of_the_values_do_not_matter() -> None:
    expected = suggest(drawn(12)).parameters
    assert suggest(drawn(12, value=lambda each: -bowl(each)), direction="maximize").parameters == expected
    assert suggest(drawn(12, value=lambda each: 1024.0 * bowl(each))).parameters == expected


def test_what_is_far_worse_than_the_median_does_not_matter_further() -> None:
    one, other = drawn(12), drawn(12, value=lambda each: bowl(each) if bowl(each) < 0.3 else 1e6 * bowl(each))
    assert any(trial.value != same.value for trial, same in zip(one, other, strict=True))
    assert suggest(one).parameters == suggest(other).parameters


@pytest.mark.parametrize(
    "values",
    [[1.0] * 8, [0.5, 0.5, 0.2, 0.2] * 2, [1e308, -1e308, 0.0, 1.0] * 2, [math.inf, math.nan, 0.1, 0.2] * 2],
    ids=["constant", "ties", "extreme", "not finite"],
)
def test_any_values_lead_to_a_configuration(values: list[float]) -> None:
    history = drawn(8)
    trials = tuple(replace(trial, value=value) for trial, value in zip(history, values, strict=True))
    made = suggest(replace(history, trials=trials))
    assert check_parameters(study(SQUARE).space, made.parameters) == []
    assert "gp" in made.notes


def test_without_two_values_sobol_points_go_on() -> None:
    history = drawn(6)
    trials = tuple(replace(each, state=TrialState.PRUNED, infeasible=True, value=None) for each in history)
    made = suggest(replace(history, trials=trials))
    assert made.reason == "gp startup: point 6 of Sobol's sequence, as too few trials have ended with a value"


def test_a_space_of_constants_has_one_configuration() -> None:
    space = {"a": {"type": "constant", "value": 1}}
    made = suggest(drawn(6, space, lambda _: 1.0), space)
    assert (made.parameters, made.reason) == (
        {"a": 1},
        "gp startup: point 6 of Sobol's sequence, as every parameter is constant",
    )


def test_infeasible_regions_are_avoided() -> None:
    """The best values lie at the border of a region in which every trial fails."""
    space = study(SQUARE, sampler="gp", budget={"trials": 30})
    history = History()
    sampler = GpSampler(space.space, "minimize")
    for number in range(30):
        made = sampler.suggest(history, number, 0)
        x = made.parameters["x0"]
        assert isinstance(x, float)
        fate = {"value": None, "state": TrialState.PRUNED, "infeasible": True} if x > 0.6 else {"value": 1.0 - x}
        history = replace(history, trials=(*history.trials, record(number, made.parameters, notes=made.notes)))
        history = history.with_trial(
            replace(history.trials[number], **{"state": TrialState.COMPLETED, **fate})  # type: ignore[arg-type]
        )
    late = history.trials[10:]
    assert sum(trial.infeasible for trial in late) <= 0.5 * len(late)
    best = history.best("minimize")
    assert best is not None
    assert best.value is not None
    assert best.value < 0.45


def test_with_much_noise_every_fourth_suggestion_explores() -> None:
    rng = random.Random(0)
    history = drawn(40, value=lambda _: rng.random())
    assert suggest(history).reason.startswith("gp exploration: point 40 of Sobol's sequence, because noise is ")
    assert suggest(replace(history, trials=history.trials[:39])).reason.startswith("gp: largest expected improvement")
    assert suggest(drawn(40)).reason.startswith("gp: largest expected improvement"), "without noise"


def test_workers_that_ask_at_once_get_different_configurations() -> None:
    history = drawn(10)
    made = []
    for number in range(10, 18):
        suggestion = suggest(history)
        made.append(tuple(suggestion.parameters.values()))
        history = replace(history, trials=(*history.trials, record(number, suggestion.parameters)))
    gaps = [math.dist(one, other) for at, one in enumerate(made) for other in made[:at]]  # type: ignore[arg-type]
    assert min(gaps) > 1e-3


def test_the_hyperparameters_in_the_notes_are_where_the_next_fit_starts() -> None:
    history = drawn(40)
    note = suggest(history).notes["gp"]
    stored = json.loads(json.dumps(note))
    assert stored["parameters"] == ["x0", "x1"]
    last = replace(history.trials[-1], notes={"gp": stored})
    kept = suggest(replace(history, trials=(*history.trials[:-1], last)))
    assert kept.notes["gp"] == stored, "40 trials, and 40 is no multiple of 3: no new fit"
    other = replace(last, notes={"gp": {**stored, "parameters": ["x0", "z"]}})
    assert suggest(replace(history, trials=(*history.trials[:-1], other))).notes["gp"] == stored, "a fit from the start"
    strange = replace(last, notes={"gp": {**stored, "objective": [5.0, -5.0, 0.0, -3.0]}})
    assert suggest(replace(history, trials=(*history.trials[:-1], strange))).parameters != kept.parameters


@pytest.mark.parametrize(
    ("num_trials", "space"),
    [
        (10_000, SQUARE),
        (20, {f"x{at:02}": {"type": "float", "low": 0, "high": 1} for at in range(60)}),
    ],
    ids=["10,000 trials", "60 parameters"],
)
def test_large_histories_and_spaces_get_a_suggestion_of_the_model(num_trials: int, space: dict[str, Any]) -> None:
    made = suggest(drawn(num_trials, space), space)
    assert made.reason.startswith(f"gp: largest expected improvement by a Gaussian process of {min(num_trials, 400)} t")


def test_every_configuration_of_a_small_space_is_tried_before_one_repeats() -> None:
    space = {"a": {"type": "categorical", "choices": ["x", "y", "z"]}, "n": {"type": "int", "low": 1, "high": 4}}
    spec = study(space, sampler="gp", budget={"trials": 14})
    history = played(spec, lambda parameters: (float(str(parameters["a"]) == "x"),))
    first = {tuple(sorted(trial.parameters.items())) for trial in history.trials[:12]}
    assert len(first) == 12
