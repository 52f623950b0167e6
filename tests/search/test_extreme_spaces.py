"""The widest spaces: every sampler suggests inside them quickly; wider ones are refused."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from pydantic import ValidationError

from service.contract.space import MAX_CHOICES, MAX_PARAMETERS, MAX_POINTS
from service.contract.study import EnqueueRequest, StudySpec
from service.contract.trial import TrialState
from service.contract.validation_errors import field_errors
from service.domain.history import History, TrialRecord
from service.domain.space import check_parameters, check_space
from service.search import decide
from service.search.validation import check_strategy

MAX = 2**53
WIDE: dict[str, dict[str, Any]] = {
    "int": {"type": "int", "low": -MAX, "high": MAX},
    "int with step": {"type": "int", "low": -MAX // 2, "high": MAX // 2, "step": 3},
    "int log": {"type": "int", "low": 1, "high": MAX, "log": True},
    "float": {"type": "float", "low": 0, "high": 1.7e308},
    "float far out": {"type": "float", "low": 7e307, "high": 8e307},
    "float around zero": {"type": "float", "low": -8e307, "high": 8e307},
    "float tiny": {"type": "float", "low": 0, "high": 1e-300},
    "float log": {"type": "float", "low": 1e-300, "high": 1e8, "log": True},
    "float log zero": {"type": "float", "low": 1e-300, "high": 1e8, "log": True, "zero": True},
    "float with step": {"type": "float", "low": -1.0, "high": 1.0, "step": 1e-13},
    "choices": {"type": "categorical", "choices": list(range(MAX_CHOICES))},
    "ordered choices": {"type": "categorical", "choices": list(range(MAX_CHOICES)), "ordered": True},
}
SAMPLERS = ["auto", "gp", "random", "sobol", "tpe", "coarse_to_fine", "grid"] + [
    f"optuna:{name}" for name in ("cmaes", "gp", "nsga2", "qmc")
]

NUM_ASKED = {"gp": 8, "auto": 13, "tpe": 13, "optuna:gp": 12}
"""How many suggestions to ask a model that takes long for each: its startup, and the first few that it computes."""


def document(**changes: Any) -> dict[str, Any]:
    return {
        "name": "extreme",
        "objective": {"metric": "loss", "direction": "minimize"},
        "space": {"x": {"type": "float", "low": 0, "high": 1}},
        "budget": {"trials": 30},
    } | changes


def mistakes(**changes: Any) -> list[str]:
    """What is wrong with the spec, by path and sentence."""
    given = document(**changes)
    try:
        spec = StudySpec.model_validate(given)
    except ValidationError as error:
        found = field_errors(error.errors(), given, StudySpec)
    else:
        found = check_space(spec.space) or check_strategy(spec)
    return [f"{each.path}: {each.message}" for each in found]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of Optuna's densities at the ends of the float range
@pytest.mark.parametrize(
    "sampler", [pytest.param(each, marks=pytest.mark.prove) if each == "optuna:gp" else each for each in SAMPLERS]
)
@pytest.mark.parametrize("name", WIDE)
def test_every_sampler_suggests_inside_the_widest_spaces(sampler: str, name: str) -> None:
    parameter = WIDE[name]
    if sampler == "grid" and parameter["type"] != "categorical":
        parameter = {**parameter, "points": 5}
    beside = {name: {"type": "float", "low": 0, "high": 1, "step": 0.25} for name in ("y", "z")}
    spec = StudySpec.model_validate(document(space={"x": parameter, **beside}, sampler=sampler))
    assert not check_strategy(spec)
    history = History()
    for number in range(NUM_ASKED.get(sampler, 20)):
        decision = decide.next_action(history, spec)
        assert isinstance(decision, decide.Suggest), decision
        made = decision.suggestion
        assert not check_parameters(spec.space, made.parameters), (number, made.parameters)
        value = float(number % 7)
        record = TrialRecord(
            number,
            TrialState.COMPLETED,
            made.parameters,
            series=((1, value),),
            value=value,
            stage=made.stage,
            notes=made.notes,
        )
        stages = history.stages if made.new_stage is None else {**history.stages, made.new_stage.number: made.new_stage}
        history = History(number + 1, (*history.trials, record), stages=stages)


INT, FLOAT = {"type": "int"}, {"type": "float"}
TOO_WIDE: list[tuple[dict[str, Any], str]] = [
    ({**INT, "low": 0, "high": 2**63 - 1}, "high: is beyond ±2^53"),
    ({**INT, "low": -(10**400), "high": 5}, "low: is beyond ±2^53"),
    ({**INT, "low": 0, "high": 5, "step": 10**400}, "step: is beyond ±2^53"),
    ({**INT, "low": 1, "high": 10**400, "log": True}, "high: is beyond ±2^53"),
    ({**FLOAT, "low": 0, "high": 10**400}, "high: must be a valid number"),
    ({**INT, "low": -MAX, "high": MAX, "step": 3}, "a range with a step spans 2^53 at most"),
    ({**FLOAT, "low": -1.7e308, "high": 1.7e308}, "the range from -1.7e+308 to 1.7e+308 is too wide or too far out"),
    ({**FLOAT, "low": -1e308, "high": 1e308}, "the range from -1e+308 to 1e+308 is too wide or too far out"),
    ({**FLOAT, "low": 1e308, "high": 1.7e308}, "the range from 1e+308 to 1.7e+308 is too wide or too far out"),
    ({**FLOAT, "low": 0, "high": 5e-324}, "the range from 0 to 4.94066e-324 is narrower than 1e-300; widen it"),
    ({**FLOAT, "low": 1e-300, "high": 1e300, "log": True}, "a log range spans 308 decades at most"),
    ({**FLOAT, "low": 5e-324, "high": 1, "log": True, "zero": True}, "a log range must start at 2.2e-307 or above"),
    ({**FLOAT, "low": 0, "high": 1, "step": 1e-30}, "step 1e-30 is too small for numbers up to 1; leave step out"),
    ({**FLOAT, "low": 0, "high": 1, "step": 5e-324}, "step 4.94066e-324 is too small"),
    ({**FLOAT, "low": 1e15, "high": 1e15 + 1, "step": 1e-3}, "step 0.001 is too small for numbers up to 1e+15"),
    ({**FLOAT, "low": 0, "high": 1, "points": 10**12}, f"points: must be less than or equal to {MAX_POINTS}"),
    ({"type": "constant", "value": 10**400}, "value: is beyond ±2^53"),
    ({"type": "categorical", "choices": [1, 10**400]}, "choices.1: is beyond ±2^53"),
    ({"type": "categorical", "choices": list(range(MAX_CHOICES + 1))}, f"choices: may hold {MAX_CHOICES} at most"),
    ({**FLOAT, "low": 0, "high": 1, "when": {"y": 10**400}}, "when.y: is beyond ±2^53"),
    ({**FLOAT, "low": 0, "high": 1, "when": {"y": {"low": 10**400}}}, "when.y.low: must be a valid number"),
    ({**FLOAT, "low": 0, "high": 1, "when": {f"y{at}": 1 for at in range(65)}}, "when: may hold 64 at most"),
]


@pytest.mark.parametrize(("parameter", "sentence"), TOO_WIDE, ids=[sentence for _, sentence in TOO_WIDE])
def test_an_unsearchable_space_is_refused_in_a_sentence(parameter: dict[str, Any], sentence: str) -> None:
    began = time.monotonic()
    (message,) = mistakes(space={"x": parameter, "y": {"type": "int", "low": 0, "high": 3}})
    assert message.startswith("space.x")
    assert sentence in message
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"budget": {"trials": 2**31}}, "budget.trials"),
        ({"budget": {"failures": 2**31}}, "budget.failures"),
        ({"budget": {"no_improvement": 2**31}}, "budget.no_improvement"),
        ({"budget": {"trials": 1, "target": 10**400}}, "budget.target"),
        ({"resource": {"max": 2**31}}, "resource.max"),
        ({"priority": 2**31}, "priority"),
        ({"retry_failed": 2**31}, "retry_failed"),
    ],
)
def test_an_unknown_column_is_refused(changes: dict[str, Any], path: str) -> None:
    (message,) = mistakes(**changes)
    assert message.startswith(f"{path}: must be ")


def test_a_space_of_too_many_parameters_is_refused() -> None:
    many = {f"x{at}": {**FLOAT, "low": 0, "high": 1} for at in range(MAX_PARAMETERS + 1)}
    assert mistakes(space=many) == [f"space: may hold {MAX_PARAMETERS} at most"]


def test_the_largest_space_is_checked_and_drawn_from_at_once() -> None:
    """In a chain of conditions, which is as deep as a space can be."""
    names = [f"x{at:03}" for at in range(MAX_PARAMETERS)]
    chain = {names[0]: {**INT, "low": 0, "high": 9}} | {
        name: {**INT, "low": 0, "high": 9, "when": {before: {"low": 1}}} for before, name in pairwise(names)
    }
    began = time.monotonic()
    assert not mistakes(space=chain)
    spec = StudySpec.model_validate(document(space=chain))
    assert isinstance(decide.next_action(History(), spec), decide.Suggest)
    assert time.monotonic() - began < 5


def test_conditions_on_too_many_combinations_are_refused() -> None:
    """One parameter that depends on 40 others: counting the configurations would take 2^40 steps."""
    others = {f"x{at:02}": {**INT, "low": 0, "high": 9} for at in range(40)}
    last = {**INT, "low": 0, "high": 9, "when": {name: {"low": 5} for name in others}}
    began = time.monotonic()
    (message,) = mistakes(space={**others, "z": last}, sampler="grid")
    assert message.startswith("space: the conditions distinguish ")
    assert "let fewer parameters depend on each other" in message
    assert time.monotonic() - began < 2


def test_a_grid_of_more_cells_than_can_be_numbered_is_refused() -> None:
    space = {f"x{at:02}": {**INT, "low": 0, "high": 9} for at in range(16)}
    (message,) = mistakes(space=space, sampler="grid")
    assert message.startswith("space: the grid has about 10^16 cells, more than can be numbered (2^53)")


def test_a_configuration_is_looked_up_in_a_wide_range_at_once() -> None:
    """A grid asks whether a configuration of a person's own is one of its cells."""
    spec = StudySpec.model_validate(document(space={"x": WIDE["int"]}, sampler="grid"))
    began = time.monotonic()
    own = TrialRecord(0, TrialState.COMPLETED, {"x": MAX - 1}, series=((1, 1.0),), value=1.0)
    assert isinstance(decide.next_action(History(1, (own,)), spec), decide.Suggest)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("value", [10**300, 1e300, True, "x", [1]])
def test_an_impossible_value_is_refused_in_a_sentence(value: Any) -> None:
    spec = StudySpec.model_validate(document(space={"x": WIDE["int"]}))
    (error,) = check_parameters(spec.space, {"x": value})
    assert error.message.startswith("must be a whole number in ")


def test_at_most_twenty_unknown_names_are_compared_with_the_known_ones() -> None:
    spec = StudySpec.model_validate(document())
    began = time.monotonic()
    assert len(check_parameters(spec.space, {f"unknown-{at}": 1 for at in range(100_000)})) == 21
    assert time.monotonic() - began < 2


def test_an_enqueued_number_that_json_does_not_carry_is_refused() -> None:
    with pytest.raises(ValidationError, match="is beyond ±2\\^53"):
        EnqueueRequest.model_validate({"parameters": {"x": 10**400}})
    with pytest.raises(ValidationError):
        EnqueueRequest.model_validate({"parameters": {"x": 1}, "priority": 2**31})
