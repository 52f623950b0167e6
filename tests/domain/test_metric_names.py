"""The objectives of a train task are metrics that its training reports, as far as known without the data."""

from __future__ import annotations

from typing import Any

import pytest

from service.contract.catalogue import Catalogue, Entry, load_catalogue
from service.contract.problem import FieldError
from service.contract.study import StudySpec
from service.domain.entries import merge_custom
from service.domain.metric_names import check_comparable, check_fit, check_metrics
from worker.training.callbacks import CALLBACKS

OWN = {
    ("data", "mine"): Entry(description="of a worker's own"),
    ("loss", "mine"): Entry(),
    ("callbacks", "mine"): Entry(),
    ("metrics", "mine"): Entry(facts={"kinds": ["classification"], "direction": "maximize"}),
}
CATALOGUE = merge_custom(load_catalogue(), OWN)
LR = {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1}}
CSV = {"name": "csv", "path": "houses.csv", "target": "price"}


def spec(
    *metrics: str, space: dict[str, Any] | None = None, sampler: dict[str, Any] | None = None, **train: Any
) -> StudySpec:
    objectives = [{"metric": metric, "direction": "minimize"} for metric in metrics]
    settings = {"data": {"name": "digits"}, "loss": {"name": "cross_entropy"}} | train
    return StudySpec.model_validate(
        {
            "name": "s",
            "objective": objectives[0] if len(objectives) == 1 else objectives,
            "space": {**LR, **(space or {})},
            "task": {"train": settings},
            **({} if sampler is None else {"sampler": sampler}),
        }
    )


def mistakes(spec: StudySpec, catalogue: Catalogue = CATALOGUE) -> list[FieldError]:
    return [*check_metrics(spec, catalogue)]


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (
            spec("val/acc"),
            "objective.metric",
            "no training of this study reports 'val/acc'; did you mean 'val/accuracy'?",
        ),
        (spec("val_accuracy"), "objective.metric", "did you mean 'val/accuracy'?"),
        (spec("accuracy"), "objective.metric", "did you mean 'val/accuracy'?"),
        (spec("val/rmse"), "objective.metric", "no training of this study reports 'val/rmse'"),
        (spec("val/accuracy", data=CSV, loss={"name": "mse"}), "objective.metric", "no training of this study reports"),
        (
            spec("val/rmse", data=CSV | {"kind": "ranking"}, loss={"name": "mine"}),
            "objective.metric",
            "did you mean 'val/mrr'?",
        ),
        (spec("val/rmse", data=CSV | {"query": "user"}, loss={"name": "mine"}), "objective.metric", "no training"),
        (spec("val/lss", data={"name": "mine"}, loss={"name": "mine"}), "objective.metric", "did you mean 'val/loss'?"),
        (spec("val/loss", "val/acuracy"), "objective.1.metric", "did you mean 'val/accuracy'?"),
        (spec("val/loss", "norm/gradient"), "objective.1.metric", "no training of this study reports"),
        (spec("norm/gradient", callbacks=[{"name": "norms"}]), "objective.metric", "no training of this study reports"),
        (spec("val/loss", "val/accuracy/std"), "objective.1.metric", "did you mean 'val/accuracy'?"),
        (spec("val/loss", "snapshots/val/loss"), "objective.1.metric", "no training of this study reports"),
        (spec("val/auroc"), "objective.metric", "unless the task asks for it; add task.train.metrics: [auroc]"),
        (spec("val/f1/cat"), "objective.metric", "add task.train.metrics: [per_class]"),
        (spec("val/mcc"), "objective.metric", "unless the task asks for it; add task.train.metrics: [mcc]"),
        (spec("val/mine"), "objective.metric", "unless the task asks for it; add task.train.metrics: [mine]"),
        (spec("val/binary_f1"), "objective.metric", "add task.train.metrics: [{name: binary_f1, positive: …}]"),
        (spec("val/balanced_acuracy"), "objective.metric", "did you mean 'val/balanced_accuracy'?"),
        (spec("val/mape"), "objective.metric", "no training of this study reports 'val/mape'"),
        (spec("val/auroc/cat", metrics=["auroc"]), "objective.metric", "did you mean 'val/auroc'?"),
        (spec("test/accuracy"), "objective.metric", "write val/accuracy"),
        (spec("val/accuracy", "test/loss"), "objective.1.metric", "on data that a search must not use; write val/loss"),
        (spec("val/loss", "snapshots/test/loss"), "objective.1.metric", "write snapshots/val/loss"),
        (spec("seconds"), "objective.metric", "seconds is known only at the end of a training"),
        (spec("snapshots/val/accuracy"), "objective.metric", "known only at the end of a training"),
        (spec("seconds", "val/accuracy"), "objective.0.metric", "write before it one that every epoch reports"),
    ],
)
def test_a_metric_that_nothing_reports_is_refused_with_the_nearest(spec: StudySpec, path: str, message: str) -> None:
    (error,) = mistakes(spec)
    assert error.path == path
    assert message in error.message


