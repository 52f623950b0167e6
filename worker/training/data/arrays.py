"""Converts arrays of rows or images to a Dataset: splits them, and standardises by statistics of the training split."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from worker.training.data.constant_features import constant_note
from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.preprocessing.arrays import ArrayPreprocessing, fit_array
from worker.training.data.splits import SplitConstraint, Splitting, rows_of_trained_classes, split_indices
from worker.training.data.targets import with_targets


@dataclass(frozen=True)
class Examples:
    """Examples before they are standardised.

    Attributes:
        features: [n, num_features] or [n, channels, height, width], numbers or uint8 pixels.
        targets: [n].
        names: [n], the user's own ids of the examples; None: there are none.
        constraint: the constraint on the split; None: it is random.
    """

    features: NDArray[Any]
    targets: NDArray[Any]
    names: NDArray[Any] | None = None
    constraint: SplitConstraint | None = None

    def take(self, indices: NDArray[np.int64]) -> "Examples":
        """Return the examples at `indices` [n], without their names and the constraint on the split."""
        return Examples(self.features[indices], self.targets[indices])


def assemble_arrays(
    main: Examples,
    separate: Mapping[SplitName, Examples],
    kind: Kind,
    splitting: Splitting,
    class_names: tuple[str, ...] = (),
    *,
    where: str = "data.target",
) -> Dataset:
    """Split and standardise arrays of rows or images.

    Rows are standardised by column, images by channel. Pixels of uint8 stay uint8 to save memory, and are standardised
    when a batch is made.

    Args:
        main: the examples to split; all numbers are finite, which the reader of the file has checked.
        separate: splits with arrays of their own; these are not split off `main`.
        kind: the kind of task.
        splitting: how to split `main`.
        class_names: the names of all classes in the order of their sorted labels; empty: the labels.
        where: the setting named in errors about targets.
    """
    labels = main.targets if kind == "classification" else None
    indices = split_indices(labels, len(main.targets), splitting.without_separate(separate), main.constraint)
    parts: dict[SplitName, Examples] = {name: main.take(rows) for name, rows in indices.items()}
    kept = rows_of_trained_classes(
        {name: part.targets for name, part in separate.items()}, parts["train"].targets, splitting
    )
    parts |= {name: part.take(kept[name]) if name in kept else part for name, part in separate.items()}
    train = parts["train"].features
    fitted = fit_array(train)
    dataset = with_targets(
        {name: fitted.standardise(part.features) for name, part in parts.items()},
        {name: part.targets for name, part in parts.items()},
        kind,
        _names_of(parts["train"].targets, np.unique(main.targets), class_names),
        where=where,
    ).with_ids(indices | kept)
    dataset = dataset.with_names({None: main.names, **{name: part.names for name, part in separate.items()}})
    feature = "column" if train.ndim == 2 else "channel"
    note = constant_note([f"{feature} {index}" for index in _constant(train)])
    dataset = replace(dataset, columns=note, preprocessing=fitted)
    return with_pixel_scale(dataset, fitted) if fitted.is_pixels else dataset


def with_pixel_scale(dataset: Dataset, fitted: ArrayPreprocessing) -> Dataset:
    """Return the dataset with the scale by which batches of pixels are standardised."""
    mean, std = (torch.tensor(each, dtype=torch.float32).view(-1, 1, 1) for each in (fitted.means, fitted.deviations))
    return replace(dataset, pixel_mean=mean, pixel_std=std)


def _constant(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the columns or channels that have one value in all examples."""
    axes = (0, *range(2, values.ndim))
    return np.flatnonzero(values.min(axis=axes) == values.max(axis=axes))


def _names_of(trained: NDArray[Any], labels: NDArray[Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the classes that have training examples, in the order of their labels."""
    return tuple(name for label, name in zip(labels, names, strict=True) if label in trained) if names else ()
