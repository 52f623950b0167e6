"""Limits request bodies: their size, the pauses in them, and how slowly they may arrive."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from service.clock import monotonic
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError

MIN_BYTES_PER_SECOND = 1024
"""The lowest average rate of a body, after an allowance of three times the longest pause."""


class TimedBody:
    """Receives a body of any size while data keeps arriving. Counts only the time that the service waits for data."""

    def __init__(self, receive: Receive, stall_seconds: float) -> None:
        self._receive = receive
        self._stall_seconds = stall_seconds
        self._num_bytes = 0
        self._waited_seconds = 0.0
        self._is_complete = False

    async def receive(self) -> Message:
        """Receive the next message of the connection.

        Raises:
            DomainError: body_timeout.
        """
        if self._is_complete:
            return await self._receive()
        earned = 3 * self._stall_seconds + self._num_bytes / MIN_BYTES_PER_SECOND
        began = monotonic()
        try:
            async with asyncio.timeout(min(self._stall_seconds, max(0.0, earned - self._waited_seconds))):
                message = await self._receive()
        except TimeoutError:
            raise DomainError(
                ErrorCode.BODY_TIMEOUT,
                f"the body stopped coming after {self._num_bytes} bytes, or came too slowly; send it again without a "
                f"pause of more than {self._stall_seconds:g} s, at {MIN_BYTES_PER_SECOND} bytes a second or more",
            ) from None
        self._waited_seconds += monotonic() - began
        self._num_bytes += len(message.get("body", b""))
        self._is_complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message


async def read_body(body: TimedBody, headers: Headers, max_bytes: int) -> Receive:
    """Read a whole body of at most `max_bytes` bytes and return a function that passes it to the application.

    Raises:
        DomainError: body_too_large, as soon as that is known, or body_timeout.
    """
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    pieces, num_bytes = [], 0
    while True:
        message = await body.receive()
        if message["type"] != "http.request":  # the client disconnected
            return _after([message], body.receive)
        num_bytes += len(message.get("body", b""))
        if num_bytes > max_bytes:
            raise _too_large(max_bytes)
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return _after([{"type": "http.request", "body": b"".join(pieces), "more_body": False}], body.receive)


def _after(first: list[Message], then: Receive) -> Receive:
    """Return a `Receive` that yields the messages in `first`, and then those of `then`."""

    async def receive() -> Message:
        return first.pop(0) if first else await then()

    return receive


def _too_large(max_bytes: int) -> DomainError:
    return DomainError(
        ErrorCode.BODY_TOO_LARGE,
        f"the body is larger than {max_bytes // 1024} KiB; send less at once, or allow more by ASSAYER_BODY_KIB",
    )
