"""A tally that is updated trial by trial equals a count of all trials."""

from __future__ import annotations

import random

from service.contract.trial import TrialState
from service.domain.pareto import pareto_front
from service.domain.tally import Tally, TrialFacts

FINAL = [TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED, TrialState.CANCELLED]


def moved(chance: random.Random, known: TrialFacts | None, number: int, now: int) -> TrialFacts:
    """A trial after one step: begun, gone on, or ended; ends may come in any order of time."""
    if known is None or known.state in {TrialState.WAITING, TrialState.PAUSED}:
        return TrialFacts(number, TrialState.RUNNING, running=((now, chance.randint(1, 2)),))
    if known.state in FINAL:
        return known
    used = known.used_microseconds + sum((now - began) * num for began, num in known.running)
    state = chance.choice([TrialState.WAITING, TrialState.PAUSED, *FINAL])
    ended = state in FINAL
    point = (chance.randint(0, 5), chance.randint(0, 5)) if state is TrialState.COMPLETED else None
    return TrialFacts(number, state, now - chance.randint(0, 3) if ended else None, point, used)


def test_a_tally_that_was_updated_counts_as_one_made_at_once() -> None:
    for seed in range(60):
        chance = random.Random(seed)
        facts: dict[str, TrialFacts] = {}
        tally = Tally()
        for revision in range(1, 60):
            ids = {f"t{chance.randint(0, 15)}" for _ in range(chance.randint(1, 3))}
            step = {key: moved(chance, facts.get(key), int(key[1:]), 10 * revision) for key in ids}
            before = tally
            told = (dict(before.num_trials), before.front, before.device_microseconds(1000))
            tally = tally.updated(step, 1, revision)
            assert told == (dict(before.num_trials), before.front, before.device_microseconds(1000)), "it never changes"
            facts |= step
            _check(tally, facts, 10 * revision + 5)
            _check(Tally().updated(facts, 1, revision), facts, 10 * revision + 5)


def _check(tally: Tally, facts: dict[str, TrialFacts], now: int) -> None:
    states = [each.state for each in facts.values()]
    assert tally.num_trials == {state: states.count(state) for state in set(states)}
    completed = sorted((each for each in facts.values() if each.point is not None), key=lambda each: each.number)
    on_front = [
        completed[at].number for at in pareto_front([each.point for each in completed if each.point is not None])
    ]
    assert [tally.facts_of(key).number for key in tally.front] == on_front
    spent = sum(
        each.used_microseconds + sum((now - began) * num for began, num in each.running) for each in facts.values()
    )
    assert tally.device_microseconds(now) == spent
    assert tally.has_running == any(each.running for each in facts.values())
    ends = [each.end for each in facts.values() if each.end is not None]
    for end in [*ends, (0, 0)]:
        assert tally.num_ended_after(end) == sum(other > end for other in ends)
