"""Faults that DeepFD, AutoTrainer and DEFault describe, re-created with the training core.

The descriptions are those of the papers, and the code is our own. The set was written after the rules of one trial were
committed, and no rule was changed for it. What counts as detected and as the right cause was decided with the fault.

- AutoTrainer: Zhang et al., "AUTOTRAINER: An Automatic DNN Training Problem Detection and Repair System", ICSE 2021:
  five problems (vanishing gradients, exploding gradients, dying ReLU, oscillating loss, slow convergence).
- DeepFD: Cao et al., "DeepFD: Automated Fault Diagnosis and Localization for Deep Learning Programs", ICSE 2022
  (arXiv 2205.01938): five kinds of fault (loss, optimizer, activation, learning rate, number of epochs).
- DEFault: Jahan et al., "Improved Detection and Diagnosis of Faults in Deep Neural Networks", ICSE 2025 (arXiv
  2501.12560): seven kinds (hyperparameter, layer, loss, optimization, activation, weights, regularization).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DIGITS, WINE, CANCER, DIABETES, CIRCLES = (
    {"name": name} for name in ("digits", "wine", "breast_cancer", "diabetes", "circles")
)
TOO_FAST = ("diverged", "exploding", "rate_too_high", "oscillating", "exploding_gradients", "bad_initialization")
TOO_SLOW = ("rate_too_low", "still_improving")
NO_GRADIENT = ("vanishing_gradients", "dead_units", "stalled", "flat_then_drop")
POOR = ("underfitting", "stalled", *TOO_SLOW, "plateau", "dead_units", "flat_then_drop", "bad_initialization")


@dataclass(frozen=True)
class PublishedFault:
    """One re-created fault.

    Attributes:
        name: in words.
        source: the paper, with its kind of fault.
        config: what differs from the sound training of its data, by section and setting.
        causes: the rules of which one must be named first for the right cause.
        family: the rules of which any finding counts as detected, in addition to `causes`.
        fault: the way in which the data is broken, one of `broken_parts.BREAKS`; None: it is sound.
    """

    name: str
    source: str
    config: Mapping[str, Any]
    causes: tuple[str, ...]
    family: tuple[str, ...] = field(default=())
    fault: str | None = None


def _training(data: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a sound training of the data with changed sections."""
    return {
        "data": data, "model": {"name": "mlp", "hidden": [32]},
        "loss": {"name": "mse" if data["name"] == "diabetes" else "cross_entropy"},
        "optimizer": {"name": "adam", "lr": 3e-3}, "schedule": {"name": "constant"}, "batch_size": 32, "epochs": 20,
        "callbacks": [{"name": "norms"}], **changes,
    }  # fmt: skip


def _model(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, **settings}


def _opt(name: str, lr: float, **settings: Any) -> dict[str, Any]:
    return {"name": name, "lr": lr, **settings}


