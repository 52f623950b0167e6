"""Checks that faulty hosts are quarantined and broken studies paused, and only these."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from service.contract.attempt import FailureClass, Outcome
from tests.simulation.client_record import Key
from tests.simulation.oracles import database_view

if TYPE_CHECKING:
    from tests.simulation.scenario import Scenario

BROKEN = {FailureClass.USER_EXCEPTION, FailureClass.POISON}
NO_END = {
    FailureClass.WORKER_LOST,
    FailureClass.PROCESS_KILLED,
    FailureClass.HUNG,
    FailureClass.HOST_FAULT,
    FailureClass.PREEMPTED,
}
"""What says something about machines, and nothing about the study's code."""
FIRST_TRIALS, LAST_ATTEMPTS = 3, 20
MAX_HOST_FAULTS = 5


@dataclass(frozen=True)
class End:
    """An attempt that came to an end of its own."""

    trial: str
    fault: str | None
    """What speaks against the study's code or spec, in words that are equal for equal faults."""
    is_failing: bool = False
    """Whether it speaks against the code."""


@dataclass
class Failings:
    """The ends of one study's attempts since it began, was resumed or was extended."""

    ends: list[End] = field(default_factory=list)

    def copy(self) -> Failings:
        return Failings(list(self.ends))

    def read(
        self, world: Scenario, study_id: str, events: list[Any], *, is_active: bool, pause_cause: str | None
    ) -> Iterator[str]:
        """Take in what one transaction wrote to the journal, and say what was wrong with it."""
        kinds = {kind for _, kind, _, _ in events}
        if kinds & {"study_resumed", "study_extended"}:
            self.ends.clear()
        failed = False
        for _, kind, trial, attempt in events:
            if kind in {"attempt_succeeded", "attempt_pruned", "attempt_failed"}:
                filed, outcome = _ended((trial, attempt))
                if outcome.failure is FailureClass.HOST_FAULT:
                    yield from _judge_host_fault(world, study_id, (trial, attempt), filed)
                if filed not in NO_END:
                    end = _end(trial, filed, outcome)
                    self.ends.append(end)
                    failed = end.fault is not None
        is_broken = self._is_broken()
        if failed and is_broken and is_active:
            yield f"the study's code is broken ({self.ends[-1].fault}), and it goes on"
        if "study_paused" in kinds and pause_cause == "failures" and not is_broken:
            yield f"the study was paused for failures that were not enough: {self.ends}"

    def _is_broken(self) -> bool:
        first: dict[str, set[str | None]] = {}
        for end in self.ends[:LAST_ATTEMPTS]:
            first.setdefault(end.trial, set()).add(end.fault)
        opening = list(first.values())[:FIRST_TRIALS]
        faults = set().union(*opening)
        if len(opening) == FIRST_TRIALS and len(faults) == 1 and None not in faults:
            return True
        last = self.ends[-LAST_ATTEMPTS:]
        return len(last) == LAST_ATTEMPTS and 2 * sum(end.is_failing for end in last) >= LAST_ATTEMPTS


def _end(trial: str, filed: FailureClass | None, outcome: Outcome) -> End:
    """What an attempt's end says of its study."""
    if filed in BROKEN:
        return End(trial, _fault(outcome), is_failing=True)
    if filed is FailureClass.INVALID:
        return End(trial, _fault(outcome))
    if filed is FailureClass.INFEASIBLE:
        return End(trial, f"infeasible {outcome.message}")
    ((state, reason),) = database_view.rows("SELECT state, state_reason FROM trial WHERE id = ?", trial)
    if filed is None and state == "failed":
        return End(trial, f"silent {reason}", is_failing=True)
    return End(trial, None)


def _ended(key: Key) -> tuple[FailureClass | None, Outcome]:
    ((failure, text),) = database_view.rows(
        "SELECT failure, outcome FROM attempt WHERE trial_id = ? AND number = ?", *key
    )
    outcome = database_view.outcome_of(text)
    assert outcome is not None
    return FailureClass(failure) if failure else None, outcome


def _fault(outcome: Outcome) -> str:
    """The exception where there is one; else what was said, without its numbers."""
    return (outcome.traceback or re.sub(r"\d+", "#", outcome.message)).strip().rsplit("\n", 1)[-1]


def _judge_host_fault(world: Scenario, study_id: str, key: Key, filed: FailureClass | None) -> Iterator[str]:
    """Two in a row on a host: quarantine where others do well, a fault of the code where nobody does."""
    ((name, ended_at),) = database_view.rows(
        "SELECT worker, ended_at FROM attempt WHERE trial_id = ? AND number = ?", *key
    )
    host = world.worker_plans[name].host
    attempts = database_view.rows(
        "SELECT trial_id, number, study_id, worker, failure, num_reports, ended_at FROM attempt"
    )
    here = [row for row in attempts if world.worker_plans[row[3]].host == host]
    before = [row for row in here if row[6] is not None and (row[0], row[1]) != key]
    others_do_well = any(
        row[2] == study_id and row[5] > 0 and world.worker_plans[row[3]].host != host for row in attempts
    )
    if not others_do_well:
        before = [row for row in before if row[2] == study_id]
    last = max(before, key=lambda row: row[6], default=None)
    if last is not None and last[6] == ended_at:
        return  # two at one instant: nobody can say which was the last
    is_second = last is not None and last[4] == FailureClass.HOST_FAULT
    num_earlier = sum(row[0] == key[0] and row[4] == FailureClass.HOST_FAULT for row in before)
    is_charged = (is_second and not others_do_well) or num_earlier >= MAX_HOST_FAULTS
    wanted = FailureClass.USER_EXCEPTION if is_charged else FailureClass.HOST_FAULT
    if filed != wanted:
        yield f"{key}, a fault of host {host}, was filed as {filed}, though it is a {wanted}"
    if is_second and others_do_well:
        free = database_view.rows("SELECT name FROM worker WHERE host = ? AND quarantined_at IS NULL", host)
        if free:
            yield f"host {host} had two faults in a row while others do well, and is not in quarantine"
