"""Hugging Face tokenizers, for models that were trained on their tokens."""

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.errors import ConfigError
from worker.training.optional_deps import library
from worker.training.parameters import Setting

Source: TypeAlias = Annotated[
    str | None,
    Setting(
        "tokenizer of a pretrained model, in place of `tokens`: its directory, or name on the Hugging Face hub",
        names="path or id",
    ),
]


class Tokenizer:
    """The tokenizer at `source`, a directory or a name on the Hugging Face hub.

    Raises:
        ConfigError: there is no such tokenizer.
        MissingLibrary: transformers is not installed.
    """

    def __init__(self, source: str) -> None:
        transformers = library("transformers", "data.tokenizer")
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "data.tokenizer", f"can't load a tokenizer from {source!r}; name a directory written by save_pretrained"
            ) from error
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        # Models with a classification token, such as BERT's [CLS], expect it first; all others use the last token.
        self._tokenizer.padding_side = "left" if self._tokenizer.cls_token is None else "right"

    @property
    def names(self) -> tuple[str, ...]:
        """The text of each token, by index."""
        return tuple(self._tokenizer.convert_ids_to_tokens(range(len(self._tokenizer))))

    @property
    def padding(self) -> int:
        """The token that pads short texts."""
        return int(self._tokenizer.pad_token_id)

    def rows(self, texts: Sequence[str], length: int) -> Tensor:
        """Return each text as `length` tokens, truncated or padded, with the model's special tokens, [n, length]."""
        encoded = self._tokenizer(list(texts), padding="max_length", truncation=True, max_length=length)
        return torch.tensor(encoded["input_ids"])

    def stream(self, text: str) -> NDArray[np.int64]:
        """Return a long text as tokens without special tokens, [n]."""
        return np.array(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)
