"""Each metric of the registry agrees with scikit-learn or a hand computation, at the edges too."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import MulticlassRecall

from worker.training import ConfigError, Monitor, TrainingConfig, train
from worker.training.components.link import LINKS
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import METRICS, Metrics, metric_notes, reported_names
from worker.training.components.metrics.example_mean import ExampleMean
from worker.training.data import Dataset, Split
from worker.training.evaluate import evaluate

CPU = torch.device("cpu")
DRAW = torch.Generator().manual_seed(0)
LOGITS = 3 * torch.randn(6000, 4, generator=DRAW)
LABELS = torch.where(
    torch.rand(6000, generator=DRAW) < 0.5, LOGITS.argmax(1), torch.randint(0, 4, (6000,), generator=DRAW)
)
P, PREDICTED = LOGITS.double().softmax(1).numpy(), LOGITS.argmax(1)
POSITIVE = {"positive": "c"}
LINEAR = {"model": {"name": "linear"}, "loss": {"name": "mse"}, "optimizer": {"name": "sgd"}, "epochs": 2}


def classes(logits: Tensor, labels: Tensor, names: str = "abcd") -> Dataset:
    return Dataset("classification", {"val": Split(logits, labels)}, class_names=tuple(names))


def values(dataset: Dataset, extra: Mapping[str, Mapping[str, Any]], link: str = "softmax") -> dict[str, float]:
    metrics = Metrics(dataset, CPU, extra, LINKS[link])
    measured = evaluate(nn.Identity(), _nothing, metrics, dataset, ("val",))
    return {name.removeprefix("val/"): value for name, value in measured.items()}


def _nothing(outputs: Tensor, targets: Tensor) -> Tensor:
    return torch.zeros(())


REFERENCES: dict[str, tuple[dict[str, Any], Callable[[], float]]] = {
    "accuracy": ({}, lambda: reference.accuracy_score(LABELS, PREDICTED)),
    "precision_macro": ({}, lambda: reference.precision_score(LABELS, PREDICTED, average="macro")),
    "recall_macro": ({}, lambda: reference.recall_score(LABELS, PREDICTED, average="macro")),
    "f1_macro": ({}, lambda: reference.f1_score(LABELS, PREDICTED, average="macro")),
    "balanced_accuracy": ({}, lambda: reference.balanced_accuracy_score(LABELS, PREDICTED)),
    "binary_precision": (POSITIVE, lambda: reference.precision_score(LABELS == 2, PREDICTED == 2)),
    "binary_recall": (POSITIVE, lambda: reference.recall_score(LABELS == 2, PREDICTED == 2)),
    "binary_f1": (POSITIVE, lambda: reference.f1_score(LABELS == 2, PREDICTED == 2)),
    "mcc": ({}, lambda: reference.matthews_corrcoef(LABELS, PREDICTED)),
    "quadratic_kappa": ({}, lambda: reference.cohen_kappa_score(LABELS, PREDICTED, weights="quadratic")),
    "cross_entropy": ({}, lambda: nn.functional.cross_entropy(LOGITS.double(), LABELS).item()),
    "log_loss": ({}, lambda: reference.log_loss(LABELS, P)),
    "auroc": ({}, lambda: reference.roc_auc_score(LABELS, P, multi_class="ovr")),
    "average_precision": ({}, lambda: reference.average_precision_score(torch.eye(4)[LABELS], P)),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_a_metric_of_classes_is_scikit_learns(name: str):
    settings, by_reference = REFERENCES[name]
    assert values(classes(LOGITS, LABELS), {name: settings})[name] == pytest.approx(by_reference(), rel=1e-5)


def test_every_metric_of_classes_has_a_reference():
    of_classes = {each.name for each in METRICS if "classification" in each.facts["kinds"]}
    assert of_classes == {*REFERENCES, "per_class"}


def test_all_metrics_together_are_those_of_each_alone():
    extra = {name: settings for name, (settings, _) in REFERENCES.items()} | {"per_class": {}}
    together = values(classes(LOGITS, LABELS), extra)
    for name, settings in extra.items():
        alone = values(classes(LOGITS, LABELS), {name: settings})
        assert {each: together[each] for each in alone} == alone
    assert together["f1/c"] == together["binary_f1"]


def test_average_precision_of_a_named_class():
    measured = values(classes(LOGITS, LABELS), {"average_precision": POSITIVE})["average_precision"]
    assert measured == pytest.approx(reference.average_precision_score(LABELS == 2, P[:, 2]), rel=1e-5)


@pytest.mark.parametrize("name", ["binary_f1", "binary_precision", "binary_recall", "average_precision"])
def test_a_positive_class_that_the_data_lacks_is_refused_with_the_nearest(name: str):
    dataset = Dataset("classification", {"val": Split(torch.eye(2), torch.arange(2))}, class_names=("healthy", "sick"))
    with pytest.raises(ConfigError, match=rf"metrics\.{name}\.positive: there is no class 'sik'; did you mean 'sick'?"):
        Metrics(dataset, CPU, {name: {"positive": "sik"}})


def test_an_absent_class_does_not_count():
    present = LABELS != 3
    logits, labels = LOGITS[present], LABELS[present]
    p = logits.double().softmax(1).numpy()
    extra: dict[str, dict[str, Any]] = {"auroc": {}, "average_precision": {}, "balanced_accuracy": {}}
    measured = values(classes(logits, labels), extra)
    of_present = range(3)
    assert measured["auroc"] == pytest.approx(
        np.mean([reference.roc_auc_score(labels == each, p[:, each]) for each in of_present]), rel=1e-5
    )
    assert measured["average_precision"] == pytest.approx(
        np.mean([reference.average_precision_score(labels == each, p[:, each]) for each in of_present]), rel=1e-5
    )
    # The last class is predicted, but has no example.
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        expected = reference.balanced_accuracy_score(labels, logits.argmax(1))
    assert measured["balanced_accuracy"] == pytest.approx(expected)
    assert [*metric_notes(classes(logits, labels), extra)] == [
        "val has no example of 'd': balanced_accuracy, auroc and average_precision average over the other classes"
    ]


def test_a_constant_prediction():
    labels = torch.tensor([0] * 90 + [1] * 10)
    dataset = classes(torch.tensor([[4.0, 0.0]]).repeat(100, 1), labels, "no")
    extra: dict[str, dict[str, Any]] = {
        "balanced_accuracy": {}, "mcc": {}, "quadratic_kappa": {}, "auroc": {}, "average_precision": {"positive": "o"},
        "binary_precision": {"positive": "o"}, "binary_recall": {"positive": "o"}, "binary_f1": {"positive": "o"},
    }  # fmt: skip
    measured = values(dataset, extra)
    assert measured["accuracy"] == pytest.approx(0.9)
    assert {name: measured[name] for name in extra} == pytest.approx(
        {
            "balanced_accuracy": 0.5, "mcc": 0.0, "quadratic_kappa": 0.0, "auroc": 0.5, "average_precision": 0.1,
            "binary_precision": 0.0, "binary_recall": 0.0, "binary_f1": 0.0,
        }
    )  # fmt: skip


def test_one_row_of_classes_leaves_out_what_it_cannot_tell():
    dataset = classes(torch.tensor([[0.0, 1.0]]), torch.tensor([1]), "no")
    extra: dict[str, dict[str, Any]] = {"auroc": {}, "average_precision": {}, "quadratic_kappa": {}, "mcc": {}}
    measured = values(dataset, extra)
    assert not {"auroc", "average_precision", "quadratic_kappa"} & set(measured)
    assert measured["accuracy"] == 1.0
    assert all(math.isfinite(value) for value in measured.values())
    assert {f"val/{name}" for name in measured} == set(reported_names(dataset, extra))
    notes = [*metric_notes(dataset, extra)]
    assert "val/auroc is not reported: it needs 2 different targets, and the 1 example has 1" in notes


def test_a_confident_mistake_costs_log_loss_a_bounded_amount():
    dataset = classes(torch.tensor([[60.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 1]), "no")
    measured = values(dataset, {"log_loss": {}})
    right = math.log(1 + math.exp(-1))
    assert measured["cross_entropy"] == pytest.approx((60 + right) / 2)
    assert measured["log_loss"] == pytest.approx((-math.log(torch.finfo(torch.float32).eps) + right) / 2)


def test_cross_entropy_is_of_the_probabilities_that_the_loss_means():
    p = LOGITS.double().sigmoid().numpy()
    expected = reference.log_loss(LABELS, p / p.sum(1, keepdims=True))
    measured = values(classes(LOGITS, LABELS), {"log_loss": {}}, "sigmoid")
    assert measured["cross_entropy"] == pytest.approx(expected, rel=1e-5)
    assert measured["log_loss"] == pytest.approx(expected, rel=1e-5)


def test_cross_entropy_is_the_loss_without_its_options():
    dataset = classes(LOGITS, LABELS)
    plain = LOSSES.create("cross_entropy", LOSSES.check("cross_entropy", {}), dataset)
    for name, settings in (("focal", {"gamma": 5.0}), ("cross_entropy", {"label_smoothing": 0.3})):
        loss = LOSSES.create(name, LOSSES.check(name, settings), dataset)
        measured = evaluate(nn.Identity(), loss, Metrics(dataset, CPU), dataset, ("val",))
        assert measured["val/cross_entropy"] == pytest.approx(plain(LOGITS, LABELS).item(), rel=1e-5)
        assert measured["val/loss"] != pytest.approx(measured["val/cross_entropy"], rel=0.01)


def numbers(outputs: Tensor, targets: Tensor, mean: float = 0.0, std: float = 1.0) -> Dataset:
    splits = {"val": Split(outputs.unsqueeze(1), targets.unsqueeze(1))}
    return Dataset("regression", splits, target_mean=mean, target_std=std)


@pytest.mark.parametrize("mean", [0.0, 3.0, 3e3, 3e7])
def test_errors_of_values_far_from_zero_keep_their_digits(mean: float):
    targets = torch.randn(5000, generator=DRAW)
    outputs = targets + 0.3 * torch.randn(5000, generator=DRAW)
    true, predicted = (each.double().numpy() + mean for each in (targets, outputs))
    measured = values(numbers(outputs, targets, mean), {"mape": {}})
    assert measured["r2"] == pytest.approx(reference.r2_score(true, predicted), abs=1e-7)
    assert measured["rmse"] == pytest.approx(reference.root_mean_squared_error(true, predicted), rel=1e-6)
    assert measured["mse"] == pytest.approx(reference.mean_squared_error(true, predicted), rel=1e-6)
    assert measured["mae"] == pytest.approx(reference.mean_absolute_error(true, predicted), rel=1e-6)
    assert measured["mape"] == pytest.approx(reference.mean_absolute_percentage_error(true, predicted), rel=1e-6)


def test_rmsle_of_counts():
    counts = torch.poisson(torch.full((5000,), 3.0), generator=DRAW)
    predicted = counts + torch.randn(5000, generator=DRAW)
    mean, std = counts.mean().item(), counts.std().item()
    measured = values(numbers((predicted - mean) / std, (counts - mean) / std, mean, std), {"rmsle": {}})["rmsle"]
    assert measured == pytest.approx(reference.root_mean_squared_log_error(counts, predicted.clamp_min(0)), rel=1e-4)


def test_rmsle_refuses_negative_targets():
    with pytest.raises(ConfigError, match=r"metrics\.rmsle: needs targets of at least 0, and the smallest is -2"):
        Metrics(numbers(torch.zeros(2), torch.tensor([-2.0, 5.0])), CPU, {"rmsle": {}})


@pytest.mark.parametrize(("targets", "said"), [([1.5], "1 example has"), ([2.0, 2.0, 2.0], "3 examples have")])
def test_equal_targets_have_no_r2_but_a_sentence(targets: list[float], said: str):
    dataset = numbers(torch.arange(len(targets)).float(), torch.tensor(targets))
    assert "r2" not in values(dataset, {})
    assert "val/r2" not in reported_names(dataset, {})
    assert [*metric_notes(dataset, {})] == [f"val/r2 is not reported: it needs 2 different targets, and the {said} 1"]


def test_one_validation_row_trains_without_r2_and_as_objective_it_is_refused(tmp_path):
    path, single = tmp_path / "many.csv", tmp_path / "one.csv"
    path.write_text("x,y\n" + "".join(f"{i},{2 * i}.5\n" for i in range(30)))
    single.write_text("x,y\n3,6.5\n")
    mapping = LINEAR | {"data": {"name": "csv", "train": str(path), "val": str(single), "target": "y"}, "batch_size": 8}
    result = train(TrainingConfig.from_mapping(mapping))
    assert "val/rmse" in result.metrics
    assert "val/r2" not in result.metrics
    with pytest.raises(ConfigError, match=r"val/r2 is not reported: it needs 2 different targets, and the 1 example"):
        train(TrainingConfig.from_mapping(mapping), monitor=Monitor("val/r2", "maximize"))


def test_a_fold_of_equal_targets_leaves_out_r2_for_all(tmp_path):
    path = tmp_path / "grouped.csv"
    path.write_text("x,y,g\n1,3.5,a\n2,3.5,a\n" + "".join(f"{i},{2 * i}.5,{'bc'[i > 4]}\n" for i in range(9)))
    data = {"name": "csv", "path": str(path), "target": "y", "group": "g", "test_fraction": 0}
    result = train(TrainingConfig.from_mapping(LINEAR | {"data": data, "folds": 3, "batch_size": 1}))
    assert {"val/rmse", "val/rmse/std"} <= set(result.metrics)
    assert "val/r2" not in result.metrics


def test_a_metric_of_ones_own(monkeypatch: pytest.MonkeyPatch, configure):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    def brier(_: Dataset) -> Metric:
        """Brier score: mean squared error of the probabilities."""
        return ExampleMean(lambda p, labels: (p - torch.eye(p.shape[1])[labels]).square().sum(1))

    METRICS.add(brier, kinds=["classification"], direction="minimize", takes="probabilities")
    expected = np.square(P - torch.eye(4)[LABELS].numpy()).sum(1).mean()
    assert values(classes(LOGITS, LABELS), {"brier": {}})["brier"] == pytest.approx(expected, rel=1e-5)
    assert "val/brier" in train(configure(metrics=["brier"], epochs=1)).metrics


def test_a_metric_of_ones_own_that_counts_otherwise_shares_no_counts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    def recall_without_a(dataset: Dataset) -> Metric:
        return MulticlassRecall(dataset.num_classes, average="macro", ignore_index=0)

    METRICS.add(recall_without_a, kinds=["classification"], direction="maximize", takes="classes")
    measured = values(classes(LOGITS, LABELS), {"recall_without_a": {}})
    recalls = reference.recall_score(LABELS, PREDICTED, average=None)
    assert measured["recall_macro"] == pytest.approx(recalls.mean(), rel=1e-5)
    # torchmetrics counts the ignored class as 0.
    assert measured["recall_without_a"] == pytest.approx(recalls[1:].sum() / 4, rel=1e-5)


def test_a_metric_of_ones_own_cannot_be_called_as_another_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(METRICS, "_entries", dict(METRICS._entries))

    def loss(_: Dataset) -> Metric:
        return ExampleMean(lambda outputs, targets: targets)

    METRICS.add(loss)
    with pytest.raises(ConfigError, match=r"metrics\.loss: another metric is called 'loss'; rename yours"):
        Metrics(classes(LOGITS, LABELS), CPU, {"loss": {}})


def test_metrics_are_listed_by_name_or_with_settings(configure):
    config = configure(metrics=["auroc", {"name": "binary_f1", "positive": "class_1"}])
    assert config.metric_settings == {"auroc": {}, "binary_f1": {"positive": "class_1"}}
    assert TrainingConfig.from_mapping(config.to_mapping()) == config
    with pytest.raises(ConfigError, match=r"metrics\[1\]\.name: mcc is listed twice; leave one of the two out"):
        configure(metrics=["mcc", {"name": "mcc"}])
    with pytest.raises(ConfigError, match=r"metrics\[0\]\.positive: missing, but metric 'binary_f1' needs it"):
        configure(metrics=["binary_f1"])
    with pytest.raises(ConfigError, match=r"unknown metric 'aurok'; did you mean 'auroc'"):
        configure(metrics=["aurok"])


def test_every_metric_says_its_kinds_and_its_direction():
    for entry in METRICS:
        assert entry.facts["direction"] in ("minimize", "maximize"), entry.name
        assert entry.facts["kinds"], entry.name
        assert entry.facts["takes"], entry.name
