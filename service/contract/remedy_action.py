"""Actions on the wire: what the service does when a remedy of a finding is applied."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from service.contract.base import Count, Identifier, Request, Value
from service.contract.space import MAX_PARAMETERS

MAX_CHANGES = 100
"""The largest number of settings that one action changes."""

Changes = Annotated[dict[str, Any], Field(min_length=1, max_length=MAX_CHANGES)]
"""Dotted path into the spec -> its new value, as `study edit --set` takes them. None removes a setting."""

Configuration = Annotated[dict[str, Value], Field(max_length=MAX_PARAMETERS)]
"""A value for each parameter of the space."""


class EditAction(Request):
    """Edit the study, and then try a configuration of the edited space, if one is given."""

    kind: Literal["edit"] = "edit"
    changes: Changes
    enqueue: Configuration | None = None


class EnqueueAction(Request):
    """Try a configuration next."""

    kind: Literal["enqueue"] = "enqueue"
    parameters: Configuration


class ForkAction(Request):
    """Continue a trial from its newest checkpoint with changed settings of its task."""

    kind: Literal["fork"] = "fork"
    trial: int = Field(ge=0, le=2**53)
    settings: Annotated[dict[str, Value], Field(min_length=1, max_length=MAX_CHANGES)]


class ExtendAction(Request):
    """Raise the study's number of trials."""

    kind: Literal["extend"] = "extend"
    trials: Count


class FollowUpAction(Request):
    """Create a follow-up study: the study's spec with changed settings, under a new name.

    It tries a configuration first, if one is given.
    """

    kind: Literal["follow_up"] = "follow_up"
    name: Identifier
    changes: Changes
    enqueue: Configuration | None = None


class StopAction(Request):
    """End the search."""

    kind: Literal["stop"] = "stop"


class PreflightAction(Request):
    """Have a worker check the study again."""

    kind: Literal["preflight"] = "preflight"


RemedyAction = Annotated[
    EditAction | EnqueueAction | ForkAction | ExtendAction | FollowUpAction | StopAction | PreflightAction,
    Field(discriminator="kind"),
]
"""What the service does when a remedy is applied."""
