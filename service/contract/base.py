"""What all messages share: how they treat unknown fields, and the words that several of them use."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

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


class TaskKind(StrEnum):
    """Who executes a trial: the training core, an allowed function or command, or a caller of the API."""

    TRAIN = "train"
    FUNCTION = "function"
    COMMAND = "command"
    EXTERNAL = "external"


class Request(BaseModel):
    """A message to the service; an unknown field is an error, so that a typo is never silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Response(BaseModel):
    """A message from the service; unknown fields are ignored, so that an older client survives a newer service."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def by_name(value: object) -> object:
    """Read a bare name as the mapping that it is short for: `sampler: grid` says `sampler: {name: grid}`."""
    return {"name": value} if isinstance(value, str) else value