@pytest.mark.parametrize(
    "spec",
    [
        spec("val/accuracy"),
        spec("test_val/f1_macro"),
        spec("train/loss"),
        spec("val/auroc", metrics=["auroc"]),
        spec("val/precision/cat", metrics=["per_class"]),
        spec("val/precision/cat", metrics=[{"name": "per_class"}]),
        spec("test_val/mine", metrics=["auroc", "mine"]),
        spec("val/binary_f1", metrics=[{"name": "binary_f1", "positive": "cat"}]),
        spec("val/rmsle", data=CSV, loss={"name": "mse"}, metrics=["rmsle"]),
        spec("val/perplexity", data={"name": "text", "path": "a.txt"}),
        spec("val/accuracy", data=CSV, loss={"name": "mine"}),
        spec("val/ndcg_10", data=CSV | {"query": "user"}, loss={"name": "listnet"}),
        spec("val/rmse", data={"name": "mine"}, loss={"name": "mine"}),
        spec("val/rmse", space={"data.name": {"type": "categorical", "choices": ["digits", "diabetes"]}}, loss={}),
        spec("val/rmse", space={"loss.name": {"type": "constant", "value": "mse"}}, data=CSV),
        spec("val/loss", "num_parameters"),
        spec("val/loss", "seconds"),
        spec("val/loss", "norm/weights", callbacks=[{"name": "norms"}]),
        spec("val/loss", "anything", callbacks=[{"name": "mine"}]),
        spec("val/loss", "val/accuracy/std", folds=5),
        spec("val/loss", "snapshots/val/accuracy", snapshots=3),
    ],
)
def test_an_objective_that_some_trial_may_report_is_accepted(spec: StudySpec) -> None:
    assert mistakes(spec) == []


def test_every_metric_of_the_catalogue_can_be_watched_but_those_of_the_test_split() -> None:
    losses = {"classification": "cross_entropy", "regression": "mse", "language": "cross_entropy", "ranking": "listnet"}
    data = {"classification": "digits", "regression": "diabetes", "language": "text", "ranking": "csv"}
    for kind, metrics in CATALOGUE.metrics.items():
        for metric in metrics:
            found = mistakes(spec(metric, data={"name": data[kind]}, loss={"name": losses[kind]}))
            assert bool(found) == metric.startswith("test/"), metric


def test_each_metric_of_the_core_can_be_an_objective() -> None:
    data = {"classification": "digits", "regression": "diabetes", "language": "text", "ranking": "csv"}
    losses = {"classification": "cross_entropy", "regression": "mse", "language": "cross_entropy", "ranking": "listnet"}
    for name, entry in load_catalogue().lists["metrics"].items():
        for kind in entry.facts["kinds"]:
            needed = {option: "cat" for option, setting in entry.parameters.items() if setting.required}
            chosen = {
                "data": {"name": data[kind]},
                "loss": {"name": losses[kind]},
                "metrics": [{"name": name, **needed}],
            }
            if kind == "ranking":
                chosen["data"] = CSV | {"query": "user"}
            for reported in entry.facts.get("names") or [name]:
                metric = f"val/{reported}/cat" if "names" in entry.facts else f"val/{reported}"
                assert mistakes(spec(metric, **chosen)) == [], metric


def test_each_callback_of_the_core_says_which_metrics_it_adds() -> None:
    for entry in CALLBACKS:
        assert "metrics" in entry.facts, entry.name


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (
            spec("val/loss", loss={"name": "mse"}),
            "task.train.loss.name",
            "mse is for regression, but the data is for classification; use bce or cross_entropy or distill or focal",
        ),
        (
            spec("val/loss", space={"loss.name": {"type": "categorical", "choices": ["focal", "huber"]}}),
            "space.loss.name.choices[1]",
            "huber is for regression, but the data is for classification",
        ),
        (
            spec("val/loss", data=CSV | {"kind": "classification"}, loss={"name": "mae"}),
            "task.train.loss.name",
            "mae is for regression",
        ),
        (
            spec("val/loss", metrics=["mcc", "rmsle"]),
            "task.train.metrics[1].name",
            "rmsle is for regression, but the data is for classification; use ",
        ),
        (
            spec("val/loss", data=CSV, model={"name": "lenet"}),
            "task.train.model.name",
            "lenet is for images, but the data is for rows; use linear or mlp",
        ),
        (
            spec("val/loss", data={"name": "texts", "path": "a", "text": "b", "target": "c"}, model={"name": "mlp"}),
            "task.train.model.name",
            "mlp is for images or queries or rows, but the data is for tokens; use ",
        ),
        (
            spec("val/loss", data=CSV | {"query": "q"}, loss={"name": "listnet"}, augment={"name": "mixup"}),
            "task.train.augment.name",
            "mixup is for images or rows, but the data is for queries; use none",
        ),
    ],
)
def test_a_model_that_fits_no_data_is_refused(spec: StudySpec, path: str, message: str) -> None:
    (error,) = check_fit(spec, CATALOGUE)
    assert error.path == path
    assert message in error.message


