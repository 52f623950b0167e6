"""Fitted preprocessing as plain data: a frozen value per kind of input that encodes raw examples as training did.

A data source fits the value on its training split, and encodes all splits by it. So new examples, which a saved model
predicts on, take the same path as those of the training.
"""

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import Field, TypeAdapter

from worker.training.data.preprocessing.arrays import ArrayPreprocessing
from worker.training.data.preprocessing.images import ImagePreprocessing
from worker.training.data.preprocessing.table import TablePreprocessing
from worker.training.data.preprocessing.tokens import StreamPreprocessing, TextPreprocessing

Preprocessing: TypeAlias = (
    TablePreprocessing | ArrayPreprocessing | ImagePreprocessing | TextPreprocessing | StreamPreprocessing
)

_ADAPTER: TypeAdapter[Preprocessing] = TypeAdapter(Annotated[Preprocessing, Field(discriminator="kind")])


def to_mapping(preprocessing: Preprocessing) -> dict[str, Any]:
    """Return the value as JSON stores it."""
    mapping: dict[str, Any] = _ADAPTER.dump_python(preprocessing, mode="json")
    return mapping


def from_mapping(mapping: Mapping[str, Any]) -> Preprocessing:
    """Return the value that `to_mapping` wrote."""
    return _ADAPTER.validate_python(mapping)


__all__ = [
    "ArrayPreprocessing",
    "ImagePreprocessing",
    "Preprocessing",
    "StreamPreprocessing",
    "TablePreprocessing",
    "TextPreprocessing",
    "from_mapping",
    "to_mapping",
]
