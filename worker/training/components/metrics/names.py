"""Names of the metrics that a training reports, and which of them a split's targets leave undefined."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias, get_args

import torch
from torch import Tensor

from worker.training.components.metrics.entries import METRICS
from worker.training.data import Dataset, Kind, SplitName
from worker.training.registry import Entry

MetricSettings: TypeAlias = Mapping[str, Mapping[str, Any]]
"""The metrics that a configuration asks for by name, with the settings of each."""

_EVALUATED: tuple[SplitName, ...] = ("train", "val", "test_val", "test")
# The protocol allows metric names of up to 128 characters.
_MAX_CLASS_NAME_LENGTH = 64


def chosen_entries(kind: Kind, extra: MetricSettings) -> list[Entry[Any]]:
    """Return the entries that a training of this kind reports: its kind's defaults, then those of `extra`."""
    defaults = [each for each in METRICS if each.facts.get("default") and kind in each.facts["kinds"]]
    return defaults + [METRICS.entry(name) for name in extra if name not in {each.name for each in defaults}]


METRIC_NAMES: Mapping[Kind, tuple[str, ...]] = {
    kind: tuple(
        f"{split}/{name}"
        for split in _EVALUATED
        for name in ("loss", *(each.name for each in chosen_entries(kind, {})))
    )
    for kind in get_args(Kind)
}
"""What every training of a kind may report, all measured in evaluation mode after an epoch."""


def reported_names(dataset: Dataset, extra: MetricSettings) -> list[str]:
    """Return the names of all metrics that a training on this dataset reports after an epoch."""
    # The test split is evaluated once, when training has finished.
    splits = [split for split in _EVALUATED if split != "test" and split in dataset.splits]
    return [
        f"{split}/{name}"
        for split in splits
        for name in (
            "loss",
            *(name for each in defined_entries(dataset, split, extra) for name in _names(dataset, each)),
        )
    ]


def defined_entries(dataset: Dataset, split: SplitName, extra: MetricSettings) -> list[Entry[Any]]:
    """Return the chosen entries that the targets of a split define."""
    num_distinct = _num_distinct(dataset.measured_targets(split))
    return [each for each in chosen_entries(dataset.kind, extra) if _needed(each) <= num_distinct]


def metric_notes(dataset: Dataset, extra: MetricSettings) -> Iterator[str]:
    """Yield a sentence for each metric that a split leaves undefined, and for each class that a split lacks."""
    entries = chosen_entries(dataset.kind, extra)
    for split in (name for name in _EVALUATED if name in dataset.splits):
        targets = dataset.measured_targets(split)
        num_distinct = _num_distinct(targets)
        for entry in entries:
            if _needed(entry) > num_distinct:
                unit = "example has" if len(targets) == 1 else "examples have"
                yield (
                    f"{split}/{entry.name} is not reported: it needs {_needed(entry)} different targets, and the "
                    f"{len(targets)} {unit} {num_distinct}"
                )
        if dataset.kind == "classification":
            counts = torch.bincount(targets, minlength=dataset.num_classes).tolist()
            absent = [name for name, count in zip(dataset.class_names, counts, strict=True) if not count]
            if absent:
                yield (
                    f"{_measured(dataset, split)} has no example of {_some(absent)}: balanced_accuracy, auroc and "
                    "average_precision average over the other classes"
                )


def class_label(index: int, class_name: str) -> str:
    """Return a class's name for use in a metric's name, or its index if the name is too long."""
    return class_name if len(class_name) <= _MAX_CLASS_NAME_LENGTH else str(index)


def _names(dataset: Dataset, entry: Entry[Any]) -> list[str]:
    members = entry.facts.get("names")
    if members is None:
        return [entry.name]
    labels = [class_label(index, name) for index, name in enumerate(dataset.class_names)]
    return [f"{member}/{label}" for member in members for label in labels]


def _needed(entry: Entry[Any]) -> int:
    return int(entry.facts.get("distinct_targets", 1))


def _num_distinct(targets: Tensor) -> int:
    """Return the number of different targets, counted up to 2."""
    return 1 if not targets.numel() or bool((targets == targets.flatten()[0]).all()) else 2


def _measured(dataset: Dataset, split: SplitName) -> str:
    indices = dataset.measured(split)
    return split if indices is None else f"the sample of {len(indices)} examples of {split} that is measured"


def _some(names: list[str]) -> str:
    listed = ", ".join(map(repr, names[:3]))
    return listed if len(names) <= 3 else f"{listed} and {len(names) - 3} other classes"
