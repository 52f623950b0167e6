"""uvicorn's HTTP connections with limits on their number per client and on the time without progress.

uvicorn limits the idle time between two requests only. It does not limit how long the head of a request takes, how much
of a refused body it reads, how long a client leaves its answer unread, and how many connections there are.
`service.api.body_limit` limits a body that the application waits for, because it can still answer.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from service.clock import monotonic

DRAIN_BYTES = 64 * 1024 * 1024
"""Bytes of a refused body that are read and dropped, so that a client that sends all of it still sees the answer."""
ANSWER_STALLS = 3
"""A client may leave its answer unread for this many times the longest pause (`stall_seconds`)."""
RESERVED_FILES = 128
"""Number of open files reserved for the database, the blobs and the log."""

_REFUSED = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n"
    b"Retry-After: 10\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
)
_TOO_MANY = (
    b'{"type":"urn:assayer:problem:busy","title":"Busy","status":503,"code":"busy","errors":[],'
    b'"detail":"too many connections are open; close some, or allow more by ASSAYER_CONNECTIONS_PER_CLIENT"}'
)


@dataclass(frozen=True)
class ConnectionLimits:
    """Limits of one connection, of one client address and of all connections together."""

    stall_seconds: float
    """The longest time for a request's head, and the longest pause of a dropped body, in seconds."""
    per_client: int
    total: int


def raise_file_limit() -> int:
    """Raise the process's limit of open files to what the system allows. Return the number available to connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target_limit = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    resource.setrlimit(resource.RLIMIT_NOFILE, (target_limit, hard))
    return max(target_limit - RESERVED_FILES, target_limit // 2)


def limited_protocol(limits: ConnectionLimits) -> type[H11Protocol]:
    """Create the protocol class of one server, with its own count of connections."""

    class Limited(_LimitedConnection):
        _limits = limits
        _num_open = Counter()

    return Limited


class _LimitedConnection(H11Protocol):
    """One connection with limits.

    A timer checks it four times per `stall_seconds`, so that traffic starts no timers.
    """

    _limits: ClassVar[ConnectionLimits]
    _num_open: ClassVar[Counter[str]]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._address = self.client[0] if self.client else ""
        self._received_at = self._moved_at = monotonic()
        self._head_since: float | None = self._received_at
        self._num_dropped = self._num_unsent = 0
        self._timer = self.loop.call_later(self._limits.stall_seconds / 4, self._check_stall)
        self._num_open[self._address] += 1
        if self._num_open[self._address] > self._limits.per_client or self._num_open.total() > self._limits.total:
            transport.write(_REFUSED % (len(_TOO_MANY), _TOO_MANY))
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._num_open[self._address] -= 1
        if not self._num_open[self._address]:
            del self._num_open[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._received_at = monotonic()
        if self.transport.is_closing():
            return
        if self._is_answered() and self.conn.their_state is h11.SEND_BODY:
            self._num_dropped += len(data)
            if self._num_dropped > DRAIN_BYTES:
                self.transport.abort()
                return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE or not self.conn.trailing_data[0]:
            self._head_since = None  # the head is complete, or no byte of the next one has arrived
        elif self._head_since is None:
            self._head_since = self._received_at

    def on_response_complete(self) -> None:
        self._received_at = monotonic()
        self._num_dropped = 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not valid HTTP."""
        detail = f'"{msg}"'.encode("ascii")
        body = (
            b'{"type":"urn:assayer:problem:invalid_request","title":"Invalid request","status":400,'
            b'"code":"invalid_request","errors":[],"detail":%s}' % detail
        )
        headers = [
            ("Content-Type", "application/problem+json"),
            ("X-Content-Type-Options", "nosniff"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _is_answered(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete

    def _check_stall(self) -> None:
        """Abort the connection if it has stalled for too long. Otherwise schedule the next check."""
        if self._is_stalled(monotonic()):
            self.transport.abort()
            return
        self._timer = self.loop.call_later(self._limits.stall_seconds / 4, self._check_stall)

    def _is_stalled(self, now: float) -> bool:
        stall_seconds = self._limits.stall_seconds
        num_unsent = self.transport.get_write_buffer_size()
        if num_unsent == 0 or num_unsent < self._num_unsent:
            self._moved_at = now
        self._num_unsent = num_unsent
        if num_unsent or self.transport.is_closing():
            return now - self._moved_at > ANSWER_STALLS * stall_seconds
        if self._head_since is not None:
            return now - self._head_since > stall_seconds
        if self.cycle is not None and not self.cycle.response_complete:
            return False  # the application is computing the answer
        if self.conn.their_state is h11.SEND_BODY:
            return now - self._received_at > stall_seconds
        return now - self._received_at > self.timeout_keep_alive


def connection_settings(limits: ConnectionLimits, keep_alive_seconds: float) -> dict[str, Any]:
    """Return the arguments of `uvicorn.Config` that apply these limits."""
    return {"http": limited_protocol(limits), "ws": "none", "timeout_keep_alive": keep_alive_seconds}
