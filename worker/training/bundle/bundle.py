"""Bundles: trained models with their fitted preprocessing, which predict on new examples without the data file."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.training.bundle.answers import Answers
from worker.training.bundle.frames import Examples, Frame, array_for, images_of, rows_for, texts_for
from worker.training.components.link import LINKS, Link
from worker.training.components.precision import autocast
from worker.training.data import Dataset
from worker.training.data.number_checks import DescribeRow, in_row
from worker.training.data.preprocessing import (
    ArrayPreprocessing,
    ImagePreprocessing,
    Preprocessing,
    StreamPreprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from worker.training.data.ranking import padded_queries
from worker.training.errors import ConfigError

# Large enough to keep a device busy, and small enough for the activations of any model here.
_BATCH = 4096
_BATCH_NUMBERS = 1 << 22


@dataclass(frozen=True)
class Bundle:
    """The models of one trial with all that new examples need.

    Attributes:
        models: one for each fold and repeat, on the CPU in evaluation mode.
        datasets: the facts and the preprocessing of each fold; a model is of the one at its index modulo their number.
        described: the datasets as `describe_dataset` returned them in the training, with the sizes of their splits.
        link: the name of the function that maps outputs to probabilities or values.
        config: the resolved configuration of the training, with its seed.
        step: the epoch whose weights the models have.
        facts: what else the bundle's file says: versions, modules of custom entries, and what the caller added.
    """

    models: Sequence[nn.Module]
    datasets: Sequence[Dataset]
    described: Sequence[Mapping[str, Any]]
    link: str
    config: Mapping[str, Any]
    step: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def dataset(self) -> Dataset:
        """The facts of the first fold's dataset, without examples."""
        return self.datasets[0]

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of the first fold; all folds read the same columns.

        Raises:
            ConfigError: the data source does not say how examples are encoded.
        """
        if (preprocessing := self.dataset.preprocessing) is None:
            name = self.config["data"]["name"]
            raise ConfigError(
                "data",
                f"the data source {name!r} does not say how it encodes new examples; return a Dataset with its "
                "preprocessing, and train again",
            )
        return preprocessing

    @property
    def id_name(self) -> str:
        """The name of the column of ids; `id` if the training data have none."""
        match self.preprocessing:
            case TablePreprocessing(roles=roles):
                return roles.get("id") or "id"
            case TextPreprocessing(id=name):
                return name or "id"
            case _:
                return "id"

    def encode(self, frame: Frame, *, impute_columns: bool = False) -> list[Tensor]:
        """Return the features of a frame by the preprocessing of each fold: the inputs of an exported model.

        Args:
            frame: as for `predict`; a text of language modelling has no features but tokens, so it is refused.
            impute_columns: whether a missing column counts as a column of missing values.

        Raises:
            ConfigError: the examples do not fit the training's.
        """
        examples = self._examples(frame, impute_columns=impute_columns)
        return [_encode(dataset, examples.values, in_row) for dataset in self.datasets]

    def predict(
        self, frame: Frame, *, impute_columns: bool = False, first: int = 0, describe_row: DescribeRow = in_row
    ) -> Answers:
        """Predict on new examples. The predictions of all models are averaged, as probabilities or values.

        Args:
            frame: for a table a dict of columns, a list of dicts, a pyarrow, pandas or polars table, or an array of the
                training's columns; for images a folder, or paths, Pillow images or arrays of uint8; for texts a
                sequence of texts, one text, or a table with the text's column; for language modelling a text.
            impute_columns: whether a missing column counts as a column of missing values.
            first: the position of the first example, from which examples without ids are numbered.
            describe_row: returns in words where a row is, for errors.

        Raises:
            ConfigError: the examples do not fit the training's; the message names the column and the row.
        """
        preprocessing = self.preprocessing
        if isinstance(preprocessing, StreamPreprocessing):
            return self._score_text(frame)
        examples = self._examples(frame, impute_columns=impute_columns)
        notes = list(examples.notes)
        if self.dataset.kind == "ranking":
            outputs = self._scores(examples, describe_row)
        else:
            parts = [self._mean(encoded) for encoded in self._encoded(examples, describe_row)]
            outputs = torch.cat(parts)
        if isinstance(preprocessing, TablePreprocessing):
            notes += _unknown_categories(preprocessing, examples)
        ids = np.arange(first, first + len(examples)) if examples.ids is None else examples.ids
        return Answers(self.dataset.kind, ids, outputs.numpy(), self.dataset.class_names, notes=tuple(notes))

    def _examples(self, frame: Frame, *, impute_columns: bool) -> Examples:
        """Return the examples of a frame; ConfigError if there are none, or they do not fit."""
        match self.preprocessing:
            case TablePreprocessing() as preprocessing:
                examples = rows_for(preprocessing, frame, impute_columns=impute_columns)
            case ArrayPreprocessing() as preprocessing:
                examples = array_for(preprocessing, frame)
            case ImagePreprocessing():
                examples = images_of(frame)
            case TextPreprocessing() as preprocessing:
                examples = texts_for(preprocessing, frame)
            case StreamPreprocessing():
                raise ConfigError("data", "a language model takes windows of tokens; use predict for a text")
        if not len(examples):
            raise ConfigError("data", "there are no examples to predict on")
        return examples

    def _encoded(self, examples: Examples, describe_row: DescribeRow) -> Iterator[list[Tensor]]:
        """Yield batches of features, each encoded by every fold's preprocessing."""
        size = max(1, min(_BATCH, _BATCH_NUMBERS // max(1, prod(self.dataset.shape))))
        for start in range(0, len(examples), size):
            values = examples.slice(start, min(start + size, len(examples)))
            place = partial(_row_from, describe_row, start)
            yield [_encode(dataset, values, place) for dataset in self.datasets]

    def _mean(self, encoded: Sequence[Tensor]) -> Tensor:
        """Return the mean prediction of all models on one batch: probabilities [n, num_classes], or values [n]."""
        total = torch.zeros(())
        for index, model in enumerate(self.models):
            dataset = self.datasets[index % len(self.datasets)]
            outputs = self._outputs(model, dataset.standardised(encoded[index % len(encoded)]))
            if dataset.kind == "regression":
                outputs = outputs.squeeze(1) * dataset.target_std + dataset.target_mean
            total = total + outputs
        return total / len(self.models)

    def _outputs(self, model: nn.Module, features: Tensor) -> Tensor:
        precision = self.config["precision"]
        context = autocast("fp32" if precision == "fp16" else precision, torch.device("cpu"))  # fp16 needs a GPU
        with torch.inference_mode(), context:
            outputs: Tensor = model(features).float()
        return self._link.inverse(outputs) if self.dataset.kind in ("classification", "language") else outputs

    @property
    def _link(self) -> Link:
        return LINKS[self.link]

    def _scores(self, examples: Examples, describe_row: DescribeRow) -> Tensor:
        """Return the score of each row, with the rows of a query together; without a query column all rows are one."""
        if examples.queries is None:
            queries = np.zeros(len(examples), dtype=np.int64)
        else:
            queries = examples.queries.combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
        relevance, positions = np.zeros(len(examples)), np.arange(len(examples))
        total = torch.zeros(len(examples))
        for index, model in enumerate(self.models):
            dataset = self.datasets[index % len(self.datasets)]
            features = _encode(dataset, examples.values, describe_row)
            lists = padded_queries(features, relevance, queries.astype(np.int64), positions)
            assert lists.ids is not None
            for start in range(0, len(lists), _BATCH):
                part = slice(start, start + _BATCH)
                is_row = lists.ids[part] >= 0
                total[lists.ids[part][is_row]] += self._outputs(model, lists.features[part])[is_row]
        return total / len(self.models)

    def _score_text(self, frame: Frame) -> Answers:
        """Return the loss of each window of a text, and the most probable token after it."""
        preprocessing = self.preprocessing
        assert isinstance(preprocessing, StreamPreprocessing)
        if not isinstance(frame, str | bytes):
            raise ConfigError("data", f"a language model predicts on one text or its bytes, not on {type(frame)}")
        stream = torch.from_numpy(
            preprocessing.encode(frame.encode() if isinstance(frame, str) else frame).astype(np.int64)
        )
        length = preprocessing.length
        count = -(-len(stream) // length)
        if not count:
            raise ConfigError("data", "the text is empty")
        losses, following = [], []
        for index in range(count):
            window = stream[index * length : (index + 1) * length]
            shares = self._mean([window[None]] * len(self.datasets))[0]
            targets = stream[index * length + 1 : index * length + len(window) + 1]
            known = shares[torch.arange(len(targets)), targets]
            losses.append(float(-known.clamp_min(1e-30).log().mean()) if len(targets) else 0.0)
            following.append(int(shares[-1].argmax()))
        return Answers(
            "language",
            np.arange(count) * length,
            np.array(losses, dtype=np.float32),
            self.dataset.class_names,
            np.array(following),
        )


def _row_from(describe_row: DescribeRow, start: int, row: int) -> str:
    """Return in words where the row `row` of the batch from `start` is."""
    return describe_row(start + row)


def _encode(dataset: Dataset, values: Any, describe_row: DescribeRow) -> Tensor:
    preprocessing = dataset.preprocessing
    if isinstance(preprocessing, TablePreprocessing):
        return preprocessing.encode(values, describe_row)
    assert preprocessing is not None
    assert not isinstance(preprocessing, StreamPreprocessing)
    return preprocessing.encode(values)


def _unknown_categories(preprocessing: TablePreprocessing, examples: Examples) -> list[str]:
    """Return a sentence for each categorical column that holds categories unknown to training."""
    columns = [column for column in preprocessing.columns if column.type == "category"]
    if not columns:
        return []
    _, texts = preprocessing.read(examples.values)
    counts = preprocessing.rows.categorical.num_unknown(texts)
    return [
        f"column {column.name!r} has a category that training did not know; it is encoded as unknown"
        for column, count in zip(columns, counts, strict=True)
        if count
    ]
