"""Base classes of requests and responses, and types that several messages share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.contract.storable import MAX_COUNT, find_flaw, to_storable

PROTOCOL_VERSION = 1
"""The version of the protocol.

Workers send it with every claim, and the service refuses a version it does not speak.
"""

Scalar = bool | int | float | str
"""A single value: a boolean, a number or a text."""

Value = Scalar | list[Scalar]
"""The value of a parameter.

A list (the widths of hidden layers, say) is allowed only as a choice of a categorical one.
"""

Direction = Literal["maximize", "minimize"]

Directions = tuple[Direction, ...]
"""The direction of each objective, in the order of the objectives."""

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that people type: letters, digits, '.', '_' and '-', starting with a letter or digit."""


Quoted = Annotated[str, BeforeValidator(lambda text: to_storable(text) if isinstance(text, str) else text)]
"""Text that user code wrote (printed, raised or named). Characters that no database can store become U+FFFD.

Such text is replaced, not refused: a trial whose exception holds a lone surrogate still ends with its own outcome.
"""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""A number of trials, failures or steps: at least 1, at most MAX_COUNT."""

Priority = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
"""A priority in a queue. The larger number goes first."""


class TaskKind(StrEnum):
    """What executes a trial: the training core, an estimator, a function or command, or a caller of the API."""

    TRAIN = "train"
    ESTIMATOR = "estimator"
    FUNCTION = "function"
    COMMAND = "command"
    EXTERNAL = "external"


class Request(BaseModel):
    """Base class of a message to the service.

    It refuses unknown fields, so that a typo is an error. It also refuses values that the service could store but not
    read back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_is_storable(self) -> Self:
        # Each model checks only its own fields. A nested Request has already checked its own, so each value is visited
        # once.
        for name, value in self.__dict__.items():
            flaw = find_flaw(value)
            if flaw is not None:
                error = PydanticCustomError("unstorable", "{reason}", {"reason": flaw.reason})
                line = InitErrorDetails(type=error, loc=(name, *flaw.path), input=value)
                # Pydantic adds the lines of a nested ValidationError to its own, below the path of this model.
                raise ValidationError.from_exception_data(type(self).__name__, [line])
        return self


class Response(BaseModel):
    """Base class of a message from the service.

    It ignores unknown fields, so that an older client works with a newer service. It refuses NaN and infinite numbers,
    because pydantic writes these as null.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class DamagedRow(Response):
    """A damaged row of the database that a listing had to leave out."""

    name: str = Field(
        description="of a study or worker its name, of a trial its number or id, of an event its revision"
    )
    reason: str


def by_name(value: object) -> object:
    """Expand a bare name to the mapping that it abbreviates: `sampler: grid` becomes `sampler: {name: grid}`."""
    return {"name": value} if isinstance(value, str) else value