FAULTS = [
    # AutoTrainer's five problems
    PublishedFault("ten layers of sigmoids", "AutoTrainer: vanishing gradient",
        _training(DIGITS, model=_model("deep_sigmoids", depth=10)), ("vanishing_gradients",), NO_GRADIENT),
    PublishedFault("eight layers of sigmoids, SGD", "AutoTrainer: vanishing gradient",
        _training(CANCER, model=_model("deep_sigmoids", depth=8), optimizer=_opt("sgd", 0.01)),
        ("vanishing_gradients",), NO_GRADIENT),
    PublishedFault("tanh layers with weights of deviation 0.01", "AutoTrainer: vanishing gradient",
        _training(CIRCLES, model=_model("normal_start", depth=6, std=0.01, activation="tanh")),
        ("vanishing_gradients", "stalled", "flat_then_drop"), NO_GRADIENT),
    PublishedFault("weights of deviation 1 in eight layers", "AutoTrainer: exploding gradient",
        _training(DIGITS, model=_model("normal_start", depth=8, std=1.0), optimizer=_opt("sgd", 0.01)),
        ("exploding_gradients", "diverged", "bad_initialization", "exploding"), TOO_FAST),
    PublishedFault("weights of deviation 2 in five layers", "AutoTrainer: exploding gradient",
        _training(CIRCLES, model=_model("normal_start", depth=5, std=2.0)),
        ("exploding_gradients", "diverged", "bad_initialization", "exploding"), TOO_FAST),
    PublishedFault("squared error of targets a thousand times too large", "AutoTrainer: exploding gradient",
        _training(DIABETES, optimizer=_opt("sgd", 0.01)), ("diverged", "exploding_gradients", "exploding",
        "bad_initialization"), TOO_FAST, fault="targets not scaled"),
    PublishedFault("ReLU units with negative weights and biases", "AutoTrainer: dying ReLU",
        _training(DIGITS, model=_model("dead_units", dead=0.95)), ("dead_units",), NO_GRADIENT),
    PublishedFault("all ReLU units dead", "AutoTrainer: dying ReLU",
        _training(WINE, model=_model("dead_units", dead=1.0)), ("dead_units", "vanishing_gradients"), NO_GRADIENT),
    PublishedFault("a rate that kills the ReLU units", "AutoTrainer: dying ReLU",
        _training(DIGITS, model={"name": "mlp", "hidden": [32, 32]}, optimizer=_opt("adam", 1.0)),
        ("dead_units", "rate_too_high"), (*TOO_FAST, *NO_GRADIENT)),
    PublishedFault("momentum of 0.99 at a high rate", "AutoTrainer: oscillating loss",
        _training(DIGITS, optimizer=_opt("sgd", 0.1, momentum=0.99)), ("oscillating", "rate_too_high", "diverged"),
        (*TOO_FAST, "stalled", "dead_units")),
    PublishedFault("single examples at a high rate", "AutoTrainer: oscillating loss",
        _training(WINE, optimizer=_opt("adam", 0.1), batch_size=1), ("oscillating", "rate_too_high"),
        (*TOO_FAST, "dead_units", "plateau")),
    PublishedFault("a rate of 0.3 on circles", "AutoTrainer: oscillating loss",
        _training(CIRCLES, optimizer=_opt("adam", 0.3)), ("oscillating", "rate_too_high"),
        (*TOO_FAST, "dead_units", "plateau", "stalled")),
    PublishedFault("SGD at a rate of 1e-5", "AutoTrainer: slow convergence",
        _training(DIGITS, optimizer=_opt("sgd", 1e-5)), TOO_SLOW, ("stalled",)),
    PublishedFault("Adam at a rate of 1e-6", "AutoTrainer: slow convergence",
        _training(CANCER, optimizer=_opt("adam", 1e-6)), TOO_SLOW, ("stalled",)),
    PublishedFault("SGD at a rate of 1e-4 on circles", "AutoTrainer: slow convergence",
        _training(CIRCLES, optimizer=_opt("sgd", 1e-4)), TOO_SLOW, ("stalled",)),
    # DeepFD's five kinds of fault
    PublishedFault("squared error of class probabilities", "DeepFD: loss",
        _training(DIGITS, loss={"name": "squared_probabilities"}, optimizer=_opt("sgd", 0.01)),
        (*TOO_SLOW, "stalled", "underfitting"), POOR),
    PublishedFault("cross entropy of probabilities in place of logits", "DeepFD: loss",
        _training(DIGITS, model=_model("with_softmax")), ("underfitting", "stalled"), POOR),
    PublishedFault("loss of the wrong sign", "DeepFD: loss",
        _training(WINE, loss={"name": "negated"}), ("diverged", "exploding", "rate_too_high"),
        (*TOO_FAST, "stalled", "rate_too_low", "still_improving")),
    PublishedFault("Adadelta at a rate of 0.001", "DeepFD: optimizer",
        _training(DIGITS, optimizer=_opt("adadelta", 1e-3)), TOO_SLOW, ("stalled",)),
    PublishedFault("SGD without momentum where Adam is needed", "DeepFD: optimizer",
        _training(DIGITS, model=_model("mlp", hidden=[32, 32, 32], activation="tanh"),
        optimizer=_opt("sgd", 1e-3, momentum=0.0)), TOO_SLOW, ("stalled", "flat_then_drop", "underfitting")),
    PublishedFault("sigmoids between six layers", "DeepFD: activation",
        _training(WINE, model=_model("deep_sigmoids", depth=6)), ("vanishing_gradients", "flat_then_drop"),
        NO_GRADIENT),
    PublishedFault("no activation between the layers", "DeepFD: activation",
        _training(CIRCLES, model=_model("deep_linear", depth=3)), ("underfitting", "stalled"), POOR),
    PublishedFault("a rate of 0.5", "DeepFD: learning rate",
        _training(CANCER, optimizer=_opt("adam", 0.5), model={"name": "mlp", "hidden": [32, 32]}),
        ("rate_too_high", "oscillating", "exploding_gradients", "bad_initialization"),
        (*TOO_FAST, "dead_units", "plateau")),
    PublishedFault("a rate of 10 with SGD", "DeepFD: learning rate",
        _training(WINE, optimizer=_opt("sgd", 10.0)), ("diverged", "rate_too_high", "oscillating", "exploding"),
        (*TOO_FAST, "dead_units", "stalled")),
    PublishedFault("a rate of 1e-5", "DeepFD: learning rate",
        _training(WINE, optimizer=_opt("adam", 1e-5)), ("rate_too_low",), (*TOO_SLOW, "stalled")),
    PublishedFault("five epochs on wine", "DeepFD: epochs",
        _training(WINE, optimizer=_opt("adam", 1e-3), epochs=5), ("still_improving", "rate_too_low"), TOO_SLOW),
    PublishedFault("six epochs on cancer with SGD", "DeepFD: epochs",
        _training(CANCER, optimizer=_opt("sgd", 1e-3), epochs=6), ("still_improving", "rate_too_low"), TOO_SLOW),
    PublishedFault("ten epochs on circles", "DeepFD: epochs",
        _training(CIRCLES, optimizer=_opt("adam", 1e-3), epochs=10), ("still_improving", "rate_too_low"), TOO_SLOW),
    # DEFault's kinds
    PublishedFault("batch of all examples", "DEFault: hyperparameter",
        _training(DIGITS, batch_size=1079, epochs=15), ("still_improving", "rate_too_low"), TOO_SLOW),
    PublishedFault("all weights begin at 0", "DEFault: weights",
        _training(DIGITS, model=_model("constant_start", value=0.0)), ("stalled", "dead_units", "vanishing_gradients"),
        (*NO_GRADIENT, "underfitting")),
    PublishedFault("all weights begin at 1", "DEFault: weights",
        _training(DIGITS, model=_model("constant_start", value=1.0)), ("bad_initialization", "exploding_gradients",
        "stalled", "underfitting"), (*TOO_FAST, *POOR)),
    PublishedFault("weights uniform from 0 to 1 in four layers", "DEFault: weights",
        _training(CANCER, model=_model("uniform_start", depth=4)),
        ("bad_initialization", "exploding_gradients", "diverged"), (*TOO_FAST, "dead_units")),
    PublishedFault("dropout of 0.9", "DEFault: regularization",
        _training(CANCER, model=_model("mlp", hidden=[32, 32], dropout=0.9)), ("underfitting",), POOR),
    PublishedFault("L2 penalty of 1", "DEFault: regularization",
        _training(DIGITS, optimizer=_opt("adam", 3e-3, weight_decay=1.0)), ("underfitting", "stalled"), POOR),
    PublishedFault("no regularization on 60 examples", "DEFault: regularization",
        _training({**DIGITS, "limit": 60}, model=_model("mlp", hidden=[256, 256]), epochs=60), ("overfitting",),
        ("high_variance", "best_step_early")),
    PublishedFault("a layer of one unit", "DEFault: layer",
        _training(DIGITS, model=_model("mlp", hidden=[32, 1]), epochs=40), ("underfitting",), POOR),
    PublishedFault("twenty layers without norms or residuals", "DEFault: layer",
        _training(WINE, model=_model("mlp", depth=20, width=16)), ("vanishing_gradients", "stalled", "flat_then_drop"),
        NO_GRADIENT),
    PublishedFault("inputs that are not scaled", "DEFault: layer (missing normalization)",
        _training(WINE, optimizer=_opt("sgd", 0.01)), ("bad_initialization", "diverged", "exploding_gradients",
        "rate_too_high", "exploding"), TOO_FAST, fault="features not scaled"),
    PublishedFault("ReLU on the output of a regression", "DEFault: activation",
        _training(DIABETES, model=_model("with_relu_output")), ("underfitting", "dead_units"),
        (*POOR, "high_variance")),
    PublishedFault("sigmoid on the output of a regression", "DEFault: activation",
        _training(DIABETES, model=_model("with_sigmoid_output")), ("underfitting",), (*POOR, "high_variance")),
    PublishedFault("labels in another order than the examples", "DEFault: data (label encoding)",
        _training(DIGITS), ("noisy_labels",), ("overfitting", "high_variance", "stalled"), fault="labels permuted"),
    PublishedFault("validation labels encoded by another mapping", "DEFault: data (label encoding)",
        _training(DIGITS), ("noisy_labels",), ("overfitting", "high_variance"), fault="validation labels shifted"),
    PublishedFault("one class in fifty", "DeepFD and DEFault: data (imbalance)",
        _training(CANCER), ("stalled", "overfitting", "high_variance"), ("underfitting", "noisy_labels"),
        fault="one class rare"),
]  # fmt: skip
"""The faults, in the order of their papers."""
