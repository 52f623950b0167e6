"""Trainings with planted faults, for the benchmark of remedies: what is wrong, on which data, and the study of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

RATE = "optimizer.lr"

DATA: Mapping[str, dict[str, Any]] = {
    "digits": {"name": "digits", "limit": 700},
    "wine": {"name": "wine"},
    "breast_cancer": {"name": "breast_cancer"},
    "diabetes": {"name": "diabetes"},
}
EPOCHS = 30


class Case(NamedTuple):
    """One training with a planted fault: its configuration is enqueued in a study that searches the rate.

    Attributes:
        fault: what is wrong.
        data: the data set.
        train: the task.
        rate: the learning rate of the faulty configuration.
    """

    fault: str
    data: str
    train: dict[str, Any]
    rate: float

    @property
    def name(self) -> str:
        """The name of its study."""
        return f"{self.fault}-{self.data}".replace(" ", "-").replace("_", "-")

    @property
    def spec(self) -> dict[str, Any]:
        """Its study, which has one trial."""
        metric = "val/mse" if self.data == "diabetes" else "val/cross_entropy"
        return {
            "name": self.name,
            "objective": {"metric": metric, "direction": "minimize"},
            "task": {"train": self.train},
            "space": {RATE: {"type": "float", "low": 1e-5, "high": 10.0, "log": True}},
            "sampler": "random",
            "budget": {"trials": 1},
            "preflight": "off",
        }


def _train(on: str, **changes: Any) -> dict[str, Any]:
    return {
        "data": dict(DATA[on]),
        "model": {"name": "mlp", "hidden": [64]},
        "loss": {"name": "mse" if on == "diabetes" else "cross_entropy"},
        "optimizer": {"name": "adamw"},
        "batch_size": 32,
        "epochs": EPOCHS,
    } | changes


def _few(data: str) -> dict[str, Any]:
    return {**DATA[data], "limit": 60}


def cases() -> list[Case]:
    """Return every fault on every data set on which it shows."""
    found = []
    for data in DATA:
        found += [
            Case("rate too high", data, _train(data, optimizer={"name": "sgd", "momentum": 0.9}), 5.0),
            Case("rate too low", data, _train(data), 2e-5),
            Case("too few epochs", data, _train(data, epochs=10), 5e-4),
            Case("overfitting", data, _train(data, data=_few(data), model={"name": "mlp", "hidden": [512, 512]}), 3e-3),
            Case("decayed too early", data, _train(data, schedule={"name": "step", "every": 0.1}), 1e-3),
            Case("too much dropout", data, _train(data, model={"name": "mlp", "hidden": [16], "dropout": 0.95}), 3e-3),
            Case("too much decay", data, _train(data, optimizer={"name": "sgd", "weight_decay": 1.0}), 0.03),
        ]
    for data in ("digits", "wine"):
        found.append(Case("model too small", data, _train(data, model={"name": "mlp", "hidden": [1]}), 3e-3))
        found.append(Case("rate oscillates", data, _train(data, batch_size=8), 0.2))
    return found
