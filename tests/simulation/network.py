"""The network between workers and replicas: drops, duplicates and delays messages, and loses replies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tests.simulation.client_record import Call
from tests.simulation.replica import LIMITS, Failed

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

TIMEOUT_SECONDS = 10.0


class Unreachable(Exception):
    """No answer came: the request, or the reply, or the service is gone; nobody can tell which."""


class Network:
    """Delivers calls to whichever replica it finds."""

    def __init__(self, world: Scenario) -> None:
        self._world = world
        self.num_under_way = 0
        """Copies that were sent and have not arrived."""

    async def ask(self, call: Call) -> Any:
        """Send a call and wait for its answer.

        Raises:
            DomainError: it was refused.
            Failed, Unreachable: it may or may not have been carried out.
        """
        chance, faults = self._world.chance, self._world.faults
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if chance.random() >= faults.request_dropped:
            self._send(call, answer, chance.uniform(0.001, 0.1))
        if chance.random() < faults.duplicated:
            is_late = chance.random() < faults.late
            self._send(call, answer, chance.uniform(0, 3 * LIMITS.lease_seconds) if is_late else chance.uniform(0, 1))
        try:
            said = await asyncio.wait_for(answer, TIMEOUT_SECONDS)
        except TimeoutError:
            raise Unreachable from None
        if isinstance(said, Exception):
            raise said
        return said

    def _send(self, call: Call, answer: asyncio.Future[Any], delay_seconds: float) -> None:
        self.num_under_way += 1
        asyncio.get_running_loop().call_later(delay_seconds, self._arrive, call, answer)

    def _arrive(self, call: Call, answer: asyncio.Future[Any]) -> None:
        self.num_under_way -= 1
        loop, chance = asyncio.get_running_loop(), self._world.chance
        # Drawn now: the faults may have ended since the call was sent.
        is_reply_lost = chance.random() < self._world.faults.reply_lost

        def answered(said: Any) -> None:
            if not is_reply_lost:
                loop.call_later(chance.uniform(0.001, 0.1), _tell, answer, said)

        up = [replica for replica in self._world.replicas if replica.is_up]
        if up:
            chance.choice(up).serve(call, answered)
        else:
            answered(Failed())


def _tell(answer: asyncio.Future[Any], said: Any) -> None:
    if not answer.done():
        answer.set_result(said)
