"""What an attempt was made from, and what people should know of it, on the wire."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from service.contract.base import Quoted, Request, Response

Fingerprint = Annotated[str, StringConstraints(min_length=8, max_length=64)]
"""A hash, or whatever else names one state of code or data and no other."""


class ProvenanceRequest(Request):
    """Say once per attempt what it trains with and on, and where; repeating it changes nothing."""

    nonce: str
    code: Fingerprint | None = Field(
        default=None, description="of the user's own code, for a function or a command; none: the claim has told it"
    )
    data: Fingerprint | None = Field(default=None, description="of the examples before they are split; none: unknown")
    environment: dict[Quoted, Quoted] = {}
    """Versions, platform, device: whatever may explain a difference."""


class WarningRequest(Request):
    """Tell people something about an attempt, in one sentence; repeating it changes nothing."""

    nonce: str
    message: Quoted = Field(min_length=1, max_length=500)


class WarningsReply(Response):
    """Everything that people are told about the attempt so far."""

    warnings: list[str]
