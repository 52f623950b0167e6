"""Logs on the wire: what a training process printed, told by offset, so that telling it twice changes nothing."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Self

from pydantic import Base64Bytes, Field

from service.contract.base import Request, Response
from service.contract.lease import FailureClass
from service.contract.trial import AttemptState

MAX_LOG_BYTES = 256 * 1024
"""So much of each stream of an attempt is kept: the newest, which tells how it ended."""

MAX_CHUNK_BYTES = 64 * 1024
"""So much is told at once."""


class Stream(StrEnum):
    """Where a process prints."""

    STDOUT = "stdout"
    STDERR = "stderr"


class LogRequest(Request):
    """Bytes of a stream from `offset` on; `content` is written in base64."""

    nonce: str
    offset: int = Field(ge=0)
    content: Base64Bytes = Field(max_length=MAX_CHUNK_BYTES * 3 // 2)

    @classmethod
    def of(cls, nonce: str, offset: int, content: bytes) -> Self:
        """Make a request of bytes as they are."""
        return cls(nonce=nonce, offset=offset, content=base64.b64encode(content))


class LogReply(Response):
    """Where the service's copy of the stream ends; go on from there."""

    offset: int


class LogView(Response):
    """What an attempt printed from an offset on, as text; what is not kept is told in its place."""

    attempt: int
    stream: Stream
    text: str
    next: int
    """The offset to ask from next time."""
    ended: bool
    """The attempt is over; its last words may still be on their way for some seconds."""
    state: AttemptState = AttemptState.RUNNING
    failure: FailureClass | None = None
    """Of an attempt that failed: how."""
    message: str | None = None
    """Why the attempt ended, in a sentence; none while it runs."""
    traceback: str | None = None
    """Of an attempt that failed: where in the code, as far as known."""
