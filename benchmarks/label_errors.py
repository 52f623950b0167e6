"""Measures how many of the flipped labels `study errors` ranks among the likeliest label errors.

`python -m benchmarks.label_errors --out benchmarks/results/label_errors.md`. For each data set and seed, 3 % of all
labels are flipped to another class, before the data are split: in training, validation and test alike. A random
search of a few trials trains on them as a study would, and the command's own functions choose the good trials and rank
the validation examples. Recall is the share of the flipped validation labels among the worst 5 % of the validation
examples. It is measured with a fifth of the data for validation, and with `folds: 5`, where every example outside the
test set validates once.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets

from benchmarks.machine import machine
from service.cli.errors.label_errors import label_scores, num_independent, trials_within_noise
from service.cli.errors.predictions import SplitPredictions
from worker.training import TrainingConfig, train

FLIPPED, WORST = 0.03, 0.05
SEEDS, TRIALS = 5, 6
TARGET = 0.60
"""The share of the flipped labels that must be found."""


class Data(NamedTuple):
    """Examples with clean labels, and the sections of a train task that learns them."""

    examples: NDArray[Any]
    labels: NDArray[np.int64]
    task: dict[str, Any]


class Found(NamedTuple):
    """One data set, seed and way of validation."""

    num_examples: int
    num_flipped: int
    recall: float
    suspects: int
    right_suspects: int
    accuracy: float
    trials: int
    independent: float


def _mlp(*hidden: int) -> dict[str, Any]:
    return {"name": "mlp", "hidden": list(hidden)}


def digits() -> Data:
    """Digits of 8 by 8 pixels, 10 classes (UCI)."""
    bunch = datasets.load_digits()
    return Data(bunch.images[:, np.newaxis].astype(np.float32), bunch.target, {"model": _mlp(128, 64), "epochs": 12})


def breast_cancer() -> Data:
    """Biopsies with 30 measurements, 2 classes (UCI)."""
    bunch = datasets.load_breast_cancer()
    return Data(bunch.data.astype(np.float32), bunch.target, {"model": _mlp(32), "epochs": 20})


def wine() -> Data:
    """Wines with 13 measurements, 3 classes (UCI)."""
    bunch = datasets.load_wine()
    return Data(bunch.data.astype(np.float32), bunch.target, {"model": _mlp(16), "epochs": 30})


def made_table() -> Data:
    """A made table: 1,200 rows of 12 numbers, 4 classes that overlap (about 92 % can be told apart)."""
    examples, labels = datasets.make_classification(
        1200, 12, n_informative=8, n_redundant=2, n_classes=4, n_clusters_per_class=1, class_sep=1.6, flip_y=0,
        random_state=0,
    )  # fmt: skip
    return Data(examples.astype(np.float32), labels.astype(np.int64), {"model": _mlp(32), "epochs": 20})


def made_texts() -> Data:
    """Made texts: 900 texts of 12 words, of 3 subjects with 30 words each and 60 words in common."""
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 3, 900)
    words = [f"common{number}" for number in range(60)]
    texts = [
        " ".join(
            f"subject{label}word{chance.integers(30)}" if chance.random() < 0.3 else words[chance.integers(60)]
            for _ in range(12)
        )
        for label in labels
    ]
    task = {"model": {"name": "lstm", "width": 32}, "epochs": 10}
    return Data(np.array(texts), labels, task)


DATASETS: dict[str, Callable[[], Data]] = {
    each.__name__: each for each in (digits, breast_cancer, wine, made_table, made_texts)
}


def flip(labels: NDArray[np.int64], seed: int, share: float = FLIPPED) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return labels of which a share is another class, chosen at random, and the indices of the flipped ones."""
    chance = np.random.default_rng([seed, 29])
    num_classes = int(labels.max()) + 1
    flipped = np.sort(chance.choice(len(labels), round(share * len(labels)), replace=False))
    wrong = labels.copy()
    wrong[flipped] = (labels[flipped] + chance.integers(1, num_classes, len(flipped))) % num_classes
    return wrong, flipped


def write(data: Data, labels: NDArray[np.int64], folder: Path) -> dict[str, Any]:
    """Write the examples with these labels to a file, and return its `data` section."""
    if data.examples.dtype.kind != "U":
        path = folder / "data.npz"
        np.savez(path, x=data.examples, y=labels)
        return {"name": "npz", "path": str(path)}
    path = folder / "data.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "subject"), *zip(data.examples, [f"s{y}" for y in labels], strict=True)])
    return {"name": "texts", "path": str(path), "text": "text", "target": "subject", "tokens": "words", "length": 12}


