"""Text classification data source: texts and classes from a CSV file, as tokens for sequence models."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Annotated

import numpy as np
import pyarrow as pa
import torch

from worker.training.data.column_roles import NamingRoles
from worker.training.data.column_texts import describe_classes, describe_sentences
from worker.training.data.csv_file import Delimiter, Encoding, read_csv
from worker.training.data.dataset import Dataset
from worker.training.data.fingerprint import of_files
from worker.training.data.preprocessing.tokens import TextPreprocessing, Tokens, fit_words
from worker.training.data.splits import Fold, Stratified, split_indices
from worker.training.data.table_file import read_checked, require_columns, require_values
from worker.training.data.tables import Target
from worker.training.data.targets import with_targets
from worker.training.data.tokenizer import Source
from worker.training.errors import ConfigError
from worker.training.parameters import Setting


def texts(
    fold: Fold | None = None,
    *,
    path: Annotated[str, Setting("CSV file with a header line", names="path")],
    text: Annotated[str, Setting("column of the texts")],
    target: Target,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = None,
    tokens: Annotated[Tokens, Setting("the 256 bytes of UTF-8, or words in small letters and punctuation")] = "bytes",
    length: Annotated[int, Setting("tokens in an example; a longer text loses its end", low=1)] = 128,
    words: Annotated[int, Setting("how many words are known, the most frequent ones in training", low=1)] = 10000,
    tokenizer: Source = None,
    roles: NamingRoles,
    splitting: Stratified,
) -> Dataset:
    """A CSV file of texts to classify: each text becomes a row of tokens, padded at its beginning."""
    table = read_checked("path", path, partial(read_csv, encoding, delimiter))
    require_columns("data.text", [text], table)
    require_columns("data.target", [target], table)
    for setting, name in (("text", text), ("target", target)):
        require_values(f"data.{setting}", name, table)
    if not pa.types.is_string(table.schema.field(text).type):
        raise ConfigError("data.text", f"column {text!r} holds {table.schema.field(text).type}, not texts")
    roles.require(table)
    labels = np.array([str(label) for label in table.column(target).to_pylist()])
    parts = split_indices(labels, len(labels), splitting.at_fold(fold), roles.split_constraint(table))
    raw_texts = table.column(text).to_pylist()
    known: tuple[str, ...] = ()
    if tokenizer is None and tokens == "words":
        known = fit_words([raw_texts[index] for index in parts["train"]], words)
    fitted = TextPreprocessing(text, target, length, tokens, known, tokenizer, roles.id)
    rows = fitted.encode(raw_texts)
    dataset = with_targets(
        {name: rows[torch.from_numpy(indices)] for name, indices in parts.items()},
        {name: labels[indices] for name, indices in parts.items()},
        "classification",
    ).with_ids(parts)
    dataset = dataset.with_names({None: roles.names("path", table)})
    classes = describe_classes(Counter(labels.tolist()))
    return replace(
        dataset,
        vocabulary=fitted.vocabulary,
        padding=fitted.padding,
        tokenizer=tokenizer,
        preprocessing=fitted,
        fingerprint=of_files({"path": path}),
        columns=(
            f"{text}: {describe_sentences(raw_texts)}",
            f"{target}: target; {classes}",
        ),
    )
