"""Faults of a scenario and their probabilities, drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random

CALM_SHARE = 0.08
"""How many worlds have no faults at all: what is wasted there is wasted by the service."""


@dataclass(frozen=True)
class Faults:
    """Probabilities per message, transaction or step, and mean seconds between events (0: never)."""

    request_dropped: float = 0.0
    reply_lost: float = 0.0
    duplicated: float = 0.0
    late: float = 0.0
    """Of the copies: how many arrive only after up to three leases."""
    statement_lost: float = 0.0
    """The database goes away in the middle of a transaction."""
    commit_refused: float = 0.0
    commit_unknown: float = 0.0
    """Committed, but the replica is told that the connection broke."""
    conflict: float = 0.0
    stall: float = 0.0
    """A transaction or a read waits for seconds before it is executed, or its answer does."""
    replica_crash_seconds: float = 0.0
    outage_seconds: float = 0.0
    worker_crash_seconds: float = 0.0
    worker_pause_seconds: float = 0.0
    failing_step: float = 0.0
    """Per step: the training ends badly, the agent lives; how is drawn, too."""
    host_fault_seconds: float = 0.0
    """A host goes bad for a while, and fails whatever it begins."""
    broken_study: float = 0.0
    """Per study: its code fails alike in every trial until a person repairs it."""
    demanding_trial: float = 0.0
    """Per trial: it needs more memory than small GPUs have, or takes its process down wherever it begins."""
    restore: float = 0.0
    """The database goes back to a backup, once."""
    skew_seconds: float = 0.0
    """How far the clocks of hosts are off."""


WILDEST = Faults(
    request_dropped=0.10,
    reply_lost=0.10,
    duplicated=0.15,
    late=0.4,
    statement_lost=0.004,
    commit_refused=0.03,
    commit_unknown=0.03,
    conflict=0.05,
    stall=0.03,
    replica_crash_seconds=30.0,
    outage_seconds=80.0,
    worker_crash_seconds=40.0,
    worker_pause_seconds=25.0,
    failing_step=0.06,
    host_fault_seconds=60.0,
    broken_study=0.5,
    demanding_trial=0.4,
    restore=0.6,
    skew_seconds=86_400.0,
)
NONE = Faults()


def drawn(chance: Random) -> Faults:
    """Faults of one world: each kind is absent in some worlds, so that one cannot hide what another would show."""
    faults = NONE
    if chance.random() < CALM_SHARE:
        return faults
    for field in fields(Faults):
        worst = getattr(WILDEST, field.name)
        if chance.random() < 0.6:
            share = chance.uniform(0.2, 1.0)
            # A rate grows with its share, a mean time between events shrinks.
            is_interval = field.name.endswith("_seconds") and field.name != "skew_seconds"
            faults = replace(faults, **{field.name: worst / share if is_interval else worst * share})
    return faults