def searched(data: Data, section: dict[str, Any], *, seed: int, trials: int, folds: int | None) -> list[Any]:
    """Train a random search on the data, and return each trial's predictions on validation examples."""
    chance = np.random.default_rng([seed, 31])
    found = []
    for _ in range(trials):
        model = dict(data.task["model"])
        if model["name"] == "mlp":
            model["dropout"] = float(chance.uniform(0, 0.5))
        config = {
            "data": {**section, "val_fraction": 0.2, "test_fraction": 0.2, "seed": seed},
            "model": model,
            "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "adamw", "lr": float(10 ** chance.uniform(-3, -1.7)), "weight_decay": 1e-2},
            "schedule": {"name": "cosine"},
            "batch_size": int(chance.choice([16, 32, 64])),
            "epochs": data.task["epochs"],
        } | ({} if folds is None else {"folds": folds})
        result = train(TrainingConfig.from_mapping(config), seed=int(chance.integers(2**31)))
        found.append(result.predictions["val"])
    return found


def measure(data: Data, *, seed: int, trials: int, folds: int | None) -> Found:
    """Flip labels, search, and count the flipped ones among the worst."""
    labels, flipped = flip(data.labels, seed)
    with tempfile.TemporaryDirectory() as folder:
        section = write(data, labels, Path(folder))
        classes = tuple(map(str, range(int(labels.max()) + 1)))
        predicted = [
            SplitPredictions(each.ids, classes, each.targets.numpy(), each.outputs.double().numpy())
            for each in searched(data, section, seed=seed, trials=trials, folds=folds)
        ]
    ordered = [each for one in predicted if (each := one.in_order_of(predicted[0])) is not None]
    good = [ordered[place] for place in trials_within_noise(ordered)]
    scores = label_scores(good)
    is_flipped = np.isin(good[0].ids, flipped)
    worst = np.argsort(-scores.scores, kind="stable")[: math.ceil(WORST * len(is_flipped))]
    return Found(
        num_examples=len(is_flipped),
        num_flipped=int(is_flipped.sum()),
        recall=float(is_flipped[worst].sum() / is_flipped.sum()) if is_flipped.any() else math.nan,
        suspects=int(scores.is_suspect.sum()),
        right_suspects=int((scores.is_suspect & is_flipped).sum()),
        accuracy=1 - float(good[0].errors.mean()),
        trials=len(good),
        independent=num_independent(good),
    )


def page(rows: Sequence[tuple[str, str, Sequence[Found]]], seconds: float, command: str, trials: int) -> str:
    """Return the results as a Markdown page."""
    about = (
        f"{FLIPPED:.0%} of all labels are flipped to a random other class before the data are split, so training "
        f"learns from wrong labels too. {trials} trials of a random search are trained on them. *Recall*: the share of "
        f"the flipped labels of the **validation examples** that are among the worst {WORST:.0%} of the **validation "
        "examples**; mean, lowest and highest of the seeds. *Suspects*: the examples that `study errors` names as "
        "likely label errors; *precision*: the share of these that were flipped. *Good trials*: those within noise of "
        "the best, which are used; *as independent*: the number of independent trials that they count as."
    )
    titles = ("data", "validation", "examples", "flipped", "recall: mean (low to high)", "suspects", "precision",
              "accuracy", "good trials", "as independent")  # fmt: skip
    lines = [
        "# Likely label errors",
        "",
        f"`{command}` on {machine()}; {seconds:.0f} s in all.",
        "",
        about,
        "",
        f"| {' | '.join(titles)} |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, how, found in rows:
        recalls = [each.recall for each in found if not math.isnan(each.recall)]
        recall = (
            f"{statistics.fmean(recalls):.0%} ({min(recalls):.0%} to {max(recalls):.0%})" if recalls else "none flipped"
        )
        suspects, right = sum(each.suspects for each in found), sum(each.right_suspects for each in found)
        mean = [statistics.fmean(values) for values in zip(*found, strict=True)]
        lines.append(
            f"| {name} | {how} | {mean[0]:.0f} | {mean[1]:.1f} | {recall} | {suspects / len(found):.1f} | "
            f"{right / suspects if suspects else 0:.0%} | {mean[5]:.3f} | {mean[6]:.1f} | {mean[7]:.1f} |"
        )
    folded = [each for _, how, found in rows for each in found if how.startswith("folds")]
    total = sum(each.recall * each.num_flipped for each in folded if each.num_flipped) / sum(
        each.num_flipped for each in folded
    )
    end = f"With folds {total:.0%} of all flipped labels are among the worst {WORST:.0%}; the aim is {TARGET:.0%}."
    lines += ["", end]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure all data sets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N")
    parser.add_argument("--trials", type=int, default=TRIALS, metavar="N")
    parser.add_argument("--data", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the page to this file too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start, rows = time.perf_counter(), []
    for name in args.data:
        data = DATASETS[name]()
        for how, folds in (("20 %", None), ("folds: 5", 5)):
            found = [measure(data, seed=seed, trials=args.trials, folds=folds) for seed in range(args.seeds)]
            rows.append((name, how, found))
            print(f"{name}, {how}: {[round(each.recall, 2) for each in found]}", flush=True)
    options = "" if args.seeds == SEEDS else f" --seeds {args.seeds}"
    command = f"python -m benchmarks.label_errors{options} --out benchmarks/results/label_errors.md"
    text = page(rows, time.perf_counter() - start, command, args.trials)
    print(text)
    if args.out is not None:
        args.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
