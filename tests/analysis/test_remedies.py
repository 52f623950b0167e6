"""Actions of remedies: what each one changes, by what the study searches, what its task fixes, and what was tried."""

from __future__ import annotations

from typing import Any

import pytest

from service.analysis.remedies.actions import FOR_PEOPLE, PROPOSALS, action_for
from service.analysis.remedies.subject import StudyForRemedies
from service.contract.catalogue import load_catalogue
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.remedy_action import RemedyAction
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.domain.spec_changes import changed_spec, next_name

RATE = {"type": "float", "low": 1e-3, "high": 1.0, "log": True}
TRAIN: dict[str, Any] = {
    "data": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [64, 32]},
    "loss": {"name": "cross_entropy"},
    "optimizer": {"name": "sgd", "lr": 0.1},
    "batch_size": 64,
    "epochs": 10,
}


def study(
    *parameters: dict[str, Any],
    space: dict[str, Any] | None = None,
    train: dict[str, Any] | None = None,
    checkpoint: bool = False,
    **changes: Any,
) -> StudyForRemedies:
    """A study with a completed trial of each configuration; the first one is the best."""
    spec = StudySpec.model_validate(
        {
            "name": "digits",
            "objective": {"metric": "val/accuracy", "direction": "maximize"},
            "task": {"train": {**TRAIN, **(train or {})}},
            "space": space or {"optimizer.lr": RATE},
            "resource": {"name": "epoch", "max": 10},
            "budget": {"trials": 20},
        }
        | changes
    )
    trials = tuple(
        TrialRecord(number, TrialState.COMPLETED, each, ((10, 0.9),), 0.9 - number / 100)
        for number, each in enumerate(parameters)
    )
    return StudyForRemedies(spec, load_catalogue(), History(1, trials), [], "digits-2", lambda _: checkpoint)


def action(of: StudyForRemedies, name: RemedyName, trial: int | None = 0, **settings: Any) -> dict[str, Any] | None:
    remedy = Remedy(name=name, sentence="Do it.", settings=settings)
    finding = Finding(rule="planted", confidence=Confidence.HIGH, sentence="It is so.", remedies=[remedy], trial=trial)
    found: RemedyAction | None = action_for(remedy, finding, of)
    return None if found is None else found.model_dump()


def test_every_remedy_has_a_proposal_or_is_for_people() -> None:
    assert PROPOSALS.keys() | FOR_PEOPLE == set(RemedyName)
    assert not PROPOSALS.keys() & FOR_PEOPLE


def test_a_searched_rate_is_tried_at_a_third() -> None:
    found = action(study({"optimizer.lr": 0.1}), RemedyName.LOWER_RATE)
    assert found == {"kind": "enqueue", "parameters": {"optimizer.lr": 0.03}}
    assert action(study({"optimizer.lr": 0.1}), RemedyName.RAISE_RATE, factor=5) == {
        "kind": "enqueue",
        "parameters": {"optimizer.lr": 0.5},
    }


def test_a_rate_near_the_end_of_its_range_is_tried_at_the_end() -> None:
    assert action(study({"optimizer.lr": 0.002}), RemedyName.LOWER_RATE) == {
        "kind": "enqueue",
        "parameters": {"optimizer.lr": 0.001},
    }


def test_the_range_of_a_rate_at_its_end_is_widened_first() -> None:
    assert action(study({"optimizer.lr": 0.001}), RemedyName.LOWER_RATE) == {
        "kind": "edit",
        "changes": {"space.optimizer.lr.low": 0.0003},
        "enqueue": {"optimizer.lr": 0.0003},
    }


def test_what_was_tried_is_not_tried_again() -> None:
    tried = study({"optimizer.lr": 0.1}, {"optimizer.lr": 0.03})
    assert action(tried, RemedyName.LOWER_RATE) is None
    waiting = StudyForRemedies(
        tried.spec,
        tried.catalogue,
        History(1, tried.history.trials[:1]),
        [{"optimizer.lr": 0.03}],
        "x",
        tried.has_checkpoint,
    )
    assert action(waiting, RemedyName.LOWER_RATE) is None


