"""Predictions on the wire: a Parquet file for each of a study's best trials, and confusion matrices for every trial."""

from __future__ import annotations

from typing import Self

from pydantic import Field, NonNegativeInt, model_validator

from service.contract.base import DamagedRow, Quoted, Request, Response

MAX_CLASSES = 100
"""The largest number of classes of a confusion matrix, whose size grows with their square. With more it is left out."""

NUM_KEPT = 10
"""The number of a study's trials whose predictions are kept: the best ones."""

PARQUET = "application/vnd.apache.parquet"
"""The media type of a predictions file."""


class Confusion(Request):
    """A confusion matrix per held-out split: counts of examples by true class (rows) and predicted class (columns)."""

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
    """Register the predictions of an attempt that completed its trial. Their blob must be uploaded before."""

    nonce: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=1)


class PredictionsReply(Response):
    """Whether the service keeps the predictions, and why not."""

    kept: bool
    reason: str = ""


class PredictionsView(Response):
    """The predictions that the service keeps for one trial."""

    trial: str
    number: int | None
    """None: the trial is a fork and has no number."""
    values: list[float] | None
    sha256: str
    size: int
    """Size in bytes."""


class PredictionsList(Response):
    """The trials of a study whose predictions are kept, ordered by number, with forks last."""

    trials: list[PredictionsView]
    damaged: list[DamagedRow] = Field(
        default=[], description="trials among these that cannot be read from the database"
    )
