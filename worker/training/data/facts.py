"""Facts about a dataset that outlive its examples: what sizes a model, names its outputs and encodes new examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from pydantic import TypeAdapter
from torch import Tensor

from worker.training.data.dataset import Dataset, Inputs, Kind, Split
from worker.training.data.preprocessing import Preprocessing, from_mapping, to_mapping

_Number: TypeAlias = Literal["float32", "int64", "uint8"]
_TYPES: Mapping[_Number, torch.dtype] = {"float32": torch.float32, "int64": torch.int64, "uint8": torch.uint8}


@dataclass(frozen=True)
class DatasetFacts:
    """The facts of a dataset, as plain data.

    Attributes:
        kind: the kind of task.
        inputs: what one example is.
        shape: the shape of one example's features.
        number: the type of the features.
        sizes: the number of examples of each split.
        class_names: the classes in the order of their indices.
        target_mean: the mean of the training targets.
        target_std: the standard deviation of the training targets.
        fingerprint: identifies the data before it was split; None: unknown.
        pixel_mean: the mean of each channel's training pixels; empty: images are standardised already.
        pixel_std: their standard deviations.
        categories: the number of indices of each feature that is a category's index.
        vocabulary: the number of different tokens; 0 if features are numbers.
        padding: the token that pads short texts; None: there is none.
        tokenizer: the source of the tokenizer; None: there is none.
        columns: how each column of the data is used, in words.
    """

    kind: Kind
    inputs: Inputs
    shape: tuple[int, ...]
    number: _Number
    sizes: Mapping[str, int]
    class_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    fingerprint: str | None = None
    pixel_mean: tuple[float, ...] = ()
    pixel_std: tuple[float, ...] = ()
    categories: tuple[int, ...] = ()
    vocabulary: int = 0
    padding: int | None = None
    tokenizer: str | None = None
    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> "DatasetFacts":
        """Return the facts of a dataset."""
        [number] = [name for name, kind in _TYPES.items() if kind == dataset.train.features.dtype]
        return cls(
            kind=dataset.kind,
            inputs=dataset.inputs,
            shape=dataset.shape,
            number=number,
            sizes={name: len(split) for name, split in dataset.splits.items()},
            class_names=dataset.class_names,
            target_mean=dataset.target_mean,
            target_std=dataset.target_std,
            fingerprint=dataset.fingerprint,
            pixel_mean=_numbers(dataset.pixel_mean),
            pixel_std=_numbers(dataset.pixel_std),
            categories=dataset.categories,
            vocabulary=dataset.vocabulary,
            padding=dataset.padding,
            tokenizer=dataset.tokenizer,
            columns=dataset.columns,
        )

    def dataset(self, preprocessing: Preprocessing | None = None) -> Dataset:
        """Return a dataset with these facts whose training split has no examples: enough to build a model."""
        return Dataset(
            self.kind,
            {"train": Split(torch.empty(0, *self.shape, dtype=_TYPES[self.number]), torch.empty(0, dtype=torch.int64))},
            class_names=self.class_names,
            target_mean=self.target_mean,
            target_std=self.target_std,
            fingerprint=self.fingerprint,
            pixel_mean=torch.tensor(self.pixel_mean).view(-1, 1, 1) if self.pixel_mean else None,
            pixel_std=torch.tensor(self.pixel_std).view(-1, 1, 1) if self.pixel_std else None,
            categories=self.categories,
            vocabulary=self.vocabulary,
            padding=self.padding,
            tokenizer=self.tokenizer,
            columns=self.columns,
            preprocessing=preprocessing,
        )


_ADAPTER = TypeAdapter(DatasetFacts)


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return a dataset's facts and its preprocessing as JSON stores them; `dataset_of` reads them back."""
    preprocessing = dataset.preprocessing
    return {
        "facts": _ADAPTER.dump_python(DatasetFacts.of(dataset), mode="json"),
        "inputs": None if preprocessing is None else to_mapping(preprocessing),
    }


def dataset_of(mapping: Mapping[str, Any]) -> Dataset:
    """Return the dataset that `describe_dataset` described, without its examples."""
    inputs = mapping["inputs"]
    return facts_of(mapping).dataset(None if inputs is None else from_mapping(inputs))


def facts_of(mapping: Mapping[str, Any]) -> DatasetFacts:
    """Return the facts in a mapping that `describe_dataset` wrote."""
    return _ADAPTER.validate_python(mapping["facts"])


def _numbers(values: Tensor | None) -> tuple[float, ...]:
    return () if values is None else tuple(values.flatten().tolist())
