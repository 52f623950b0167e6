"""Groups of trainings: a sound training each, and variants of it with other rates and lengths, or broken in one way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

DIGITS, WINE, CANCER, DIABETES = ({"name": name} for name in ("digits", "wine", "breast_cancer", "diabetes"))
PRICES = {"name": "csv", "path": "$prices", "target": "price"}
WARDS = {"name": "csv", "path": "$wards", "target": "urgency", "query": "ward"}
NUMBERS = {"name": "texts", "path": "$numbers", "text": "number", "target": "language", "length": 28}
LICENSE = {"name": "text", "path": "$license", "length": 64}
DRAWN = {"name": "images", "path": "$digits", "size": 8, "grayscale": True}
COLOURS = {"name": "npz", "path": "$colours"}
CE, MSE, HUBER, MAE = ({"name": name} for name in ("cross_entropy", "mse", "huber", "mae"))
CONSTANT, COSINE = {"name": "constant"}, {"name": "cosine"}
WARM = {"name": "linear", "warmup": 0.1}


@dataclass(frozen=True)
class Group:
    """A sound training and what is varied about it.

    Attributes:
        name: in words.
        train: the mapping `task.train` at the rate and length that are thought best; criteria decide, not this.
        rates: factors of the rate to train with.
        lengths: factors of the length to train with, each at every factor of the rate in `length_rates`.
        planted: whether to train the variants of `planted.py` too.
        norms: whether the trainings report `norm/…`.
    """

    name: str
    train: Mapping[str, Any]
    rates: tuple[float, ...] = (
        0.001, 0.003, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0, 30.0, 100.0, 1000.0,
    )  # fmt: skip
    lengths: tuple[float, ...] = (0.33, 2.0, 4.0)
    length_rates: tuple[float, ...] = (0.3, 1.0, 3.0)
    planted: bool = True
    norms: bool = field(default=True)


def _group(
    name: str,
    data: dict[str, Any],
    model: dict[str, Any],
    optimizer: tuple[str, float],
    *,
    loss: Mapping[str, Any] = CE,
    schedule: Mapping[str, Any] = CONSTANT,
    batch_size: int = 32,
    epochs: int = 15,
    settings: Mapping[str, Any] | None = None,
    **others: Any,
) -> Group:
    train = {
        "data": data, "model": model, "loss": loss, "optimizer": {"name": optimizer[0], "lr": optimizer[1]},
        "schedule": schedule, "batch_size": batch_size, "epochs": epochs, **(settings or {}),
    }  # fmt: skip
    return Group(name, train, **others)


def _mlp(*hidden: int, **settings: Any) -> dict[str, Any]:
    return {"name": "mlp", "hidden": list(hidden), **settings}


SLOW: dict[str, Any] = {
    "rates": (0.001, 0.01, 0.1, 1.0, 30.0),
    "lengths": (0.33, 3.0),
    "length_rates": (1.0,),
    "planted": False,
}
"""What is varied about a training of many seconds."""

GROUPS = [
    _group("digits mlp adamw", DIGITS, _mlp(64), ("adamw", 3e-3), batch_size=64, epochs=15),
    _group("digits mlp sgd cosine", DIGITS, _mlp(64), ("sgd", 0.03), schedule=COSINE, epochs=12, norms=False),
    _group("digits deep dropout", DIGITS, _mlp(128, 64, dropout=0.2), ("adamw", 2e-3), schedule=COSINE, batch_size=64),
    _group("digits batch norm", DIGITS, _mlp(64, 64, norm="batch"), ("adam", 3e-3), batch_size=128, epochs=12),
    _group("digits linear", DIGITS, {"name": "linear"}, ("adam", 0.01), batch_size=64, epochs=12, norms=False),
    _group("digits tanh warm-up", DIGITS, _mlp(64, 64, activation="tanh"), ("nadam", 2e-3), schedule=WARM, epochs=12),
    _group("digits half plateau", {**DIGITS, "limit": 500}, _mlp(64), ("adamw", 3e-3), schedule={"name": "plateau"},
           epochs=25),
    _group("digits label smoothing", DIGITS, _mlp(64), ("adamw", 3e-3), batch_size=64,
           loss={"name": "cross_entropy", "label_smoothing": 0.1}, norms=False, planted=False),
    _group("digits mixup", DIGITS, _mlp(64), ("adamw", 3e-3), batch_size=64, epochs=20,
           settings={"augment": {"name": "mixup"}}, norms=False, planted=False),
    _group("digits ema", DIGITS, _mlp(64), ("adamw", 3e-3), batch_size=64, settings={"ema_decay": 0.98}, planted=False),
    _group("wine mlp adamw", WINE, _mlp(16), ("adamw", 5e-3), batch_size=16, epochs=25),
    _group("wine linear sgd", WINE, {"name": "linear"}, ("sgd", 0.05), schedule=CONSTANT, epochs=25, norms=False),
    _group("wine mlp rmsprop cosine", WINE, _mlp(32, 16), ("rmsprop", 2e-3), schedule=COSINE, batch_size=16, epochs=20),
    _group("cancer mlp adamw", CANCER, _mlp(32, dropout=0.1), ("adamw", 3e-3), epochs=15),
    _group("cancer linear sgd cosine", CANCER, {"name": "linear"}, ("sgd", 0.03), schedule=COSINE, norms=False),
    _group("cancer nadam warm-up", CANCER, _mlp(32, 32), ("nadam", 1e-3), schedule=WARM, epochs=12),
    _group("diabetes mlp huber", DIABETES, _mlp(32), ("adamw", 2e-3), loss=HUBER, epochs=15),
    _group("diabetes linear", DIABETES, {"name": "linear"}, ("adam", 0.01), loss=MSE, epochs=20, norms=False),
    _group("diabetes small decay", DIABETES, _mlp(16), ("adamw", 5e-3), loss=MSE, schedule=COSINE, epochs=20),
    _group("diabetes mae", DIABETES, _mlp(32), ("sgd", 0.01), loss=MAE, schedule=CONSTANT, epochs=20, norms=False),
    _group("prices mlp", PRICES, _mlp(64), ("adamw", 3e-3), loss=MSE, epochs=15),
    _group("prices linear sgd", PRICES, {"name": "linear"}, ("sgd", 0.01), loss=MSE, schedule=CONSTANT, epochs=10,
           norms=False),
    _group("prices embedded huber", {**PRICES, "categories": "embedded"}, _mlp(32), ("adamw", 3e-3), loss=HUBER,
           schedule=COSINE, epochs=15, planted=False),
    _group("wards mlp listnet", WARDS, _mlp(16), ("adamw", 5e-3), loss={"name": "listnet"}, batch_size=8, epochs=15,
           planted=False),
    _group("wards linear ranknet", WARDS, {"name": "linear"}, ("adam", 0.02), loss={"name": "ranknet"}, batch_size=8,
           planted=False, norms=False),
    _group("drawn mlp", DRAWN, _mlp(64), ("adamw", 3e-3), epochs=15),
    _group("drawn mlp sgd warm-up", DRAWN, _mlp(64, 32), ("sgd", 0.03), schedule=WARM, epochs=15, norms=False,
           planted=False),
    _group("colours mlp layer norm", COLOURS, _mlp(32, norm="layer"), ("adamw", 1e-3), epochs=12),
    _group("colours lenet", COLOURS, {"name": "lenet"}, ("adamw", 1e-3), epochs=10, **SLOW),
    _group("digits lenet", DIGITS, {"name": "lenet"}, ("adamw", 2e-3), batch_size=64, epochs=10, **SLOW),
    _group("digits gru", DIGITS, {"name": "gru", "width": 32}, ("adamw", 5e-3), batch_size=64, epochs=10, **SLOW),
    _group("numbers lstm", NUMBERS, {"name": "lstm", "width": 32}, ("adamw", 5e-3), epochs=12, **SLOW),
    _group("license gpt", LICENSE, {"name": "gpt", "depth": 1, "width": 32}, ("adamw", 3e-3), batch_size=8, epochs=10,
           **SLOW),
]  # fmt: skip


def rate_and_length_variants(group: Group) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the variants of rate and length: name and configuration."""
    for rate in group.rates:
        yield f"rate {rate:g}", with_rate(group.train, rate)
    for length in group.lengths:
        for rate in group.length_rates:
            yield f"rate {rate:g} length {length:g}", with_length(with_rate(group.train, rate), length)


def with_rate(train: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the training at another rate."""
    return {**train, "optimizer": {**train["optimizer"], "lr": train["optimizer"]["lr"] * factor}}


def with_length(train: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """Return the training at another number of epochs."""
    return {**train, "epochs": max(4, round(train["epochs"] * factor))}
