"""What all messages share: how they treat unknown fields, and the words that several of them use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from service.contract.storable import MAX_COUNT, find_flaw, to_storable

PROTOCOL_VERSION = 1
"""Sent by workers with every claim; a service that does not speak it refuses."""

Scalar = bool | int | float | str
"""A single value."""

Value = Scalar | list[Scalar]
"""What a parameter may be set to; a list (the widths of hidden layers, say) only as a choice of a categorical one."""

Direction = Literal["maximize", "minimize"]

Directions = tuple[Direction, ...]
"""One for each objective."""

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name that people type: letters, digits, '.', '_' and '-', starting with a letter or digit."""


Quoted = Annotated[str, BeforeValidator(lambda text: to_storable(text) if isinstance(text, str) else text)]
"""Text that user code wrote (printed, raised, named): what no database can store is replaced, as U+FFFD, not refused.

A trial whose exception holds a lone surrogate still ends as what it is.
"""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""How many trials, failures or steps."""

Priority = Annotated[int, Field(ge=-MAX_COUNT, le=MAX_COUNT)]
"""What goes first: the larger number."""


class TaskKind(StrEnum):
    """Who executes a trial: the training core, an allowed function or command, or a caller of the API."""

    TRAIN = "train"
    FUNCTION = "function"
    COMMAND = "command"
    EXTERNAL = "external"


class Request(BaseModel):
    """A message to the service.

    Refuses unknown fields, so that a typo is an error, and values that the service could store but not read back.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_is_storable(self) -> Self:
        # Each model checks its own fields; a nested Request has checked its own before, so each value is visited once.
        for name, value in self.__dict__.items():
            flaw = find_flaw(value)
            if flaw is not None:
                error = PydanticCustomError("unstorable", "{reason}", {"reason": flaw.reason})
                line = InitErrorDetails(type=error, loc=(name, *flaw.path), input=value)
                # Pydantic adds the lines of a nested ValidationError to its own, below the path of this model.
                raise ValidationError.from_exception_data(type(self).__name__, [line])
        return self


class Response(BaseModel):
    """A message from the service.

    Ignores unknown fields, so that an older client survives a newer service. Holds no number that is NaN or infinite,
    because pydantic writes these as null.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class DamagedRow(Response):
    """A row of a listing that is damaged in the database, and so is not among the listing's intact ones."""

    name: str = Field(
        description="of a study or worker its name, of a trial its number or id, of an event its revision"
    )
    reason: str


def by_name(value: object) -> object:
    """Read a bare name as the mapping that it is short for: `sampler: grid` says `sampler: {name: grid}`."""
    return {"name": value} if isinstance(value, str) else value