def test_a_used_up_budget_is_raised_by_one_trial() -> None:
    over = study({"optimizer.lr": 0.1}, budget={"trials": 1})
    assert action(over, RemedyName.LOWER_RATE) == {
        "kind": "edit",
        "changes": {"budget.trials": 2},
        "enqueue": {"optimizer.lr": 0.03},
    }


def test_a_fixed_rate_becomes_a_parameter_around_its_value() -> None:
    fixed = study({"batch_size": 32}, space={"batch_size": {"type": "categorical", "choices": [32, 64]}})
    assert action(fixed, RemedyName.LOWER_RATE) == {
        "kind": "edit",
        "changes": {"space.optimizer.lr": {"type": "float", "low": 0.01, "high": 0.1, "log": True}},
        "enqueue": {"batch_size": 32, "optimizer.lr": 0.03},
    }


def test_an_option_of_some_entries_gets_their_condition() -> None:
    space = {"model.name": {"type": "categorical", "choices": ["mlp", "linear"]}}
    searched = study({"model.name": "mlp"}, space=space, train={"model": {"name": "mlp"}})
    found = action(searched, RemedyName.NORMALIZE)
    assert found is not None
    assert found["changes"] == {
        "space.model.norm": {"type": "categorical", "choices": ["none", "batch"], "when": {"model.name": "mlp"}}
    }
    assert found["enqueue"] == {"model.name": "mlp", "model.norm": "batch"}


def test_a_section_that_the_task_leaves_out_is_named_first() -> None:
    found = action(study({"optimizer.lr": 0.1}), RemedyName.WARM_UP)
    assert found is not None
    assert found["changes"]["space.schedule.name"] == {"type": "constant", "value": "constant"}
    assert found["enqueue"] == {"optimizer.lr": 0.1, "schedule.name": "constant", "schedule.warmup": 0.1}


def test_a_trial_with_a_checkpoint_trains_on_and_others_in_a_follow_up_study() -> None:
    fork = action(study({"optimizer.lr": 0.1}, checkpoint=True), RemedyName.TRAIN_LONGER)
    assert fork == {"kind": "fork", "trial": 0, "settings": {"epochs": 20}}
    changes = {"task.train.epochs": 20, "resource": None}
    follow_up = {"kind": "follow_up", "name": "digits-2", "changes": changes, "enqueue": None}
    first = {"optimizer.lr": 0.1}
    assert action(study(first), RemedyName.TRAIN_LONGER) == {**follow_up, "enqueue": first}
    assert action(study(first, checkpoint=True), RemedyName.TRAIN_LONGER, None) == follow_up


def test_a_searched_length_is_tried() -> None:
    space = {"epochs": {"type": "int", "low": 5, "high": 40}}
    assert action(study({"epochs": 10}, space=space, resource=None), RemedyName.TRAIN_LONGER) == {
        "kind": "enqueue",
        "parameters": {"epochs": 20},
    }


