"""Language modelling data source: windows of tokens from one text, with the next token of each as its target."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from worker.training.data.dataset import Dataset, Split, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.preprocessing.tokens import StreamPreprocessing, fit_characters
from worker.training.data.splits import Limit, TestFraction, ValFraction
from worker.training.data.tokenizer import Source
from worker.training.errors import ConfigError, MissingFile
from worker.training.parameters import Setting


def text(
    *,
    path: Annotated[str, Setting("text file, split by position: the beginning trains, the end tests", names="path")],
    tokens: Annotated[
        Literal["bytes", "characters"], Setting("256 bytes of any file, or the characters of a UTF-8 file's beginning")
    ] = "bytes",
    length: Annotated[int, Setting("tokens in an example", low=1)] = 128,
    tokenizer: Source = None,
    val_fraction: ValFraction = 0.1,
    test_fraction: TestFraction = 0.1,
    limit: Limit = None,
) -> Dataset:
    """A text file for language modelling: an example is a window of tokens, its target the next token of each."""
    if not Path(path).is_file():
        raise MissingFile("data.path", f"there is no file {path!r} (looked for {Path(path).absolute()})")
    if val_fraction + test_fraction >= 1:
        raise ConfigError("data.val_fraction", "val_fraction and test_fraction together must be below 1")
    content = Path(path).read_bytes()
    characters = ""
    if tokenizer is None and tokens == "characters":
        characters = fit_characters(content, 1 - val_fraction - test_fraction, "data.tokens", path)
    fitted = StreamPreprocessing(length, tokens, characters, tokenizer)
    stream, names = fitted.encode(content, path=path), fitted.names
    val_from, test_from = (
        round(len(stream) * share) for share in (1 - val_fraction - test_fraction, 1 - test_fraction)
    )
    splits: dict[SplitName, Split] = {"train": _windows("train", stream[:val_from], length, limit)}
    if val_fraction:
        splits["val"] = _windows("val", stream[val_from:test_from], length)
    if test_fraction:
        splits["test"] = _windows("test", stream[test_from:], length)
    fingerprint = of_files({"path": path})
    return Dataset(
        "language",
        splits,
        class_names=names,
        vocabulary=len(names),
        tokenizer=tokenizer,
        fingerprint=fingerprint,
        preprocessing=fitted,
    )


def _windows(name: str, stream: NDArray[Any], length: int, limit: int | None = None) -> Split:
    num_windows = (len(stream) - 1) // length
    if num_windows < 1:
        raise ConfigError(
            "data.length",
            f"the {name} part has {len(stream)} tokens, too few for one example of {length}; use a smaller length",
        )
    tokens = torch.from_numpy(stream[: num_windows * length + 1].astype(np.int64))
    return Split(tokens[:-1].view(num_windows, length)[:limit], tokens[1:].view(num_windows, length)[:limit])
