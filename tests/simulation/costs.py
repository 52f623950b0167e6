"""What the service wastes where nothing goes wrong: bounds on attempts and transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.simulation import views
from tests.simulation.faults import NONE

if TYPE_CHECKING:
    from tests.simulation.world import World

WRITES_PER_ANSWER = 2.0
"""Transactions that write, per answered call, the reaper's rounds left out."""


def check(world: World) -> Iterator[str]:
    """In a world without faults every trial takes one attempt, nobody is refused, and few transactions are needed."""
    if world.plan.faults != NONE:
        return
    stopped = views.rows("SELECT 1 FROM journal WHERE kind = 'stop_requested' LIMIT 1")
    again = views.rows("SELECT number, num_attempts FROM trial WHERE num_attempts > 1")
    if again:
        yield f"nothing went wrong, and trials took more than one attempt: {again}"
    refused = [answer for answer in world.record.answers if answer.refusal and not answer.call.is_foreign]
    refused = [answer for answer in refused if not answer.call.is_hasty]
    if refused and not stopped:
        yield f"nothing went wrong, and {len(refused)} calls were refused, such as {refused[0]}"
