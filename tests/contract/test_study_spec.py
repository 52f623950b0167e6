"""The study spec: defaults, short forms, and parts that exclude each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from service.contract.base import TaskKind
from service.contract.space import Parameter
from service.contract.study import StudySpec
from service.contract.validation_errors import field_errors

SMALLEST: dict[str, Any] = {
    "name": "smallest",
    "objective": {"metric": "loss", "direction": "minimize"},
    "space": {"x": {"type": "int", "low": 0, "high": 9}},
}


def spec(**changes: Any) -> StudySpec:
    return StudySpec.model_validate({**SMALLEST, **changes})


def test_the_smallest_study_has_defaults_for_the_rest() -> None:
    smallest = spec()
    assert (smallest.format, smallest.project, smallest.sampler.name, smallest.pruner.name) == (
        1,
        "default",
        "auto",
        "none",
    )
    assert smallest.primary_objective.value == "last"
    assert (smallest.budget.trials, smallest.resource, smallest.retry_failed) == (None, None, None)


BRIDGED = ["optuna:cmaes", "optuna:gp", "optuna:nsga2", "optuna:qmc"]
SAMPLERS = ["auto", "grid", "random", "sobol", "coarse_to_fine", "tpe", *BRIDGED]


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampler_s_name_is_short_for_a_mapping_with_it(name: str) -> None:
    assert spec(sampler=name) == spec(sampler={"name": name})


@pytest.mark.parametrize(
    ("pruner", "message"),
    [
        ({"name": "threshold"}, "a threshold needs a limit; write upper: 5.0, or lower, or both"),
        ({"name": "threshold", "lower": 2, "upper": 1}, "lower must be below upper, got lower 2 and upper 1"),
        ({"name": "percentile", "percentile": 0}, "greater than 0"),
        ({"name": "percentile", "percentile": 100}, "less than 100"),
        ({"name": "patience", "patience": 0}, "greater than or equal to 1"),
    ],
)
def test_an_impossible_pruner_says_why(pruner: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(pruner=pruner)


@pytest.mark.parametrize("name", ["none", "median", "percentile", "patience"])
def test_so_is_a_pruner_s(name: str) -> None:
    assert spec(pruner=name) == spec(pruner={"name": name})


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (None, TaskKind.EXTERNAL),
        ({"train": {"epochs": 3}}, TaskKind.TRAIN),
        ({"estimator": {"model": {"name": "random_forest"}}}, TaskKind.ESTIMATOR),
        ({"function": "mine:train"}, TaskKind.FUNCTION),
        ({"command": ["python", "train.py"]}, TaskKind.COMMAND),
    ],
)
def test_the_task_decides_which_workers_execute_a_trial(task: dict[str, Any] | None, kind: TaskKind) -> None:
    assert spec(task=task).task_kind is kind


@pytest.mark.parametrize("task", [{}, {"train": {}, "function": "mine:train"}])
def test_a_task_is_exactly_one_of_the_kinds(task: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="name exactly one of train, estimator, function, command"):
        spec(task=task)


def test_a_task_s_short_form_is_the_whole_of_it() -> None:
    assert spec(task={"function": "a.b:c"}) == spec(task={"function": {"name": "a.b:c", "style": "assayer"}})
    assert spec(task={"command": ["a", 3, 0.5]}) == spec(task={"command": {"argv": ["a", "3", "0.5"]}})


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"function": "mine.train"}, "names a module and a function in it, as in my_project.train:train"),
        ({"function": "my project:train"}, "names a module and a function in it"),
        ({"function": {"name": "mine:train", "style": "optun"}}, "'assayer' or 'optuna'"),
        ({"command": "python train.py"}, r"is a list of words, as in \[python, train.py\]"),
        ({"command": []}, "at least 1 item"),
        ({"command": {"argv": ["a"], "metrics": {"loss": "loss=(.*"}}}, "is no regular expression"),
        ({"command": {"argv": ["a"], "metrics": {"loss": "loss=.*"}}}, r"needs one group, around the number, .* got 0"),
        ({"command": {"argv": ["a"], "step": "(epoch|step) (.)"}}, "needs one group, .* got 2"),
    ],
)
def test_an_impossible_task_says_what_to_write(task: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(task=task)


LOSS, SIZE = {"metric": "loss", "direction": "minimize"}, {"metric": "size", "direction": "minimize"}


def test_an_objective_is_one_or_a_list_of_several() -> None:
    one, two = spec(objective=LOSS), spec(objective=[LOSS, {**SIZE, "direction": "maximize"}])
    assert [each.metric for each in one.objectives] == ["loss"]
    assert [each.metric for each in two.objectives] == ["loss", "size"]
    assert (two.primary_objective.metric, two.directions) == ("loss", ("minimize", "maximize"))
    assert StudySpec.model_validate_json(two.model_dump_json()) == two


@pytest.mark.parametrize(
    ("objective", "path", "message"),
    [
        (
            [LOSS],
            "objective",
            "a list holds 2 to 4 objectives, got 1; write a single one as a mapping: objective: {metric",
        ),
        ([], "objective", "a list holds 2 to 4 objectives, got 0"),
        ([{**LOSS, "metric": str(at)} for at in range(5)], "objective", "a list holds 2 to 4 objectives, got 5"),
        ([LOSS, SIZE, LOSS], "objective", "loss is listed twice; objectives are of different metrics"),
        ([LOSS, {"metric": "size"}], "objective.1.direction", "is missing; write `direction: maximize`"),
        ([LOSS, {**SIZE, "goal": 1}], "objective.1.goal", "no such setting; known: direction, metric, value"),
        ({**LOSS, "direction": "down"}, "objective.direction", "must be 'maximize' or 'minimize', got 'down'"),
        ("loss", "objective", "must be a mapping of settings, got 'loss'"),
    ],
)
def test_a_wrong_objective_is_reported_with_its_line(objective: Any, path: str, message: str) -> None:
    written = {**SMALLEST, "objective": objective}
    with pytest.raises(ValidationError) as caught:
        StudySpec.model_validate(written)
    (mistake,) = field_errors(caught.value.errors(), written, StudySpec)
    assert mistake.path == path
    assert mistake.message.startswith(message)


@pytest.mark.parametrize("name", ["", "-x", "a b", "ü", "a/b", "x" * 65])
def test_a_name_can_be_typed(name: str) -> None:
    with pytest.raises(ValidationError):
        spec(name=name)


@pytest.mark.parametrize("change", [{"format": 2}, {"space": {}}, {"budget": {"trials": 0}}, {"resource": {"max": 0}}])
def test_an_impossible_search_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        spec(**change)


def parameter(**fields: Any) -> Any:
    return TypeAdapter(Parameter).validate_python(fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"type": "float", "low": 1, "high": 1}, "low must be below high, got low 1 and high 1"),
        ({"type": "int", "low": 3, "high": 2}, "low must be below high, got low 3 and high 2"),
        ({"type": "float", "low": 0, "high": 1, "log": True}, "a log range must start above 0, got low 0"),
        ({"type": "float", "low": 1, "high": 9, "log": True, "step": 1}, "log and step exclude each other"),
        ({"type": "int", "low": 1, "high": 9, "log": True, "step": 2}, "log and step exclude each other"),
        ({"type": "float", "low": 0, "high": 1, "step": 2}, "step 2 is wider than the range"),
        ({"type": "categorical", "choices": ["a", "b", "a"]}, "choice 'a' is listed twice"),
        ({"type": "categorical", "choices": [1, 1.0]}, "choice 1.0 is listed twice"),
        ({"type": "categorical", "choices": [[64], [64]]}, "is listed twice"),
        ({"type": "categorical", "choices": []}, "at least 1 item"),
        ({"type": "float", "low": 0, "high": 1, "zero": True}, "zero adds 0 to a log range; write log: true too"),
        ({"type": "constant"}, "value"),
        ({"type": "constant", "value": 1, "when": {"a": {}}}, "a range needs low, high or both"),
        ({"type": "constant", "value": 1, "when": {"a": {"low": 2, "high": 1}}}, "low must not be above high"),
        ({"type": "bool", "low": 0, "high": 1}, "'float', 'int', 'categorical', 'constant'"),
    ],
)
def test_an_impossible_domain_says_why(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        parameter(**fields)


def test_one_and_true_are_two_choices() -> None:
    assert parameter(type="categorical", choices=[1, True]).choices == [1, True]


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), log=st.booleans())
def test_a_range_survives_a_round_trip(low: float, width: float, log: bool) -> None:
    fields = {"type": "float", "low": abs(low) + 1e-9 if log else low, "high": abs(low) + width + 1, "log": log}
    made = parameter(**fields)
    assert TypeAdapter(Parameter).validate_json(made.model_dump_json()) == made
