"""Check 8, labels: class balance, classes missing from a split, and targets out of range."""

from __future__ import annotations

import torch
from torch import Tensor

from worker.training.data import Dataset, SplitName
from worker.training.preflight.bench import Bench, in_words
from worker.training.preflight.result import Check, Status

_NUMBER = 8
_MAJORITY = 0.9
_FEW = 5
_EXPECTED_AT_LEAST = 8.0
"""So many validation examples of a class that chance would hardly ever leave all of them out."""
_OUTLIER = 50.0
"""How many times farther from the median than the usual spread a target of another split may lie."""


def check_labels(bench: Bench) -> list[Check]:
    """Look at the targets of all splits."""
    match bench.dataset.kind:
        case "classification":
            return [_class_balance(bench.dataset), _class_range(bench.dataset)]
        case "regression":
            return [_target_range(bench.dataset)]
        case _:
            return []


def _class_balance(dataset: Dataset) -> Check:
    name = "class_balance"
    counts = dataset.class_counts.tolist()
    total = sum(counts)
    largest, smallest = (choose(range(len(counts)), key=counts.__getitem__) for choose in (max, min))
    names = dataset.class_names
    figures = {"counts": dict(zip(names, counts, strict=True)), "majority": counts[largest] / total}
    seen = (
        f"{counts[largest] / total:.0%} of the training examples are {names[largest]!r}, "
        f"{counts[smallest]} of {total} are {names[smallest]!r}"
    )
    if counts[largest] == counts[smallest]:
        seen = f"Each of the {len(counts)} classes has {counts[largest]} training examples"
    if counts[largest] >= _MAJORITY * total:
        return Check(
            _NUMBER, name, Status.WARNED, f"{seen}: always guessing the first is right that often.", figures,
            "Use an objective that rare classes count in (val/f1_macro), and try loss.balance: 0.5 to 1.",
        )  # fmt: skip
    if counts[smallest] < _FEW:
        return Check(
            _NUMBER, name, Status.WARNED, f"{seen}: too few to learn from.", figures,
            "Collect more examples of the class, or merge it with another one.",
        )  # fmt: skip
    return Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)


def _class_range(dataset: Dataset) -> Check:
    name = "classes_in_splits"
    shares = dataset.class_counts / dataset.class_counts.sum()
    missing: dict[SplitName, list[str]] = {}
    for split_name, split in dataset.splits.items():
        outside = (split.targets < 0) | (split.targets >= dataset.num_classes)
        if outside.any():
            return Check(
                _NUMBER, name, Status.FAILED,
                f"{int(outside.sum())} targets of {split_name} are no class from 0 to {dataset.num_classes - 1}.",
                {}, "Number the classes from 0 without a gap.",
            )  # fmt: skip
        counts = torch.bincount(split.targets, minlength=dataset.num_classes)
        expected = shares.to(counts.device) * len(split)
        absent = ((counts == 0) & (expected >= _EXPECTED_AT_LEAST)).nonzero().flatten().tolist()
        if absent:
            missing[split_name] = [dataset.class_names[index] for index in absent]
    figures = {"missing": missing}
    if not missing:
        return Check(_NUMBER, name, Status.PASSED, "Every frequent class is in every split.", figures)
    split_name, classes = next(iter(missing.items()))
    return Check(
        _NUMBER, name, Status.WARNED, f"The {split_name} examples lack class {classes[0]!r}, which training has.",
        figures,        "Split with stratify: true, or look for what dropped the class.",
    )  # fmt: skip


def _target_range(dataset: Dataset) -> Check:
    name = "target_range"
    train = dataset.train.targets.flatten().double()
    median = train.median()
    spread = (train - median).abs().median().clamp_min(1e-9)
    farthest = {split_name: _farthest(split.targets, median, spread) for split_name, split in dataset.splits.items()}
    figures = {"farthest": farthest, "train_min": float(train.min()), "train_max": float(train.max())}
    worst = max(farthest, key=farthest.__getitem__)
    seen = f"The farthest target of {worst} is {in_words(farthest[worst])} times the median distance from the median"
    usual = farthest["train"]
    if farthest[worst] > max(_OUTLIER, 4 * usual) or usual > 10 * _OUTLIER:
        return Check(
            _NUMBER, name, Status.WARNED, f"{seen}; in train it is {in_words(usual)}.", figures,
            "Look for a wrong unit or a typing error in this target; or use loss.name: huber or mae.",
        )  # fmt: skip
    return Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)


def _farthest(targets: Tensor, median: Tensor, spread: Tensor) -> float:
    return float(((targets.flatten().double() - median) / spread).abs().max())
