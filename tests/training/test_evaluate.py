"""Losses and metrics of a split agree with scikit-learn, in the target's unit."""

from collections.abc import Collection

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import nn

from worker.training import ConfigError
from worker.training.components.ensemble import MeanOf
from worker.training.components.link import LINKS, link_of
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import METRIC_NAMES, Metrics, confusion_matrix, reported_names
from worker.training.data import Dataset, Split
from worker.training.evaluate import evaluate

CPU = torch.device("cpu")


def measure(dataset: Dataset, loss: nn.Module, extra: Collection[str] = ()) -> dict[str, float]:
    metrics = Metrics(dataset, CPU, {name: {} for name in extra})
    return evaluate(nn.Identity(), loss, metrics, dataset, ("val", "test_val"))


def test_classification():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(5000, 4, generator=draw)
    labels = torch.randint(0, 4, (5000,), generator=draw)
    dataset = Dataset("classification", {"val": Split(logits, labels)}, class_names=("a", "b", "c", "d"))
    predicted = logits.argmax(1)
    values = measure(dataset, nn.CrossEntropyLoss(), ["auroc", "per_class"])
    assert set(values) == set(reported_names(dataset, {"auroc": {}, "per_class": {}}))
    assert values == pytest.approx(
        {
            "val/loss": reference.log_loss(labels, logits.double().softmax(1)),
            "val/cross_entropy": reference.log_loss(labels, logits.double().softmax(1)),
            "val/accuracy": reference.accuracy_score(labels, predicted),
            "val/precision_macro": reference.precision_score(labels, predicted, average="macro"),
            "val/recall_macro": reference.recall_score(labels, predicted, average="macro"),
            "val/f1_macro": reference.f1_score(labels, predicted, average="macro"),
            "val/auroc": reference.roc_auc_score(labels, logits.softmax(1), multi_class="ovr", average="macro"),
            **{
                f"val/{metric}/{name}": value
                for metric, scores in (
                    ("precision", reference.precision_score(labels, predicted, average=None)),
                    ("recall", reference.recall_score(labels, predicted, average=None)),
                    ("f1", reference.f1_score(labels, predicted, average=None)),
                )
                for name, value in zip("abcd", scores, strict=True)
            },
        },
        rel=1e-4,
    )


@pytest.mark.parametrize(("loss_name", "spread"), [("bce", 3.0), ("cross_entropy", 3.0), ("cross_entropy", 0.05)])
def test_auroc_compares_the_probabilities_that_the_loss_means(loss_name: str, spread: float):
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (500,), generator=draw)
    # Of some examples all classes have large outputs; small spreads stay between 0 and 1, as probabilities do.
    logits = torch.rand(500, 1, generator=draw) + spread * torch.rand(500, 3, generator=draw)
    logits = (logits + spread * torch.eye(3)[labels] / 2) / (1 + 1.5 * spread)
    dataset = Dataset("classification", {"val": Split(logits, labels)}, class_names=("a", "b", "c"))
    loss = LOSSES.create(loss_name, LOSSES.check(loss_name, {}), dataset)
    metrics = Metrics(dataset, CPU, {"auroc": {}}, link_of(loss_name, "classification"))
    measured = evaluate(nn.Identity(), loss, metrics, dataset, ("val",))["val/auroc"]
    p = logits.double().sigmoid() if loss_name == "bce" else logits.double().softmax(1)
    each = [reference.roc_auc_score(labels == index, p[:, index]) for index in range(3)]
    assert measured == pytest.approx(np.mean(each), rel=1e-4)


def test_a_loss_of_ones_own_says_what_its_outputs_stand_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LOSSES, "_entries", dict(LOSSES._entries))

    def mine(_: Dataset) -> nn.Module:
        return nn.MultiLabelSoftMarginLoss()

    LOSSES.add(mine, kinds=["classification"], link="sigmod")
    with pytest.raises(ConfigError, match=r"loss\.name: mine was added with the link 'sigmod'; did you mean 'sigmoid'"):
        link_of("mine", "classification")


@pytest.mark.parametrize("name", LINKS)
def test_the_ensembles_output_stands_for_the_mean_prediction(name: str):
    first, second = (nn.Linear(4, 3) for _ in range(2))
    features, link = torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), LINKS[name]
    with torch.no_grad():
        together = MeanOf([first, second], link)(features)
        mean = (link.inverse(first(features)) + link.inverse(second(features))) / 2
    torch.testing.assert_close(link.inverse(together), mean, atol=1e-5, rtol=0)


def test_regression_metrics_are_in_the_unit_of_the_target():
    draw = torch.Generator().manual_seed(0)
    outputs, targets = (torch.randn(5000, 1, generator=draw) for _ in range(2))
    dataset = Dataset("regression", {"val": Split(outputs, targets)}, target_mean=150.0, target_std=50.0)
    true, predicted = targets.numpy() * 50 + 150, outputs.numpy() * 50 + 150
    assert measure(dataset, nn.MSELoss()) == pytest.approx(
        {
            "val/loss": reference.mean_squared_error(targets, outputs),
            "val/rmse": np.sqrt(reference.mean_squared_error(true, predicted)),
            "val/mse": reference.mean_squared_error(true, predicted),
            "val/mae": reference.mean_absolute_error(true, predicted),
            "val/r2": reference.r2_score(true, predicted),
        },
        rel=1e-4,
    )


def test_one_pass_leaves_nothing_for_the_next():
    split = Split(torch.eye(3), torch.arange(3))
    dataset = Dataset("classification", {"val": split, "test_val": split}, class_names=("a", "b", "c"))
    values = measure(dataset, nn.CrossEntropyLoss())
    assert values["val/accuracy"] == values["test_val/accuracy"] == 1.0
    assert set(values) <= set(METRIC_NAMES["classification"])


def test_language_counts_tokens():
    draw = torch.Generator().manual_seed(0)
    logits, tokens = torch.randn(700, 8, 5, generator=draw), torch.randint(0, 5, (700, 8), generator=draw)
    dataset = Dataset("language", {"val": Split(logits, tokens)}, class_names=tuple("abcde"), vocabulary=5)
    flat, labels = logits.flatten(0, 1), tokens.flatten()
    entropy = reference.log_loss(labels, flat.double().softmax(1))
    assert measure(
        dataset, LOSSES.create("cross_entropy", LOSSES.check("cross_entropy", {}), dataset)
    ) == pytest.approx(
        {
            "val/loss": entropy,
            "val/cross_entropy": entropy,
            "val/perplexity": np.exp(entropy),
            "val/accuracy": reference.accuracy_score(labels, flat.argmax(1)),
        },
        rel=1e-4,
    )


def test_the_confusion_matrix_is_scikit_learns():
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(5000, 4, generator=draw), torch.randint(0, 4, (5000,), generator=draw)
    assert confusion_matrix(logits, labels) == reference.confusion_matrix(labels, logits.argmax(1)).tolist()


def test_a_class_of_a_long_name_goes_by_its_index():
    names = ("a" * 64, "b" * 65)
    dataset = Dataset("classification", {"val": Split(torch.eye(2), torch.arange(2))}, class_names=names)
    values = measure(dataset, nn.CrossEntropyLoss(), ["per_class"])
    assert {name for name in values if name.startswith("val/f1/")} == {f"val/f1/{'a' * 64}", "val/f1/1"}
