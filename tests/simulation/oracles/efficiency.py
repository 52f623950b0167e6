"""Counts waste where nothing fails: attempts, refusals and transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.simulation.faults import NONE
from tests.simulation.oracles import database_view
from tests.simulation.replica import LIMITS

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

UNDER_WAY_SECONDS = 2.0
"""For so long a claim may not know what the claims and signs of life beside it have written."""


class Costs:
    """Looks at what is written in a world without faults, and at its end at what was done twice."""

    def __init__(self, world: Scenario) -> None:
        self._world = world
        self._is_calm = world.plan.faults == NONE
        self._seen: dict[str, int] = {}

    def look(self) -> None:
        """A claim writes its worker down only where half a heartbeat has passed since somebody last did."""
        if not self._is_calm:
            return
        for name, seen_at in database_view.rows("SELECT name, last_seen_at FROM worker"):
            before = self._seen.get(name)
            if before == seen_at:
                continue
            self._seen[name] = seen_at
            silence = (seen_at - before) / 1e6 if before is not None else 0.0
            since_heartbeat = (seen_at - self._world.record.heartbeats.get(name, 0)) / 1e6
            if since_heartbeat > UNDER_WAY_SECONDS and UNDER_WAY_SECONDS < silence < LIMITS.heartbeat_seconds / 2:
                self._world.blame(f"{name} was written down {silence:.1f} s after it had been")

    def check(self, world: Scenario) -> Iterator[str]:
        """Every trial took one attempt and one per promotion, and nobody who keeps the protocol was refused."""
        if not self._is_calm:
            return
        again = database_view.rows(
            "SELECT number, num_attempts FROM trial WHERE num_attempts > 1 + (SELECT count(*) FROM journal"
            " WHERE journal.trial_id = trial.id AND kind = 'trial_promoted')"
        )
        if again:
            yield f"nothing went wrong, and trials took more than one attempt: {again}"
        calls = [answer for answer in world.record.answers if answer.refusal is not None]
        refused = [answer for answer in calls if not answer.call.is_foreign and not answer.call.is_hasty]
        if refused:
            yield f"nothing went wrong, and {len(refused)} calls were refused, such as {refused[0]}"