@pytest.mark.parametrize(
    ("name", "settings", "train", "path", "value"),
    [
        (RemedyName.LARGER_MODEL, {}, {}, "model.hidden", [128, 64]),
        (RemedyName.SMALLER_MODEL, {"factor": 0.25}, {}, "model.hidden", [16, 8]),
        (RemedyName.LARGER_MODEL, {}, {"model": {"name": "mlp"}}, "model.width", 256),
        (RemedyName.LARGER_MODEL, {}, {"model": {"name": "linear"}}, "model.name", "mlp"),
        (RemedyName.DECAY_RATE, {}, {}, "schedule.name", "cosine"),
        (RemedyName.DECAY_LATER, {}, {"schedule": {"name": "step", "every": 0.1}}, "schedule.every", 0.2),
        (RemedyName.DECAY_LATER, {}, {"schedule": {"name": "multi_step"}}, "schedule.drops", [0.75, 0.88]),
        (RemedyName.STOP_EARLY, {}, {"epochs": 40}, "patience", 4),
        (RemedyName.STOP_EARLY, {"patience": 7}, {}, "patience", 7),
        (RemedyName.CLIP_GRADIENTS, {}, {}, "clip_norm", 1.0),
        (RemedyName.LARGER_BATCH, {"factor": 4}, {}, "batch_size", 256),
        (RemedyName.CHANGE_ACTIVATION, {}, {}, "model.activation", "gelu"),
        (RemedyName.CHANGE_INITIALIZATION, {}, {}, "model.init", "kaiming"),
        (RemedyName.CLASS_WEIGHTS, {}, {}, "loss.balance", 1.0),
        (RemedyName.MORE_REGULARIZATION, {}, {}, "model.dropout", 0.3),
        (RemedyName.MORE_REGULARIZATION, {}, {}, "optimizer.weight_decay", 0.001),
        (RemedyName.AUGMENT, {}, {}, "augment.name", "images"),
        (RemedyName.AUGMENT, {}, {}, "augment.rotate", 10.0),
        (RemedyName.LESS_REGULARIZATION, {}, {"model": {"name": "mlp", "dropout": 0.9}}, "model.dropout", 0.3),
        (RemedyName.LESS_REGULARIZATION, {"l1": 0.0}, {"l1": 0.01}, "l1", 0.0),
    ],
)
def test_a_fixed_option_is_added_to_the_space_and_its_new_value_is_tried(
    name: RemedyName, settings: dict[str, Any], train: dict[str, Any], path: str, value: object
) -> None:
    found = action(study({"optimizer.lr": 0.1}, train=train), name, **settings)
    assert found is not None
    assert found["kind"] == "edit"
    assert f"space.{path}" in found["changes"]
    assert found["enqueue"][path] == value
    assert found["enqueue"]["optimizer.lr"] == 0.1


def test_less_of_a_pretrained_model_is_tuned_in_the_way_that_the_rule_names() -> None:
    pretrained = {"model": {"name": "timm", "arch": "resnet18"}}
    found = action(study({"optimizer.lr": 0.1}, train=pretrained), RemedyName.FINETUNE_LESS, finetune={"name": "lora"})
    assert found is not None
    assert found["enqueue"] == {"optimizer.lr": 0.1, "finetune.name": "lora"}
    assert action(study({"optimizer.lr": 0.1}), RemedyName.FINETUNE_LESS) is None


def test_the_weight_of_classes_is_not_searched_where_the_loss_is_the_objective() -> None:
    loss = study({"optimizer.lr": 0.1}, objective={"metric": "val/loss", "direction": "minimize"})
    found = action(loss, RemedyName.CLASS_WEIGHTS)
    assert found is not None
    assert (found["kind"], found["changes"]) == ("follow_up", {"task.train.loss.balance": 1.0})


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({"parameter": "optimizer.lr", "high": 10.0}, {"space.optimizer.lr.high": 10.0}),
        ({"parameter": "optimizer.lr", "side": "high"}, {"space.optimizer.lr.high": 10.0}),
        ({"parameter": "model.dropout", "side": "high"}, {"space.model.dropout.high": 0.99}),
        ({"parameter": "batch_size", "choices": [128]}, {"space.batch_size.choices": [32, 64, 128]}),
        ({"parameter": "optimizer.lr", "high": 0.5}, None),
        ({"parameter": "unknown", "side": "high"}, None),
        ({"high": 1.0}, None),
    ],
)
def test_a_range_is_widened_as_the_rule_says(settings: dict[str, Any], changes: dict[str, Any] | None) -> None:
    space = {
        "optimizer.lr": RATE,
        "model.dropout": {"type": "float", "low": 0.0, "high": 0.6},
        "batch_size": {"type": "categorical", "choices": [32, 64]},
    }
    found = action(study(space=space), RemedyName.WIDEN_RANGE, None, **settings)
    assert (None if found is None else found["changes"]) == changes


