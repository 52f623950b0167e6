"""Logs on the wire: the output of a training process, sent by byte offset, so that sending it twice changes nothing."""

from __future__ import annotations

import base64
from enum import StrEnum
from typing import Self

from pydantic import Base64Bytes, Field

from service.contract.attempt import FailureClass
from service.contract.base import Request, Response
from service.contract.trial import AttemptState

MAX_LOG_BYTES = 256 * 1024
"""Bytes that the service keeps of each stream of an attempt. It keeps the newest, which show how the attempt ended."""

MAX_CHUNK_BYTES = 64 * 1024
"""The largest number of bytes in one request."""


class Stream(StrEnum):
    """An output stream of a process."""

    STDOUT = "stdout"
    STDERR = "stderr"


class LogRequest(Request):
    """Bytes of a stream that begin at `offset`. `content` is encoded in base64."""

    nonce: str
    offset: int = Field(ge=0)
    content: Base64Bytes = Field(max_length=MAX_CHUNK_BYTES * 3 // 2)

    @classmethod
    def of(cls, nonce: str, offset: int, content: bytes) -> Self:
        """Build a request from raw bytes."""
        return cls(nonce=nonce, offset=offset, content=base64.b64encode(content))


class LogReply(Response):
    """The end of the service's copy of the stream. The worker continues from this offset."""

    offset: int


class LogView(Response):
    """What an attempt printed from an offset on, as text. A note replaces bytes that the service did not keep."""

    attempt: int
    stream: Stream
    text: str
    next: int
    """The offset for the next request."""
    ended: bool
    """The attempt has ended. Its last output may still arrive for some seconds."""
    state: AttemptState = AttemptState.RUNNING
    failure: FailureClass | None = None
    """Failure class, if the attempt failed."""
    message: str | None = None
    """Why the attempt ended, in a sentence. None while it runs."""
    traceback: str | None = None
    """Traceback of the failure, if the attempt failed and it is known."""
