"""Every loss against scikit-learn or a hand computation."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from worker.training import ConfigError
from worker.training.components.losses import LOSSES
from worker.training.data import Dataset, Split

DRAW = torch.Generator().manual_seed(0)
LOGITS = torch.randn(200, 3, generator=DRAW)
LABELS = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 200, replacement=True, generator=DRAW)
ONE_HOT = torch.eye(3)[LABELS].double().numpy()
OUTPUTS, VALUES = (torch.randn(200, 1, generator=DRAW) for _ in range(2))
LOG_P = LOGITS.double().log_softmax(1).numpy()
P = np.exp(LOG_P)
TRUE_P = P[np.arange(200), LABELS]
FLOWERS = Dataset("classification", {"train": Split(LOGITS, LABELS)}, class_names=("a", "b", "c"))
PRICES = Dataset("regression", {"train": Split(OUTPUTS, VALUES)})


def create(name: str, dataset: Dataset = FLOWERS, **settings: Any) -> nn.Module:
    return LOSSES.create(name, LOSSES.check(name, settings), dataset)


def balanced() -> Tensor:
    return torch.from_numpy(compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy()))


def smoothed(share: float) -> np.ndarray[Any, Any]:
    return ONE_HOT * (1 - share) + share / 3


def binary(wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The mean over classes of the binary cross entropies, for each example."""
    p = LOGITS.double().sigmoid().numpy()
    return -(wanted * np.log(p) + (1 - wanted) * np.log(1 - p)).mean(1)


WEIGHED: dict[str, Any] = {"class_weights": [1.0, 2.0, 0.5]}
WEIGHTS = np.array([1.0, 2.0, 0.5])[LABELS]


OF_CLASSES: list[tuple[str, dict[str, Any], float]] = [
    ("cross_entropy", {}, reference.log_loss(LABELS, P)),
    ("cross_entropy", WEIGHED, (WEIGHTS * -np.log(TRUE_P)).mean()),
    ("cross_entropy", {"balance": 1}, reference.log_loss(LABELS, P, sample_weight=balanced()[LABELS])),
    ("cross_entropy", {"label_smoothing": 0.1}, -(smoothed(0.1) * LOG_P).sum(1).mean()),
    ("focal", {"gamma": 0}, reference.log_loss(LABELS, P)),
    ("focal", {}, ((1 - TRUE_P) ** 2 * -np.log(TRUE_P)).mean()),
    ("focal", WEIGHED | {"gamma": 0.5}, (WEIGHTS * (1 - TRUE_P) ** 0.5 * -np.log(TRUE_P)).mean()),
    ("bce", {}, np.mean([reference.log_loss(ONE_HOT[:, k], LOGITS[:, k].double().sigmoid()) for k in range(3)])),
    ("bce", {"label_smoothing": 0.3}, binary(smoothed(0.3)).mean()),
    ("bce", WEIGHED, (WEIGHTS * binary(ONE_HOT)).mean()),
]


@pytest.mark.parametrize(("name", "settings", "expected"), OF_CLASSES)
def test_losses_of_classification(name: str, settings: dict[str, Any], expected: float):
    assert create(name, **settings)(LOGITS, LABELS).item() == pytest.approx(expected, rel=1e-5)


OF_VALUES: list[tuple[str, dict[str, Any], float]] = [
    ("mse", {}, reference.mean_squared_error(VALUES, OUTPUTS)),
    ("mae", {}, reference.mean_absolute_error(VALUES, OUTPUTS)),
    ("huber", {"delta": 1e6}, 0.5 * reference.mean_squared_error(VALUES, OUTPUTS)),
    ("huber", {"delta": 1e-3}, 1e-3 * reference.mean_absolute_error(VALUES, OUTPUTS)),
]


@pytest.mark.parametrize(("name", "settings", "expected"), OF_VALUES)
def test_losses_of_regression(name: str, settings: dict[str, Any], expected: float):
    assert create(name, PRICES, **settings)(OUTPUTS, VALUES).item() == pytest.approx(expected, rel=2e-3)


def test_every_loss_is_compared():
    elsewhere = {"distill"} | {entry.name for entry in LOSSES if entry.facts["kinds"] == ["ranking"]}
    assert {name for name, _, _ in [*OF_CLASSES, *OF_VALUES]} == {entry.name for entry in LOSSES} - elsewhere


# `distill` is cross_entropy but for a teacher, which is a checkpoint: test_distillation.
ALONE = [entry for entry in LOSSES if entry.name != "distill"]
CLASSIFYING = [entry.name for entry in ALONE if "classification" in entry.facts["kinds"]]


@pytest.mark.parametrize("settings", [{}, {"balance": 1}])
@pytest.mark.parametrize("name", CLASSIFYING)
def test_the_loss_of_a_batch_is_that_of_its_parts(name: str, settings: dict[str, Any]):
    loss = create(name, **settings)
    parts = 0.3 * loss(LOGITS[:60], LABELS[:60]) + 0.7 * loss(LOGITS[60:], LABELS[60:])
    assert parts.item() == pytest.approx(loss(LOGITS, LABELS).item(), rel=1e-6)


@pytest.mark.parametrize("name", [entry.name for entry in ALONE if "language" in entry.facts["kinds"]])
def test_every_token_is_an_example(name: str):
    loss = create(name, balance=1)
    assert torch.equal(loss(LOGITS.view(20, 10, 3), LABELS.view(20, 10)), loss(LOGITS, LABELS))


@pytest.mark.parametrize("balance", [0.3, 1.0])
def test_balancing_leaves_the_mean_weight_at_one(balance: float):
    weights = create("cross_entropy", balance=balance).weights
    assert weights[LABELS].mean().item() == pytest.approx(1)
    assert weights[2] > weights[1] > weights[0]


@pytest.mark.parametrize("name", CLASSIFYING)
def test_a_certain_answer_has_a_finite_gradient(name: str):
    logits = torch.tensor([[1000.0, -1000.0, -1000.0]], requires_grad=True)
    settings = {"gamma": 0.5} if name == "focal" else {}
    create(name, **settings)(logits, torch.tensor([0])).backward()
    assert torch.isfinite(logits.grad).all()


def test_weights_for_other_classes_are_refused():
    with pytest.raises(ConfigError, match=r"loss\.class_weights: there are 2 weights for 3 classes"):
        create("cross_entropy", class_weights=[1, 2])
    with pytest.raises(ConfigError, match=r"loss\.balance: can't be combined with class_weights"):
        create("focal", class_weights=[1, 2, 3], balance=1)
