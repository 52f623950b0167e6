"""Forty-five sound trainings of eleven datasets, in which the preflight must find next to nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from examples.draw_digits import draw
from worker.training.preflight import SearchedParameter, SearchSpace

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Healthy:
    """One sound training.

    Attributes:
        name: in words.
        train: the mapping `task.train`; a path of `$NAME` is one of `files`.
        space: the searched paths with their values, from low to high.
    """

    name: str
    train: Mapping[str, Any]
    space: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    def search_space(self, files: Mapping[str, str]) -> SearchSpace:
        """The space around the training, with the paths filled in."""
        data = {
            key: files.get(value[1:], value) if isinstance(value, str) and value.startswith("$") else value
            for key, value in self.train["data"].items()
        }
        parameters = {path: SearchedParameter(values) for path, values in self.space.items()}
        return SearchSpace({**self.train, "data": data}, {}, parameters)


def write_files(folder: Path) -> dict[str, str]:
    """Draw and write the data that the repository does not hold, and return the paths of all by name."""
    draw(folder / "digits")
    stream = np.random.default_rng(0)
    images = stream.normal(100, 30, (300, 3, 12, 12)).clip(0, 255)
    labels = stream.integers(0, 3, 300)
    for label in range(3):
        images[labels == label, label, 3:9, 3:9] += 60
    np.savez(folder / "colours.npz", x=images.clip(0, 255).astype(np.uint8), y=labels)
    prices = folder / "prices.csv"
    towns = stream.choice(["north", "south", "west"], 500)
    areas, rooms = stream.uniform(30, 200, 500), stream.integers(1, 7, 500)
    values = areas * 2000 + rooms * 9000 + (towns == "north") * 60_000 + stream.normal(0, 20_000, 500)
    rows = [
        f"{town},{area:.1f},{room},{value:.0f}"
        for town, area, room, value in zip(towns, areas, rooms, values, strict=True)
    ]
    prices.write_text("\n".join(["town,area,rooms,price", *rows]) + "\n", encoding="utf-8")
    return {
        "digits": str(folder / "digits"),
        "colours": str(folder / "colours.npz"),
        "prices": str(prices),
        "diabetes": str(EXAMPLES / "data" / "diabetes.csv"),
        "wards": str(EXAMPLES / "data" / "wards.csv"),
        "numbers": str(EXAMPLES / "data" / "numbers.csv"),
        "license": str(ROOT / "LICENSE"),
    }


def _training(data: dict[str, Any], model: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {
        "data": data, "model": model, "loss": {"name": "cross_entropy"}, "optimizer": {"name": "adamw", "lr": 3e-3},
        "batch_size": 32, "epochs": 15, **others,
    }  # fmt: skip


DIGITS, WINE, CANCER, DIABETES = ({"name": name} for name in ("digits", "wine", "breast_cancer", "diabetes"))
CSV = {"name": "csv", "path": "$diabetes", "target": "progression"}
PRICES = {"name": "csv", "path": "$prices", "target": "price"}
WARDS = {"name": "csv", "path": "$wards", "target": "urgency", "query": "ward"}
NUMBERS = {"name": "texts", "path": "$numbers", "text": "number", "target": "language", "length": 28}
LICENSE = {"name": "text", "path": "$license", "length": 64}
DRAWN = {"name": "images", "path": "$digits", "size": 8, "grayscale": True}
COLOURS = {"name": "npz", "path": "$colours"}
MSE, HUBER, MAE = ({"name": name} for name in ("mse", "huber", "mae"))
MLP = {"name": "mlp"}
SMALL = {"name": "mlp", "hidden": [16]}
BALANCED = {"name": "cross_entropy", "balance": 1.0}
LR: dict[str, Sequence[Any]] = {"optimizer.lr": [1e-4, 1e-1]}


def _opt(name: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, **settings}


QUICK = [
    Healthy("digits mlp", _training(DIGITS, {"name": "mlp", "hidden": [128, 64], "dropout": 0.1}),
            {**LR, "model.dropout": [0.0, 0.6], "batch_size": [16, 32, 64, 128]}),
    Healthy("wine linear sgd", _training(WINE, {"name": "linear"}, optimizer=_opt("sgd", lr=0.05)),
            {"optimizer.momentum": [0.0, 0.9]}),
    Healthy("breast cancer mlp", _training(CANCER, {"name": "mlp", "hidden": [32], "dropout": 0.1},
            schedule={"name": "linear", "warmup": 0.1}), {**LR, "optimizer.weight_decay": [1e-5, 1e-1]}),
    Healthy("diabetes mlp", _training(DIABETES, {"name": "mlp", "hidden": [32]}, loss=HUBER),
            {"loss.delta": [0.1, 2.0]}),
    Healthy("prices mlp", _training(PRICES, {"name": "mlp"}, loss=MSE), {"model.width": [16, 128]}),
    Healthy("wards mlp", _training(WARDS, {"name": "mlp", "hidden": [16]}, loss={"name": "listnet"}, batch_size=8),
            {"loss.name": ["listnet", "ranknet"]}),
    Healthy("numbers gpt", _training(NUMBERS, {"name": "gpt", "depth": 1, "width": 32}), {"model.dropout": [0.0, 0.3]}),
    Healthy("colours lenet", _training(COLOURS, {"name": "lenet"}), LR),
]  # fmt: skip

PROVE = [
    *QUICK,
    Healthy("digits linear", _training(DIGITS, {"name": "linear"}), LR),
    Healthy("digits lenet", _training(DIGITS, {"name": "lenet"}), {"model.activation": ["relu", "tanh", "gelu"]}),
    Healthy("diabetes linear", _training(DIABETES, {"name": "linear"}, loss=MSE), LR),
    Healthy("digits resnet", _training(DIGITS, {"name": "resnet", "width": 8}), {"model.depth": [1, 2]}),
    Healthy("license gpt", _training(LICENSE, {"name": "gpt", "depth": 2, "width": 64}, batch_size=8),
            {"optimizer.lr": [1e-3, 1e-2]}),
    Healthy("digits vit", _training(DIGITS, {"name": "vit", "depth": 2, "width": 32, "patch": 2}),
            {"model.patch": [2, 4]}),
    Healthy("digits lstm", _training(DIGITS, {"name": "lstm", "width": 32}), {"model.width": [16, 64]}),
    Healthy("digits gru", _training(DIGITS, {"name": "gru", "width": 32})),
    Healthy("digits mlp kaiming", _training(DIGITS, {"name": "mlp", "hidden": [64, 64], "init": "kaiming"}),
            {"model.init": ["default", "kaiming", "xavier", "orthogonal"]}),
    Healthy("digits mlp orthogonal tanh", _training(DIGITS, {"name": "mlp", "depth": 3, "init": "orthogonal",
            "activation": "tanh"})),
    Healthy("digits mlp batch norm", _training(DIGITS, {"name": "mlp", "depth": 2, "norm": "batch"}),
            {"model.norm": ["none", "batch", "layer"]}),
    Healthy("digits lenet tanh sgd", _training(DIGITS, {"name": "lenet", "activation": "tanh"},
            optimizer=_opt("sgd", lr=0.02)), {"optimizer.nesterov": [False, True]}),
    Healthy("digits resnet sgd", _training(DIGITS, {"name": "resnet", "width": 8},
            optimizer=_opt("sgd", lr=0.05))),
    Healthy("digits focal", _training(DIGITS, {"name": "mlp"}, loss={"name": "focal"}), {"loss.gamma": [0.0, 5.0]}),
    Healthy("digits bce", _training(DIGITS, MLP, loss={"name": "bce"}), {"loss.label_smoothing": [0.0, 0.2]}),
    Healthy("digits mixup", _training(DIGITS, MLP, augment={"name": "mixup"}), {"augment.alpha": [0.1, 1.0]}),
    Healthy("digits ema", _training(DIGITS, {"name": "mlp"}, ema_decay=0.99), {"ema_decay": [0.9, 0.999]}),
    Healthy("digits folds", _training(DIGITS, {"name": "mlp"}, folds=3), {"data.seed": [0, 1]}),
    Healthy("digits few examples", _training({**DIGITS, "limit": 200}, {"name": "mlp"}), {"data.limit": [100, 400]}),
    Healthy("wine mlp rmsprop", _training(WINE, SMALL, optimizer=_opt("rmsprop", lr=3e-3))),
    Healthy("wine mlp adagrad", _training(WINE, SMALL, optimizer=_opt("adagrad", lr=0.03))),
    Healthy("wine mlp adadelta", _training(WINE, SMALL, optimizer=_opt("adadelta"))),
    Healthy("breast cancer linear", _training(CANCER, {"name": "linear"}, loss=BALANCED),
            {"loss.balance": [0.0, 1.0]}),
    Healthy("breast cancer nadam", _training(CANCER, {"name": "mlp"}, optimizer=_opt("nadam", lr=2e-3)),
            {"schedule.name": ["constant", "cosine", "one_cycle"]}),
    Healthy("breast cancer radam", _training(CANCER, {"name": "mlp"}, optimizer=_opt("radam", lr=5e-3))),
    Healthy("diabetes mae", _training(CSV, {"name": "mlp", "hidden": [64]}, loss=MAE), LR),
    Healthy("diabetes deep", _training(CSV, {"name": "mlp", "depth": 3, "width": 32}, loss=MSE, clip_norm=1.0),
            {"clip_norm": [0.5, 5.0]}),
    Healthy("diabetes adamax", _training(DIABETES, {"name": "mlp", "hidden": [16]}, loss=MSE,
            optimizer=_opt("adamax", lr=0.01))),
    Healthy("prices linear", _training(PRICES, {"name": "linear"}, loss=MSE, optimizer=_opt("sgd", lr=0.02))),
    Healthy("prices embedded", _training({**PRICES, "categories": "embedded"}, {"name": "mlp"}, loss=HUBER),
            {"model.depth": [1, 3]}),
    Healthy("wards linear ranknet", _training(WARDS, {"name": "linear"}, loss={"name": "ranknet"}, batch_size=8)),
    Healthy("numbers lstm", _training(NUMBERS, {"name": "lstm", "width": 32}), {"model.width": [16, 64]}),
    Healthy("license lstm", _training(LICENSE, {"name": "lstm", "width": 64}, batch_size=8), LR),
    Healthy("drawn lenet crops", _training(DRAWN, {"name": "lenet"}, augment={"name": "images", "crop": 1},
            loss={"name": "cross_entropy", "label_smoothing": 0.05}, schedule={"name": "one_cycle"}),
            {"loss.label_smoothing": [0.0, 0.2]}),
    Healthy("drawn resnet", _training(DRAWN, {"name": "resnet", "width": 8, "dropout": 0.2})),
    Healthy("colours resnet", _training(COLOURS, {"name": "resnet", "width": 8}), {"model.width": [8, 16]}),
    Healthy("colours mlp", _training(COLOURS, {"name": "mlp", "norm": "layer"})),
]  # fmt: skip
