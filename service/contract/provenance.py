"""Provenance on the wire: the code, data and environment of an attempt, and warnings about it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from service.contract.base import Quoted, Request, Response

Fingerprint = Annotated[str, StringConstraints(min_length=8, max_length=64)]
"""A hash, or another text that identifies one state of code or data."""


class ProvenanceRequest(Request):
    """Record the code, data and environment of an attempt, once per attempt. Repeating the request changes nothing."""

    nonce: str
    code: Fingerprint | None = Field(
        default=None,
        description="fingerprint of the user's code of a function or command task; none: the claim carried it",
    )
    data: Fingerprint | None = Field(
        default=None, description="fingerprint of the examples before the split; none: unknown"
    )
    environment: dict[Quoted, Quoted] = {}
    """Versions, platform and device: facts that may explain a difference in results."""


class WarningRequest(Request):
    """Record a warning about an attempt, in one sentence. Repeating the request changes nothing."""

    nonce: str
    message: Quoted = Field(min_length=1, max_length=500)


class WarningsReply(Response):
    """All warnings recorded for the attempt so far."""

    warnings: list[str]
