"""Custom entries: the catalogue with them, which of them a study uses, and which workers suit it."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.base import TaskKind
from service.contract.catalogue import Entry, load_catalogue
from service.contract.study import StudySpec
from service.domain.entries import (
    custom_entries_of,
    custom_entries_of_trial,
    fingerprint,
    merge_custom,
    missing_entries,
)
from tests.usecases.replica import spec_of

CATALOGUE = load_catalogue()


def entry(**parameters: Any) -> Entry:
    return Entry.model_validate({"description": "mine", "parameters": parameters})


def study(space: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    train = {
        "data": {"name": "digits"},
        "model": {"name": "mlp"},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "sgd"},
        **changes.pop("train", {}),
    }
    space = space or {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1}}
    return spec_of(task={"train": train}, space=space, **changes)


def test_the_catalogue_takes_them_in_behind_its_own_and_keeps_its_own() -> None:
    own = {("model", "mine"): entry(), ("model", "mlp"): entry(), ("nowhere", "mine"): entry()}
    whole = merge_custom(CATALOGUE, own)
    assert [*whole.registries["model"]] == [*CATALOGUE.registries["model"], "mine"]
    assert whole.registries["model"]["mlp"] == CATALOGUE.registries["model"]["mlp"]
    assert whole.registries.keys() == CATALOGUE.registries.keys()
    assert merge_custom(CATALOGUE, {}) == CATALOGUE


def test_a_fingerprint_is_of_the_options_and_not_of_the_prose() -> None:
    width = {"type": "int", "default": 8, "low": 1, "description": "of each layer"}
    ours = fingerprint(entry(width=width, depth={"type": "int", "default": 2}))
    assert ours == fingerprint(
        Entry.model_validate(
            {
                "description": "said otherwise",
                "parameters": {"depth": {"type": "int", "default": 2}, "width": width | {"description": "of layers"}},
                "facts": {"inputs": ["rows"]},
            }
        )
    )
    for other in ({"default": 9}, {"low": 2}, {"type": "float"}, {"high": 64}):
        assert fingerprint(entry(width=width | other, depth={"type": "int", "default": 2})) != ours
    assert fingerprint(entry(width=width)) != ours


CHOICES = {"type": "categorical", "choices": ["mlp", "mine"]}
STAGES = {
    "name": "coarse_to_fine",
    "stages": [{"trials": 2}, {"trials": 2, "overrides": {"loss.name": "mine"}}],
}


@pytest.mark.parametrize(
    ("spec", "chosen"),
    [
        (study(), set()),
        (study(train={"model": {"name": "mine"}}), {("model", "mine")}),
        (study(train={"metrics": ["auroc", "mine", {"name": "ours"}]}), {("metrics", "mine"), ("metrics", "ours")}),
        (study({"model.name": CHOICES}), {("model", "mine")}),
        (study({"loss.name": {"type": "constant", "value": "mine"}}), {("loss", "mine")}),
        (study(sampler=STAGES), {("loss", "mine")}),
        (study({"model.width": CHOICES}), set()),
        (spec_of(), set()),
        (spec_of(task={"command": ["mine"]}, space={"model.name": CHOICES}), set()),
    ],
    ids=[
        "none",
        "the task",
        "a list",
        "a choice",
        "a constant",
        "a stage",
        "an option's value",
        "no task",
        "a command",
    ],
)
def test_a_study_says_which_it_may_choose(spec: StudySpec, chosen: set[tuple[str, str]]) -> None:
    assert custom_entries_of(spec, CATALOGUE) == chosen


def test_callbacks_are_several_and_found_in_their_list() -> None:
    spec = study(train={"callbacks": [{"name": "norms"}, {"name": "mine"}, {"name": "mine", "often": 3}]})
    assert custom_entries_of(spec, CATALOGUE) == {("callbacks", "mine")}
    assert "mine" in merge_custom(CATALOGUE, {("callbacks", "mine"): entry()}).lists["callbacks"]


def test_a_trial_says_which_its_parameters_choose() -> None:
    parameters = {"model.name": "mine", "optimizer.name": "sgd", "loss.name": 3, "else.name": "mine", "name": "mine"}
    assert custom_entries_of_trial(parameters, TaskKind.TRAIN, CATALOGUE) == {("model", "mine")}
    assert custom_entries_of_trial(parameters, TaskKind.FUNCTION, CATALOGUE) == set()
    named = {"model.name": "random_forest", "data.name": "mine"}
    assert custom_entries_of_trial(named, TaskKind.ESTIMATOR, CATALOGUE) == {("data", "mine")}


def test_a_worker_must_offer_the_newest_options_or_gets_the_missing_ones_named() -> None:
    needed = {("model", "mine"): "new", ("loss", "mine"): "new"}
    assert missing_entries({}, {}) is None
    assert missing_entries(needed, {"model": {"mine": "new"}, "loss": {"mine": "new", "other": "x"}}) is None
    assert missing_entries(needed, {"model": {"mine": "new"}}) == (
        "the loss 'mine' is not built in; start a worker with --register and the module that adds it"
    )
    assert missing_entries(needed, {"model": {"mine": "old"}, "loss": {"mine": "new"}}) == (
        "the model 'mine' has other options by now; start this worker again with the newest module"
    )
    assert missing_entries({("model", "mine"): None}, {"model": {"mine": "old"}}) is not None, "nobody has told it here"
