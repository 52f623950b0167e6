"""Preprocessing of texts: rows of tokens for classification, and windows of one long text for language modelling."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.tokenizer import Tokenizer
from worker.training.errors import ConfigError

Tokens: TypeAlias = Literal["bytes", "words"]

_WORD = re.compile(r"\w+|[^\w\s]")
# Padding, an unknown word, and the first token with a meaning.
PADDING, _UNKNOWN, _FIRST = 0, 1, 2
_NUM_BYTES = 256


@dataclass(frozen=True)
class TextPreprocessing:
    """Turns texts into rows of tokens as training did.

    Attributes:
        text: the column of the texts.
        target: the column that a model predicts.
        length: tokens in an example; a longer text loses its end.
        tokens: what a token is.
        words: the known words in the order of their tokens; empty for `bytes` and with a tokenizer.
        tokenizer: the source of the tokenizer; None: the tokens are the core's own.
        id: the column of ids; None: there is none.
    """

    text: str
    target: str
    length: int
    tokens: Tokens = "bytes"
    words: tuple[str, ...] = ()
    tokenizer: str | None = None
    id: str | None = None
    kind: Literal["texts"] = "texts"

    @property
    def vocabulary(self) -> int:
        """The number of different tokens."""
        if self.tokenizer is not None:
            return len(_tokenizer(self.tokenizer).names)
        return _FIRST + (_NUM_BYTES if self.tokens == "bytes" else len(self.words))

    @property
    def padding(self) -> int:
        """The token that pads short texts."""
        return PADDING if self.tokenizer is None else _tokenizer(self.tokenizer).padding

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of each text, [n, length], int64."""
        if not texts:
            return torch.empty((0, self.length), dtype=torch.int64)
        if self.tokenizer is not None:
            return _tokenizer(self.tokenizer).rows(texts, self.length)
        token_of: dict[Any, int] = {word: _FIRST + index for index, word in enumerate(self.words)}
        if self.tokens == "bytes":
            token_of = {byte: _FIRST + byte for byte in range(_NUM_BYTES)}
        return torch.stack([self._row(text, token_of) for text in texts])

    def _row(self, text: str, token_of: dict[Any, int]) -> Tensor:
        """Return a text's tokens, padded at the beginning because sequence models classify by the last token."""
        pieces = _pieces(text, self.tokens)[: self.length]
        row = [token_of.get(piece, _UNKNOWN) for piece in pieces]
        return torch.tensor([PADDING] * (self.length - len(row)) + row)


@dataclass(frozen=True)
class StreamPreprocessing:
    """Turns a long text into a stream of tokens as training did.

    Attributes:
        length: tokens in an example.
        tokens: what a token is.
        characters: the known characters in the order of their tokens; the token after them stands for all others.
        tokenizer: the source of the tokenizer; None: the tokens are the core's own.
    """

    length: int
    tokens: Literal["bytes", "characters"] = "bytes"
    characters: str = ""
    tokenizer: str | None = None
    kind: Literal["stream"] = "stream"

    @property
    def names(self) -> tuple[str, ...]:
        """The text of each token."""
        if self.tokenizer is not None:
            return _tokenizer(self.tokenizer).names
        if self.tokens == "bytes":
            return tuple(str(byte) for byte in range(_NUM_BYTES))
        return (*self.characters, "\N{REPLACEMENT CHARACTER}")

    def encode(self, content: bytes, where: str = "data", path: str = "the text") -> NDArray[Any]:
        """Return the tokens [n] of a text.

        Args:
            content: the text's bytes.
            where: the setting named in errors; `where`.tokenizer or `where`.tokens.
            path: the text's file, for errors.

        Raises:
            ConfigError: the content is not UTF-8, which all tokens but bytes need.
        """
        if self.tokenizer is not None:
            return _tokenizer(self.tokenizer).stream(_decoded(f"{where}.tokenizer", path, content))
        if self.tokens == "bytes":
            return np.frombuffer(content, dtype=np.uint8)
        points = code_points(content, f"{where}.tokens", path)
        vocabulary = np.frombuffer(self.characters.encode("utf-32-le"), dtype=np.uint32)
        indices = np.searchsorted(vocabulary, points)
        if len(vocabulary):
            is_known = vocabulary[np.minimum(indices, len(vocabulary) - 1)] == points
        else:
            is_known = np.zeros(len(points), dtype=bool)
        return np.where(is_known, indices, len(vocabulary)).astype(np.uint32)


def fit_words(texts: Sequence[str], num_words: int) -> tuple[str, ...]:
    """Return the most frequent words of the training texts, the most frequent first."""
    counts = Counter(word for text in texts for word in _WORD.findall(text.lower()))
    # Equally frequent words are sorted alphabetically, so that the order of the rows does not matter.
    return tuple(sorted(counts, key=lambda word: (-counts[word], word))[:num_words])


def fit_characters(content: bytes, share: float, where: str, path: str) -> str:
    """Return the characters of the first `share` of a text, in order."""
    points = code_points(content, where, path)
    return "".join(chr(point) for point in np.unique(points[: round(len(points) * share)]))


def code_points(content: bytes, where: str, path: str) -> NDArray[np.uint32]:
    """Return the code point of each character [n] of a UTF-8 text."""
    return np.frombuffer(_decoded(where, path, content).encode("utf-32-le"), dtype=np.uint32)


def _pieces(text: str, tokens: Tokens) -> Sequence[str | int]:
    return text.encode() if tokens == "bytes" else _WORD.findall(text.lower())


def _decoded(where: str, path: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise ConfigError(where, f"{path!r} is not written in utf-8; use tokens: bytes") from None


@lru_cache(maxsize=4)
def _tokenizer(source: str) -> Tokenizer:
    return Tokenizer(source)