def test_a_range_is_narrowed_and_a_parameter_fixed() -> None:
    space = {"optimizer.lr": RATE, "batch_size": {"type": "categorical", "choices": [32, 64]}}
    of = study({"optimizer.lr": 0.1, "batch_size": 64}, space=space)
    narrowed = action(of, RemedyName.NARROW_RANGE, None, parameter="optimizer.lr", high=0.3)
    assert narrowed is not None
    assert narrowed["changes"] == {"space.optimizer.lr.high": 0.3}
    fewer = action(of, RemedyName.LIMIT_MEMORY, None, parameter="batch_size", without=[64])
    assert fewer is not None
    assert fewer["changes"] == {"space.batch_size.choices": [32]}
    fixed = action(of, RemedyName.FIX_PARAMETER, None, parameter="batch_size")
    assert fixed is not None
    assert fixed["changes"] == {"space.batch_size": {"type": "constant", "value": 64}}


def test_the_search_takes_more_trials_another_pruner_or_ends() -> None:
    of = study({"optimizer.lr": 0.1}, pruner={"name": "median", "warmup_steps": 1})
    assert action(of, RemedyName.MORE_TRIALS, None) == {"kind": "extend", "trials": 30}
    assert action(of, RemedyName.END_STUDY, None) == {"kind": "stop"}
    pruned = action(of, RemedyName.CHANGE_PRUNER, None)
    assert pruned is not None
    assert pruned["changes"] == {"pruner.warmup_steps": 4}
    assert action(of, RemedyName.REPEAT_SEEDS, None) == {"kind": "enqueue", "parameters": {"optimizer.lr": 0.1}}


def test_a_limit_of_the_data_is_lifted_and_the_validation_split_doubled_in_a_follow_up_study() -> None:
    of = study({"optimizer.lr": 0.1}, train={"data": {"name": "digits", "limit": 50}})
    lifted = action(of, RemedyName.MORE_DATA, None)
    assert lifted is not None
    assert (lifted["kind"], lifted["changes"]) == ("follow_up", {"task.train.data.limit": None})
    larger = action(of, RemedyName.LARGER_VALIDATION, None)
    assert larger is not None
    assert larger["changes"] == {"task.train.data.val_fraction": 0.4}
    assert action(study({"optimizer.lr": 0.1}), RemedyName.MORE_DATA, None) is None


def test_a_script_gets_what_its_space_names() -> None:
    of = study({"lr": 0.1}, space={"lr": RATE}, task={"command": ["python", "train.py", "{lr}"]}, resource=None)
    assert action(of, RemedyName.LOWER_RATE) == {"kind": "enqueue", "parameters": {"lr": 0.03}}
    assert action(of, RemedyName.MORE_REGULARIZATION) is None
    assert action(of, RemedyName.TRAIN_LONGER) is None


def test_a_grid_gets_the_two_values_and_no_range() -> None:
    of = study(
        {"batch_size": 32},
        space={"batch_size": {"type": "categorical", "choices": [32, 64]}},
        sampler="grid",
        budget={},
    )
    found = action(of, RemedyName.LOWER_RATE)
    assert found is not None
    assert found["changes"] == {"space.optimizer.lr": {"type": "categorical", "choices": [0.1, 0.03]}}


def test_a_study_without_a_completed_trial_has_nothing_to_start_from() -> None:
    assert action(study(), RemedyName.LOWER_RATE, None) is None
    assert action(study({"optimizer.lr": 0.1}), RemedyName.LOWER_RATE, 7) is None


def test_changes_reach_keys_with_dots_and_none_removes() -> None:
    spec = study().spec
    changed = changed_spec(spec, {"space.optimizer.lr.high": 2.0, "task.train.epochs": 20, "resource": None})
    assert changed.space["optimizer.lr"].high == 2.0  # type: ignore[union-attr]
    assert changed.resource is None
    assert changed.task is not None
    assert changed.task.train is not None
    assert changed.task.train["epochs"] == 20


@pytest.mark.parametrize(
    ("name", "taken", "following"),
    [
        ("digits", set(), "digits-2"),
        ("digits", {"digits-2"}, "digits-3"),
        ("digits-2", set(), "digits-3"),
        ("digits-2024", set(), "digits-2024-2"),
        ("mlp-1", set(), "mlp-1-2"),
        ("x" * 64, set(), "x" * 62 + "-2"),
    ],
)
def test_a_follow_up_study_has_the_next_name(name: str, taken: set[str], following: str) -> None:
    assert next_name(name, taken) == following
