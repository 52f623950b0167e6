"""Authentication by the service's token: compares it in constant time, logs wrong tokens and delays their senders."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import logging
from collections import OrderedDict
from dataclasses import dataclass

from fastapi.security import HTTPBearer
from starlette.datastructures import Headers
from starlette.types import Scope

from service.clock import monotonic, sleep
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError

log = logging.getLogger(__name__)

bearer = HTTPBearer(auto_error=False, description="The service's ASSAYER_TOKEN; not needed where it has none")
"""Describes the token in OpenAPI. The gate checks it before it reads any of the body."""

WINDOW_SECONDS = 60.0
"""Failures are forgotten this many seconds after the first of them."""
FREE_FAILURES = 5
"""The number of failures per window that are answered without delay."""
MAX_DELAY_SECONDS = 4.0
MAX_WAITING = 32
"""The largest number of refusals delayed at one time. Further ones are answered at once with 429."""
MAX_ADDRESSES = 1024
"""The largest number of client addresses whose failures are remembered. The latest ones are kept."""
LOG_SECONDS = 10.0
"""The shortest time between two log lines about wrong tokens."""


@dataclass
class _Failures:
    since: float
    num: int = 0


class TokenCheck:
    """Admits requests with the right token at once, and refuses others with growing delays."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._num_waiting = 0
        self._unlogged: list[str] = []
        self._logger: asyncio.TimerHandle | None = None

    async def check(self, scope: Scope, headers: Headers) -> None:
        """Check the token of a request.

        Raises:
            DomainError: unauthorized, or too_many_requests if too many refusals are delayed already.
        """
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise DomainError(
                ErrorCode.UNAUTHORIZED,
                "this service requires a token; set ASSAYER_TOKEN, sent as Authorization: Bearer TOKEN",
            )
        if hmac.compare_digest(sent.strip().encode("latin-1"), self._token):
            return
        await self._slow_down(_network(scope["client"][0] if scope.get("client") else "an unknown address"))
        raise DomainError(
            ErrorCode.UNAUTHORIZED, "the token is wrong for this service; check ASSAYER_TOKEN on both sides"
        )

    async def _slow_down(self, address: str) -> None:
        self._log(address)
        now = monotonic()
        failures = self._failures.get(address)
        if failures is None or now - failures.since > WINDOW_SECONDS:
            failures = self._failures[address] = _Failures(now)
        failures.num += 1
        self._failures.move_to_end(address)
        while len(self._failures) > MAX_ADDRESSES:
            self._failures.popitem(last=False)
        if failures.num <= FREE_FAILURES:
            return
        if self._num_waiting >= MAX_WAITING:
            raise DomainError(
                ErrorCode.TOO_MANY_REQUESTS,
                "too many requests came with a wrong token; check ASSAYER_TOKEN, and try again later",
            )
        self._num_waiting += 1
        try:
            await sleep(min(0.25 * 2.0 ** min(failures.num - FREE_FAILURES - 1, 10), MAX_DELAY_SECONDS))
        finally:
            self._num_waiting -= 1

    def _log(self, address: str) -> None:
        """Log a failure at once, and the failures of the next LOG_SECONDS together."""
        if self._logger is not None:
            self._unlogged.append(address)
            del self._unlogged[MAX_ADDRESSES:]
            return
        log.warning("a request from %s came with a wrong token", address)
        self._logger = asyncio.get_running_loop().call_later(LOG_SECONDS, self._log_rest)

    def _log_rest(self) -> None:
        self._logger = None
        if self._unlogged:
            addresses = list(dict.fromkeys(self._unlogged))
            shown = ", ".join(addresses[:5]) + (", …" if len(addresses) > 5 else "")
            log.warning("%d more requests came with a wrong token, from %s", len(self._unlogged), shown)
            self._unlogged.clear()
            self._logger = asyncio.get_running_loop().call_later(LOG_SECONDS, self._log_rest)


def _network(address: str) -> str:
    """Return the key by which failures are counted: the IPv4 address, or the /64 network of an IPv6 address."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
