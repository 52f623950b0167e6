"""Asynchronous successive halving (ASHA and Hyperband): decides from rung results which trials continue.

ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning") pauses a trial at each rung and promotes
it once it is among the best ⌊n/eta⌋ of the n trials that reached the rung. Never more than ⌊n/eta⌋ are promoted, as in
D-ASHA (Li et al. 2022, "Hyper-Tune"). In mode `stop`, a trial's rank when it reaches the rung is final. Hyperband (Li
et al. 2018) runs several brackets, which are ranked separately. All decisions depend on the history only, so a restart
changes none.
"""

from __future__ import annotations

from service.contract.trial import TrialState
from service.domain.history import History, TrialRecord
from service.search.schedulers.rung_scheduler import Promote, RungEntry, RungScheduler, describe_rank, is_beyond


class SuccessiveHalving(RungScheduler):
    """The successive halving scheduler of one study, which is also its pruner."""

    def promotion(self, history: History) -> Promote | None:
        """Return the paused trial to promote next, or None: from the top rung down, and the best of a rung first.

        Algorithm 2 of Li et al. 2020 promotes trials among the best ⌊n/eta⌋ of n at a rung that were not promoted yet;
        among equals the earlier trial wins. That alone would promote more than ⌊n/eta⌋ trials if better ones arrive
        late. Here each eta results at a rung allow one promotion, so counts are exact at any parallelism. A paused
        trial has a checkpoint to resume from.
        """
        if not any(trial.state is TrialState.PAUSED for trial in history):
            return None
        arrived = self._entries_by_rung(history)
        for rung in reversed(self.rungs.steps[:-1]):
            for bracket in range(len(self.rungs.brackets)):
                entries = arrived.get((bracket, rung), [])
                num_places = self.rungs.num_promotable(len(entries))
                if self.rungs.promotes and sum(is_beyond(trial, rung) for trial, _ in entries) >= num_places:
                    continue
                for trial, value in self._ranked(entries)[:num_places]:
                    if trial.state is TrialState.PAUSED and trial.rung_results[-1].step == rung:
                        return self._promote(entries, trial, rung, value)
        return None

    def not_promoted_reason(self, history: History, trial: TrialRecord) -> str:
        """Explain why a paused trial was not promoted from its last rung, by all results at that rung so far."""
        last = trial.rung_results[-1]
        entries = self._entries_by_rung(history)[self.rungs.bracket(trial.number), last.step]
        result = self._rank_at(entries, trial.number, last.step, last.value)
        num_on = sum(is_beyond(other, last.step) for other, _ in entries)
        if num_on == 0:
            return f"not promoted: {describe_rank(result)}, and none was promoted"
        went = "1 of them was promoted" if num_on == 1 else f"{num_on} of them were promoted"
        if result.rank > num_on:
            went = "the best was promoted" if num_on == 1 else f"the best {num_on} were promoted"
        return f"not promoted: {describe_rank(result)}, {went}"

    def _promote(self, entries: list[RungEntry], trial: TrialRecord, rung: int, value: float) -> Promote:
        result = self._rank_at(entries, trial.number, rung, value)
        goal = self.rungs.after(trial.number, rung) if self.rungs.promotes else self.rungs.last
        best = self.rungs.num_promotable(result.num)
        reason = (
            f"promoted to step {goal}: {describe_rank(result)}, of which the best {best} "
            f"{'goes' if best == 1 else 'go'} on"
        )
        return Promote(trial.number, goal, result, reason)

    def _ranked(self, entries: list[RungEntry]) -> list[RungEntry]:
        return sorted(entries, key=lambda each: self._key(each[0].number, each[1]))
