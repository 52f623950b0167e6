"""The token: compares it in constant time, and logs and slows down callers who send wrong ones."""

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
"""Describes the token in OpenAPI. The gate checks it, before anything of a body is read."""

WINDOW_SECONDS = 60.0
"""Failures are forgotten this long after the first of them."""
FREE_FAILURES = 5
"""This many failures in a window are answered at once."""
MAX_DELAY_SECONDS = 4.0
MAX_WAITING = 32
"""This many refusals wait at one time; further ones are answered at once with 429."""
MAX_ADDRESSES = 1024
"""Failures of this many client addresses are remembered, the latest ones."""
LOG_SECONDS = 10.0
"""The shortest time between two lines about wrong tokens in the log."""


@dataclass
class _Failures:
    since: float
    num: int = 0


class TokenCheck:
    """Lets requests with the right token pass at once, and refuses the others, ever more slowly."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._num_waiting = 0
        self._unlogged: list[str] = []
        self._logger: asyncio.TimerHandle | None = None

    async def check(self, scope: Scope, headers: Headers) -> None:
        """Check the token of a request.

        Raises:
            DomainError: unauthorized, or too_many_requests if too many refusals wait already.
        """
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise DomainError(
                ErrorCode.UNAUTHORIZED,
                "this service wants a token; set ASSAYER_TOKEN, sent as Authorization: Bearer TOKEN",
            )
        if hmac.compare_digest(sent.strip().encode("latin-1"), self._token):
            return
        await self._slow_down(_network(scope["client"][0] if scope.get("client") else "an unknown address"))
        raise DomainError(ErrorCode.UNAUTHORIZED, "the token is not this service's; check ASSAYER_TOKEN on both sides")

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
        """Log a failure at once, and those of the next seconds together."""
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
    """What failures are counted by: an IPv4 address, or the /64 network that one IPv6 client has to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:100]
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
