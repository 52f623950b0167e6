"""A running count of a study's search trials: what is told of all of them together, updated by those that moved."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from service.contract.trial import TrialState
from service.domain.front import Losses, front


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """What one search trial adds to the tally of its study."""

    number: int
    state: TrialState
    finished_at: int | None = None
    """Microseconds; None while the trial is open."""
    point: Losses | None = None
    """The values of a completed trial, where the study has several objectives."""
    used_microseconds: int = 0
    """Time of its attempts that have ended, times the devices of each."""
    running: tuple[tuple[int, int], ...] = ()
    """(started_at, devices) of its attempts that have not ended."""

    @property
    def end(self) -> tuple[int, int] | None:
        """Where the trial stands in the order of ends, if it ended with something to learn from."""
        if self.finished_at is None or self.state not in {TrialState.COMPLETED, TrialState.PRUNED}:
            return None
        return self.finished_at, self.number


@dataclass(frozen=True, slots=True)
class Tally:
    """The count as of one revision; `updated` makes that of a later one, and leaves this one as it is."""

    epoch: int = 0
    revision: int = 0
    num_trials: Mapping[TrialState, int] = field(default_factory=dict)
    """Trials in each state; states without one are left out."""
    front: tuple[str, ...] = ()
    """Ids of the completed trials that no other one dominates, by number; empty with one objective."""
    _facts: Mapping[str, TrialFacts] = field(default_factory=dict)
    _ends: Sequence[tuple[int, int]] = ()
    """(finished_at, number) of the completed and pruned trials, ascending."""
    _used_microseconds: int = 0
    _running: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def updated(self, moved: Mapping[str, TrialFacts], epoch: int, revision: int) -> Tally:
        """Return the tally with these trials, by id, in place of what was known of them."""
        facts, ends = {**self._facts, **moved}, list(self._ends)
        num_trials, running, used = dict(self.num_trials), dict(self._running), self._used_microseconds
        for trial_id, new in moved.items():
            old = self._facts.get(trial_id)
            if old is not None:
                num_trials[old.state] -= 1
                used -= old.used_microseconds
                if old.end is not None:
                    ends.pop(bisect_left(ends, old.end))
            num_trials[new.state] = num_trials.get(new.state, 0) + 1
            used += new.used_microseconds
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
            _facts=facts,
            _ends=ends,
            _used_microseconds=used,
            _running=running,
        )

    def _updated_front(self, moved: Mapping[str, TrialFacts], facts: Mapping[str, TrialFacts]) -> tuple[str, ...]:
        """The front of the old front and the new points: a dominated point never returns, as points never change."""
        told = {trial_id for trial_id in moved if trial_id in self._facts and self._facts[trial_id].point is not None}
        if any(moved[trial_id].point != self._facts[trial_id].point for trial_id in told):
            candidates = [trial_id for trial_id, each in facts.items() if each.point is not None]
        else:
            fresh = [trial_id for trial_id, each in moved.items() if each.point is not None and trial_id not in told]
            candidates = [*self.front, *fresh]
        candidates.sort(key=lambda trial_id: facts[trial_id].number)
        points = [point for trial_id in candidates if (point := facts[trial_id].point) is not None]
        return tuple(candidates[at] for at in front(points))

    def facts_of(self, trial_id: str) -> TrialFacts:
        """What is known of a trial."""
        return self._facts[trial_id]

    @property
    def has_running(self) -> bool:
        """Whether an attempt has not ended, so that the time of devices goes on."""
        return bool(self._running)

    def device_microseconds(self, now: int) -> int:
        """Time of all devices of all attempts together, running ones until `now`."""
        running = sum(max(0, now - started_at) * num for each in self._running.values() for started_at, num in each)
        return self._used_microseconds + running

    def num_ended_after(self, end: tuple[int, int]) -> int:
        """How many trials ended, completed or pruned, after that instant and number."""
        return len(self._ends) - bisect_right(self._ends, end)
