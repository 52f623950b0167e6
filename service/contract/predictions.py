"""Predictions on the wire: a file that is kept for a study's best trials, and counts that every trial may tell."""

from __future__ import annotations

from typing import Self

from pydantic import Field, NonNegativeInt, model_validator

from service.contract.base import DamagedRow, Quoted, Request, Response

MAX_CLASSES = 100
"""Of more classes nobody tells a confusion matrix: it grows with their square, and nobody reads it."""

NUM_KEPT = 10
"""Of so many of a study's trials the predictions are kept: the best ones."""

PARQUET = "application/vnd.apache.parquet"
"""The media type of a file of predictions."""


class Confusion(Request):
    """Examples of each true class (rows) by the class that was predicted (columns), of each split that was held out."""

    classes: list[Quoted] = Field(min_length=1, max_length=MAX_CLASSES)
    splits: dict[str, list[list[NonNegativeInt]]]

    @model_validator(mode="after")
    def _is_square(self) -> Self:
        num = len(self.classes)
        for name, rows in self.splits.items():
            if len(rows) != num or any(len(row) != num for row in rows):
                raise ValueError(f"splits.{name} must have {num} rows of {num} counts, one for each of the classes")
        return self


class PredictionsRequest(Request):
    """Register the predictions of an attempt that has completed its trial; their blob was uploaded before."""

    nonce: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)


class PredictionsReply(Response):
    """Whether they are kept, and why not."""

    kept: bool
    reason: str = ""


class PredictionsView(Response):
    """The predictions of a trial, as the service keeps them."""

    trial: str
    number: int | None
    """None: the trial has none, as a fork."""
    values: list[float] | None
    sha256: str
    size: int
    """In bytes."""


class PredictionsList(Response):
    """The trials of a study whose predictions are kept, in the order of their numbers, forks last."""

    trials: list[PredictionsView]
    damaged: list[DamagedRow] = Field(
        default=[], description="trials among these that cannot be read from the database"
    )
