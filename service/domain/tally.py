"""Incremental statistics of a study's search trials: counts, Pareto front, device time and order of ends."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.contract.trial import TrialState
from service.domain.pareto import LossVector, pareto_front


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """The contribution of one search trial to the tally of its study."""

    number: int
    state: TrialState
    finished_at: int | None = None
    """When the trial ended, in microseconds; None while it is open."""
    point: LossVector | None = None
    """Loss vector of a completed trial of a multi-objective study; otherwise None."""
    used_microseconds: int = 0
    """Device time of the attempts that have ended: duration times number of devices, summed."""
    steps: int = 0
    """Steps that it has trained, or will have trained when its present attempt ends."""
    running: tuple[tuple[int, int], ...] = ()
    """(started_at in microseconds, number of devices) of each running attempt."""

    @property
    def end(self) -> tuple[int, int] | None:
        """Sort key (finished_at, number) in the order of ends; None unless the trial is completed or pruned."""
        if self.finished_at is None or self.state not in {TrialState.COMPLETED, TrialState.PRUNED}:
            return None
        return self.finished_at, self.number


@dataclass(frozen=True, slots=True)
class Tally:
    """Statistics of a study's search trials at one revision.

    `updated` returns the tally of a later revision and leaves this one unchanged.
    """

    epoch: int = 0
    revision: int = 0
    num_trials: Mapping[TrialState, int] = field(default_factory=dict)
    """Number of trials per state; states without trials are left out."""
    front: tuple[str, ...] = ()
    """Ids of the trials on the Pareto front, by trial number; empty in a single-objective study."""
    num_steps: int = 0
    """Steps of all trials, those in training up to their next pause."""
    _facts: Mapping[str, TrialFacts] = field(default_factory=dict)
    _ends: Sequence[tuple[int, int]] = ()
    """(finished_at, number) of the completed and pruned trials, ascending."""
    _used_microseconds: int = 0
    _running: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def updated(self, moved: Mapping[str, TrialFacts], epoch: int, revision: int) -> Tally:
        """Return the tally of a later revision.

        Args:
            moved: trial id -> new contribution of each trial that changed.
            epoch: epoch of the database that `revision` belongs to.
            revision: the later revision.
        """
        facts, ends = {**self._facts, **moved}, list(self._ends)
        num_trials, running, used = dict(self.num_trials), dict(self._running), self._used_microseconds
        num_steps = self.num_steps
        for trial_id, new in moved.items():
            old = self._facts.get(trial_id)
            if old is not None:
                num_trials[old.state] -= 1
                used -= old.used_microseconds
                num_steps -= old.steps
                if old.end is not None:
                    ends.pop(bisect_left(ends, old.end))
            num_trials[new.state] = num_trials.get(new.state, 0) + 1
            used += new.used_microseconds
            num_steps += new.steps
            running.pop(trial_id, None)
            if new.running:
                running[trial_id] = new.running
            if new.end is not None:
                insort(ends, new.end)
        return Tally(
            epoch=epoch,
            revision=revision,
            num_trials={state: num for state, num in num_trials.items() if num},
            front=self._updated_front(moved, facts),
            num_steps=num_steps,
            _facts=facts,
            _ends=ends,
            _used_microseconds=used,
            _running=running,
        )

    def _updated_front(self, moved: Mapping[str, TrialFacts], facts: Mapping[str, TrialFacts]) -> tuple[str, ...]:
        """Return the Pareto front of the old front and the new points.

        A dominated point never returns to the front while points don't change. If one changed, all points are compared.
        """
        counted = {
            trial_id for trial_id in moved if trial_id in self._facts and self._facts[trial_id].point is not None
        }
        if any(moved[trial_id].point != self._facts[trial_id].point for trial_id in counted):
            candidates = [trial_id for trial_id, each in facts.items() if each.point is not None]
        else:
            fresh = [trial_id for trial_id, each in moved.items() if each.point is not None and trial_id not in counted]
            candidates = [*self.front, *fresh]
        candidates.sort(key=lambda trial_id: facts[trial_id].number)
        points = [point for trial_id in candidates if (point := facts[trial_id].point) is not None]
        return tuple(candidates[at] for at in pareto_front(points))

    def facts_of(self, trial_id: str) -> TrialFacts:
        """Return the contribution of a trial."""
        return self._facts[trial_id]

    @property
    def has_running(self) -> bool:
        """Whether an attempt is running, so that device time increases."""
        return bool(self._running)

    def device_microseconds(self, now: int) -> int:
        """Return the device time of all attempts in microseconds, counting running attempts until `now`."""
        running = sum(max(0, now - started_at) * num for each in self._running.values() for started_at, num in each)
        return self._used_microseconds + running

    def num_ended_after(self, end: tuple[int, int]) -> int:
        """Count the completed and pruned trials that ended after `end`, a (finished_at, number) pair."""
        return len(self._ends) - bisect_right(self._ends, end)
