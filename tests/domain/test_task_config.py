"""A train task against the core's catalogue: unknown, missing, unused and dropped settings."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from service.contract.catalogue import Catalogue, load_catalogue
from service.contract.space import Space
from service.domain.task_config import apply_parameters, check_overrides, check_space_paths, check_task

OWN = " For one of your own, start a worker with --register MODULE first"

CATALOGUE = Catalogue.model_validate(
    {
        "format": 1,
        "settings": {"batch_size": {"type": "int", "default": 64, "low": 1}},
        "registries": {
            "model": {
                "linear": {},
                "mlp": {
                    "parameters": {
                        "hidden": {"type": "list[int]", "default": [128], "low": 1},
                        "dropout": {"type": "float", "default": 0.0, "low": 0.0, "high": 1.0},
                        "activation": {"type": "str", "default": "relu", "choices": ["relu", "tanh"]},
                    }
                },
            },
            "optimizer": {
                "sgd": {
                    "parameters": {
                        "lr": {"type": "float", "default": 0.05, "low": 0.0, "exclusive_low": True},
                        "momentum": {"type": "float", "default": 0.9, "low": 0.0, "high": 1.0},
                        "nesterov": {"type": "bool", "default": False},
                    }
                },
                "adamw": {
                    "parameters": {
                        "lr": {"type": "float", "default": 0.001, "low": 0.0, "exclusive_low": True},
                        "weight_decay": {"type": "float", "default": 0.01, "low": 0.0},
                    }
                },
            },
            "data": {
                "csv": {
                    "parameters": {
                        "target": {"type": "str", "required": True, "description": "column to predict"},
                        "limit": {"type": "int", "default": None, "low": 1},
                    }
                }
            },
            "schedule": {"constant": {}},
        },
        "lists": {
            "metrics": {
                "auroc": {},
                "mcc": {},
                "binary_f1": {
                    "parameters": {
                        "positive": {
                            "type": "str",
                            "required": True,
                            "description": "the class that counts as positive",
                        }
                    }
                },
            },
            "callbacks": {
                "tensorboard": {"parameters": {"directory": {"type": "str", "required": True, "description": "where"}}},
                "norms": {},
            },
        },
        "defaults": {"schedule": {"name": "constant"}},
        "metrics": {},
    }
)
BASE: dict[str, Any] = {
    "data": {"name": "csv", "target": "price"},
    "model": {"name": "mlp", "hidden": [128, 64]},
    "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-4},
    "batch_size": 64,
}


def told_of_task(space: dict[str, Any] | None = None, **changes: Any) -> list[tuple[str, str]]:
    checked = TypeAdapter(Space).validate_python(space or {})
    return [(error.path, error.message) for error in check_task({**BASE, **changes}, checked, CATALOGUE)]


def test_a_good_task_has_no_errors() -> None:
    assert told_of_task() == []
    assert told_of_task(data={"name": "csv", "target": "price", "limit": None}) == []
    assert told_of_task(batch_size=64.0) == []
    assert told_of_task(callbacks=[{"name": "norms"}, {"name": "tensorboard", "directory": "runs"}]) == []
    assert told_of_task(callbacks=["norms"], metrics=["auroc", {"name": "binary_f1", "positive": "1"}]) == []


def test_an_automatic_batch_size_is_chosen_once_and_not_searched() -> None:
    assert told_of_task(batch_size="auto") == []
    (refused,) = told_of_task({"batch_size": {"type": "int", "low": 8, "high": 64}}, batch_size="auto")
    assert refused == (
        "task.train.batch_size",
        "auto chooses one batch size for all trials, but the space searches batch_size; remove one",
    )


MLP = {"name": "mlp"}
SGD = {"name": "sgd"}


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        ({"modle": MLP}, "modle", "the training core has no 'modle'; did you mean 'model'?"),
        ({"model": "mlp"}, "model", "needs a name, as in model: {name: linear}"),
        ({"model": {"hidden": [3]}}, "model", "needs a name, as in model: {name: linear}"),
        ({"model": {"name": "mpl"}}, "model.name", f"there is no model 'mpl'; did you mean 'mlp'?{OWN}"),
        ({"model": {**MLP, "droput": 0.1}}, "model.droput", "mlp has no option 'droput'; did you mean 'dropout'?"),
        ({"model": {"name": "linear", "hidden": [3]}}, "model.hidden", "linear has no option 'hidden'; none is known"),
        ({"model": {**MLP, "dropout": 1.5}}, "model.dropout", "must be at most 1, got 1.5"),
        ({"model": {**MLP, "dropout": "much"}}, "model.dropout", "must be a number, got 'much'"),
        ({"model": {**MLP, "dropout": None}}, "model.dropout", "must be a number, got None"),
        ({"model": {**MLP, "hidden": 64}}, "model.hidden", "must be a list, got 64"),
        ({"model": {**MLP, "hidden": [64, 0]}}, "model.hidden[1]", "must be at least 1, got 0"),
        (
            {"model": {**MLP, "activation": "relo"}},
            "model.activation",
            "unknown choice 'relo'; did you mean 'relu'?",
        ),
        ({"optimizer": {**SGD, "lr": 0}}, "optimizer.lr", "must be above 0, got 0"),
        ({"optimizer": {**SGD, "nesterov": 1}}, "optimizer.nesterov", "must be true or false, got 1"),
        ({"data": {"name": "csv"}}, "data.target", "missing: column to predict"),
        ({"batch_size": 0}, "batch_size", "must be at least 1, got 0"),
        ({"batch_size": 32.5}, "batch_size", "must be a whole number, got 32.5"),
        ({"batch_size": True}, "batch_size", "must be a whole number, got True"),
        ({"callback": []}, "callback", "the training core has no 'callback'; did you mean 'callbacks'?"),
        ({"callbacks": {"name": "norms"}}, "callbacks", "must be a list, as in callbacks: [{name: tensorboard}]"),
        ({"callbacks": [3]}, "callbacks[0]", "needs a name, as in callbacks[0]: {name: tensorboard}"),
        ({"metrics": ["aurok"]}, "metrics[0].name", f"there is no metric 'aurok'; did you mean 'auroc'?{OWN}"),
        ({"metrics": ["mcc", {"name": "mcc"}]}, "metrics[1].name", "mcc is listed twice; leave one of the two out"),
        ({"metrics": ["binary_f1"]}, "metrics[0].positive", "missing: the class that counts as positive"),
        (
            {"callbacks": [{"name": "norms"}, {"name": "tensorbord"}]},
            "callbacks[1].name",
            f"there is no callback 'tensorbord'; did you mean 'tensorboard'?{OWN}",
        ),
        ({"callbacks": [{"name": "tensorboard"}]}, "callbacks[0].directory", "missing: where"),
        (
            {"callbacks": [{"name": "tensorboard", "directory": 3}]},
            "callbacks[0].directory",
            "must be a text, got 3",
        ),
    ],
)
def test_a_wrong_task_names_the_setting_and_the_remedy(change: dict[str, Any], path: str, message: str) -> None:
    assert told_of_task(**change) == [(f"task.train.{path}", message)]


def test_a_section_without_a_default_is_missed() -> None:
    without = {key: value for key, value in BASE.items() if key != "model"}
    errors = [(error.path, error.message) for error in check_task(without, {}, CATALOGUE)]
    assert errors == [("task.train.model", "missing; write model: {name: …}, one of: linear, mlp")]


def test_a_required_option_may_come_from_the_space() -> None:
    targets = {"data.target": {"type": "categorical", "choices": ["price", "year"]}}
    assert told_of_task(targets, data={"name": "csv"}) == []


def told_of_space(space: dict[str, Any], **changes: Any) -> list[tuple[str, str]]:
    checked = TypeAdapter(Space).validate_python(space)
    return [(error.path, error.message) for error in check_space_paths({**BASE, **changes}, checked, CATALOGUE)]


def between(low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"type": "float", "low": low, "high": high, **more}


def among(*choices: Any, **more: Any) -> dict[str, Any]:
    return {"type": "categorical", "choices": list(choices), **more}


OPTIMIZERS = among("sgd", "adamw")


@pytest.mark.parametrize(
    "space",
    [
        {"optimizer.lr": between(1e-5, 1e-1, log=True)},
        {"batch_size": among(16, 32)},
        {"batch_size": {"type": "int", "low": 16, "high": 64}},
        {"model.hidden": among([64], [128, 64])},
        {"model.name": among("linear", "mlp"), "model.dropout": between(0, 0.5, when={"model.name": "mlp"})},
        {"optimizer.name": OPTIMIZERS, "optimizer.lr": between(1e-5, 1e-1)},
        {
            "optimizer.name": OPTIMIZERS,
            "optimizer.momentum": between(0, 0.9, when={"optimizer.name": "sgd"}),
            "optimizer.weight_decay": between(0, 0.1, when={"optimizer.name": ["adamw"]}),
        },
        {
            "optimizer.name": {"type": "constant", "value": "adamw"},
            "optimizer.weight_decay": between(1e-6, 0.1, log=True, zero=True),
            "model.activation": {"type": "constant", "value": "tanh"},
        },
    ],
)
def test_keys_that_reach_an_option_in_every_case_are_good(space: dict[str, Any]) -> None:
    assert told_of_space(space) == []


NO_MOMENTUM = (
    "has no effect on the task; adamw has no momentum: search optimizer.name among adamw, sgd and "
    "write optimizer.momentum with when: {optimizer.name: sgd}, or leave it out"
)


@pytest.mark.parametrize(
    ("space", "path", "message"),
    [
        (
            {"optimizer.lrr": between(0.1, 1)},
            "optimizer.lrr",
            "has no effect on the task; did you mean 'optimizer.lr'?",
        ),
        ({"batchsize": between(1, 2)}, "batchsize", "has no effect on the task; did you mean 'batch_size'?"),
        ({"callbacks": among("norms")}, "callbacks", "has no effect: no parameter sets what is in callbacks"),
        (
            {"callbacks[0].directory": among("runs")},
            "callbacks[0].directory",
            "has no effect: no parameter sets what is in callbacks",
        ),
        ({"model": among("mlp")}, "model", "has no effect on the task; did you mean 'model.name'?"),
        # The option exists, but of an optimizer that the study never uses.
        (
            {"optimizer.momentum": between(0, 0.9)},
            "optimizer.momentum",
            NO_MOMENTUM,
        ),
        (
            {"optimizer.name": OPTIMIZERS, "momentum": between(0, 0.9)},
            "momentum",
            "has no effect on the task; write optimizer.momentum with when: {optimizer.name: sgd}",
        ),
        (
            {"optimizer.name": OPTIMIZERS, "optimizer.momentum": between(0, 0.9)},
            "optimizer.momentum",
            "has no effect when optimizer.name is adamw; add when: {optimizer.name: sgd}",
        ),
        (
            {"optimizer.name": among("sgd", "adem")},
            "optimizer.name.choices[1]",
            f"there is no optimizer 'adem'; did you mean 'adamw'?{OWN}",
        ),
        ({"model.name": between(0, 1)}, "model.name", "must be categorical, with choices among linear, mlp"),
        ({"optimizer.lr": between(0, 1)}, "optimizer.lr.low", "must be above 0, got 0"),
        ({"model.dropout": between(0, 2)}, "model.dropout.high", "must be at most 1, got 2"),
        ({"batch_size": between(1, 2)}, "batch_size", "sets a whole number; write type: int"),
        ({"batch_size": among(16, 0)}, "batch_size.choices[1]", "must be at least 1, got 0"),
        ({"batch_size": {"type": "constant", "value": 0}}, "batch_size.value", "must be at least 1, got 0"),
        ({"optimizer.lr": between(1e-3, 1, log=True, zero=True)}, "optimizer.lr.zero", "must be above 0, got 0"),
        (
            {"optimizer.name": {"type": "constant", "value": "adem"}},
            "optimizer.name.value",
            f"there is no optimizer 'adem'; did you mean 'adamw'?{OWN}",
        ),
        (
            {"optimizer.name": among("sgd", "mine"), "optimizer.beta": between(0, 1)},  # which may be an option of it
            "optimizer.name.choices[1]",
            f"there is no optimizer 'mine'; known: adamw, sgd.{OWN}",
        ),
        ({"model.hidden": among([64], 64)}, "model.hidden.choices[1]", "must be a list, got 64"),
        (
            {"model.activation": among("relu", "tan")},
            "model.activation.choices[1]",
            "unknown choice 'tan'; did you mean 'tanh'?",
        ),
    ],
)
def test_a_key_that_reaches_nothing_or_too_far_says_what_to_write(
    space: dict[str, Any], path: str, message: str
) -> None:
    assert told_of_space(space) == [(f"space.{path}", message)]


def test_a_section_that_the_task_lacks_is_named() -> None:
    without = {key: value for key, value in BASE.items() if key != "optimizer"}
    space = TypeAdapter(Space).validate_python({"optimizer.lr": between(0.1, 1)})
    message = "has no effect: the task has no optimizer; add task.train.optimizer"
    assert [error.message for error in check_space_paths(without, space, CATALOGUE)] == [message]


@pytest.mark.parametrize(
    ("parameters", "changed", "dropped"),
    [
        ({}, {}, []),
        ({"batch_size": 16}, {"batch_size": 16}, []),
        ({"model.hidden": [64]}, {"model": {"name": "mlp", "hidden": [64]}}, []),
        (
            {"optimizer.name": "sgd", "optimizer.momentum": 0.5},
            {"optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.5}},
            ["optimizer.weight_decay"],
        ),
        ({"optimizer.name": "adamw"}, {}, []),
        (
            {"model.name": "linear", "optimizer.lr": 0.1},
            {"model": {"name": "linear"}, "optimizer": {"name": "adamw", "lr": 0.1, "weight_decay": 1e-4}},
            ["model.hidden"],
        ),
    ],
)
def test_parameters_are_set_and_what_the_choice_does_not_know_is_dropped(
    parameters: dict[str, Any], changed: dict[str, Any], dropped: list[str]
) -> None:
    assert apply_parameters(BASE, parameters, CATALOGUE) == ({**BASE, **changed}, dropped)


def test_a_section_that_the_base_leaves_out_is_made() -> None:
    config, dropped = apply_parameters({}, {"optimizer.name": "sgd", "optimizer.lr": 0.1}, CATALOGUE)
    assert (config, dropped) == ({"optimizer": {"name": "sgd", "lr": 0.1}}, [])


def test_the_base_is_left_as_it_was() -> None:
    before = {"model": {"name": "mlp", "hidden": [128, 64]}}
    config, _ = apply_parameters(before, {"model.dropout": 0.1}, CATALOGUE)
    config["model"]["hidden"].append(1)
    assert before == {"model": {"name": "mlp", "hidden": [128, 64]}}


def test_every_callback_of_the_real_catalogue_may_be_named() -> None:
    catalogue = load_catalogue()
    for section, entries in catalogue.lists.items():
        for name, entry in entries.items():
            given = {option: "x" for option, setting in entry.parameters.items() if setting.required}
            errors = check_task({section: [{"name": name, **given}]}, {}, catalogue)
            assert [error for error in errors if error.path.startswith(f"task.train.{section}")] == []


@pytest.mark.parametrize("section", sorted(load_catalogue().registries))
def test_every_entry_of_the_real_catalogue_is_good_with_its_own_defaults(section: str) -> None:
    catalogue = load_catalogue()
    for name, entry in catalogue.registries[section].items():
        given = {option: "x" if setting.required else setting.default for option, setting in entry.parameters.items()}
        errors = check_task({section: {"name": name, **given}}, {}, catalogue)
        assert [error for error in errors if error.path.startswith(f"task.train.{section}")] == []


def told_of_overrides(overrides: dict[str, Any], **space: Any) -> list[tuple[str, str]]:
    checked = TypeAdapter(Space).validate_python({"optimizer.lr": between(1e-5, 1e-1), **space})
    return [(error.path, error.message) for error in check_overrides(BASE, checked, overrides, CATALOGUE)]


def test_settings_of_a_stage_may_be_any_that_the_space_leaves_alone() -> None:
    assert told_of_overrides({"schedule.name": "constant", "data.limit": 500, "batch_size": 16}) == []
    assert told_of_overrides({}) == []


@pytest.mark.parametrize(
    ("overrides", "path", "message"),
    [
        (
            {"optimizer.lr": 0.1},
            "overrides.optimizer.lr",
            "is also a parameter of the space; write it under fixed, or remove one of the two",
        ),
        (
            {"epochs": 3},
            "overrides.epochs",
            "the length of a stage is its resource; write resource, and leave epochs out",
        ),
        ({"data.limt": 3}, "overrides.data.limt", "has no effect on the task; did you mean 'data.limit'?"),
        ({"data.limit": 0}, "overrides.data.limit", "must be at least 1, got 0"),
        ({"schedule.name": "cosin"}, "overrides.schedule.name", f"there is no schedule 'cosin'; known: constant.{OWN}"),
    ],
)
def test_settings_of_a_stage_that_cannot_be_say_what_to_write(
    overrides: dict[str, Any], path: str, message: str
) -> None:
    assert told_of_overrides(overrides) == [(path, message)]


def test_a_stage_that_removes_a_searched_setting_is_refused() -> None:
    found = told_of_overrides({"model.name": "linear"}, **{"model.dropout": between(0, 0.5)})
    assert [path for path, _ in found] == ["overrides"]
    assert found[0][1].startswith("with these, space.model.dropout has no effect on the task")
