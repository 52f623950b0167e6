"""Text classification data source: texts and classes from a CSV file, as tokens for sequence models."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Literal

import numpy as np
import pyarrow as pa
import torch

from worker.training.data.column_roles import NamingRoles
from worker.training.data.column_texts import describe_classes, describe_sentences
from worker.training.data.csv_file import Delimiter, Encoding, read_csv
from worker.training.data.dataset import Dataset
from worker.training.data.fingerprint import of_files
from worker.training.data.splits import Fold, Stratified, split_indices
from worker.training.data.table_file import read_checked, require_columns, require_values
from worker.training.data.tables import Target
from worker.training.data.targets import with_targets
from worker.training.data.tokenizer import Source, Tokenizer
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

_WORD = re.compile(r"\w+|[^\w\s]")
# Padding, an unknown word, and the first token with a meaning.
_PADDING, _UNKNOWN, _FIRST = 0, 1, 2


def texts(
    fold: Fold | None = None,
    *,
    path: Annotated[str, Setting("CSV file with a header line", names="path")],
    text: Annotated[str, Setting("column of the texts")],
    target: Target,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = None,
    tokens: Annotated[
        Literal["bytes", "words"], Setting("the 256 bytes of UTF-8, or words in small letters and punctuation")
    ] = "bytes",
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
    if tokenizer is not None:
        hf_tokenizer = Tokenizer(tokenizer)
        rows, vocabulary, padding = hf_tokenizer.rows(raw_texts, length), len(hf_tokenizer.names), hf_tokenizer.padding
    else:
        pieces = [_pieces(each, tokens) for each in raw_texts]
        token_of = _vocabulary([pieces[index] for index in parts["train"]], tokens, words)
        rows = torch.stack([_row(each, token_of, length) for each in pieces])
        vocabulary, padding = _FIRST + len(token_of), _PADDING
    dataset = with_targets(
        {name: rows[torch.from_numpy(indices)] for name, indices in parts.items()},
        {name: labels[indices] for name, indices in parts.items()},
        "classification",
    ).with_ids(parts)
    dataset = dataset.with_names({None: roles.names("path", table)})
    classes = describe_classes(Counter(labels.tolist()))
    return replace(
        dataset,
        vocabulary=vocabulary,
        padding=padding,
        tokenizer=tokenizer,
        fingerprint=of_files({"path": path}),
        columns=(
            f"{text}: {describe_sentences(raw_texts)}",
            f"{target}: target; {classes}",
        ),
    )


def _pieces(text: str, tokens: str) -> Sequence[str | int]:
    return text.encode() if tokens == "bytes" else _WORD.findall(text.lower())


def _vocabulary(training: list[Sequence[str | int]], tokens: str, words: int) -> dict[str | int, int]:
    """Return the token of each byte, or of the most frequent words of the training texts."""
    if tokens == "bytes":
        return {byte: _FIRST + byte for byte in range(256)}
    counts = Counter(word for text in training for word in text)
    # Equally frequent words are sorted alphabetically, so that the order of the rows does not matter.
    most_frequent = sorted(counts, key=lambda word: (-counts[word], str(word)))[:words]
    return {word: _FIRST + index for index, word in enumerate(most_frequent)}


def _row(pieces: Sequence[str | int], token_of: dict[str | int, int], length: int) -> torch.Tensor:
    """Return the text's tokens [length], padded at the beginning because sequence models classify by the last token."""
    row = [token_of.get(piece, _UNKNOWN) for piece in pieces[:length]]
    return torch.tensor([_PADDING] * (length - len(row)) + row)