@pytest.mark.parametrize(
    "spec",
    [
        spec("val/loss"),
        spec("val/loss", data=CSV, loss={"name": "mse"}),
        spec("val/loss", data={"name": "mine"}, loss={"name": "mse"}),
        spec("val/loss", loss={"name": "mine"}),
        spec("val/loss", data={"name": "npz", "path": "a"}, model={"name": "lenet"}),
        spec("val/loss", data={"name": "mine"}, model={"name": "lenet"}),
        spec("val/loss", data=CSV | {"query": "q"}, loss={"name": "listnet"}),
    ],
)
def test_a_trial_that_may_fit_is_left_to_the_worker(spec: StudySpec) -> None:
    assert [*check_fit(spec, CATALOGUE)] == []


GAMMA = {"loss.gamma": {"type": "float", "low": 0.0, "high": 5.0}}
FOCAL = {"name": "focal"}
STAGES = {"name": "coarse_to_fine", "stages": [{"trials": 2}, {"trials": 2, "overrides": {"loss.gamma": 3.0}}]}
PLAIN = "{metric: val/cross_entropy, direction: minimize}"


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        (
            spec("val/loss", space=GAMMA, loss=FOCAL),
            "objective.metric",
            f"val/loss cannot be compared between trials of different loss.gamma; write {PLAIN}",
        ),
        (
            spec("val/loss", space={"loss.name": {"type": "categorical", "choices": ["focal", "bce"]}}, loss=FOCAL),
            "objective.metric",
            f"of different loss.name; write {PLAIN}",
        ),
        (
            spec(
                "val/loss",
                space={"loss.label_smoothing": {"type": "float", "low": 0, "high": 1}},
                loss={"name": "distill"},
            ),
            "objective.metric",
            "of different loss.label_smoothing",
        ),
        (spec("val/loss", sampler=STAGES, loss=FOCAL), "objective.metric", "loss.gamma; write"),
        (spec("train/loss", space=GAMMA, loss=FOCAL), "objective.metric", "write {metric: train/cross_entropy, "),
        (spec("val/accuracy", "val/loss", space=GAMMA, loss=FOCAL), "objective.1.metric", f"write {PLAIN}"),
        (
            spec("val/accuracy", "snapshots/val/loss/std", space=GAMMA, loss=FOCAL),
            "objective.1.metric",
            "write {metric: snapshots/val/cross_entropy, direction: minimize}",
        ),
        (
            spec(
                "val/loss",
                space={"loss.delta": {"type": "float", "low": 0.1, "high": 2}},
                data=CSV,
                loss={"name": "huber"},
            ),
            "objective.metric",
            "write {metric: val/mse, direction: minimize}",
        ),
        (
            spec(
                "val/loss",
                space={"loss.name": {"type": "categorical", "choices": ["listnet", "ranknet"]}},
                data=CSV | {"query": "user"},
                loss={"name": "listnet"},
            ),
            "objective.metric",
            "write {metric: val/ndcg, direction: maximize}",
        ),
        (
            spec(
                "val/loss",
                space={"loss.name": {"type": "categorical", "choices": ["mae", "focal"]}},
                data=CSV,
                loss=FOCAL,
            ),
            "objective.metric",
            f"write for classification {PLAIN}, or for regression {{metric: val/mse, direction: minimize}}",
        ),
    ],
)
def test_a_loss_whose_options_are_searched_is_no_objective(spec: StudySpec, path: str, message: str) -> None:
    (error,) = check_comparable(spec, CATALOGUE)
    assert error.path == path
    assert message in error.message


@pytest.mark.parametrize(
    "spec",
    [
        spec("val/loss"),
        spec("val/loss", loss={"name": "focal", "gamma": 5.0, "balance": 1.0}),
        spec("val/cross_entropy", space=GAMMA, loss=FOCAL),
        spec("val/accuracy", space=GAMMA, loss=FOCAL),
        spec("val/loss", space={"loss.gamma": {"type": "constant", "value": 3.0}}, loss=FOCAL),
        spec("val/loss", space={"loss.name": {"type": "categorical", "choices": ["focal"]}}, loss=FOCAL),
        spec("val/loss", space={"loss.weight": {"type": "float", "low": 0.0, "high": 1.0}}, loss={"name": "distill"}),
        spec("val/loss", space={"model.dropout": {"type": "float", "low": 0.0, "high": 0.5}}),
    ],
)
def test_a_loss_that_all_trials_share_is_an_objective(spec: StudySpec) -> None:
    assert [*check_comparable(spec, CATALOGUE)] == []
