"""The rungs that trials climb under a scheduler: at which absolute steps they stand, and who begins on which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from service.contract.pruner import AshaPruner, HyperbandPruner
from service.contract.study import StudySpec
from service.domain.history import Arrival

_DEFAULT_FIRST = 2
"""The first rung by default, at least: the first step of a curve says nothing of its end."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """The rungs of a study: a checked spec's scheduler, its numbers worked out."""

    steps: tuple[int, ...]
    """Absolute steps, ascending; the last one is where a trial is finished."""
    eta: int
    promotes: bool
    """Trials pause at a rung to be promoted from it; otherwise their arrival decides for good."""
    brackets: tuple[int, ...]
    """Trials per turn of each bracket; bracket b begins at the rung b."""

    @property
    def last(self) -> int:
        """The step at which a trial is finished."""
        return self.steps[-1]

    def bracket(self, number: int) -> int:
        """The bracket of trial `number`: shares are kept at every length, so that a short study has all of them."""
        turn = _turn(self.brackets)
        return turn[number % len(turn)]

    def of(self, number: int) -> tuple[int, ...]:
        """The rungs that trial `number` climbs."""
        return self.steps[self.bracket(number) :]

    def after(self, number: int, step: int) -> int:
        """The next rung of trial `number` above `step`."""
        return next((rung for rung in self.of(number) if rung > step), self.last)

    def goal(self, number: int) -> int:
        """The step to which trial `number` trains at first."""
        return self.of(number)[0] if self.promotes else self.last

    def num_on(self, num_arrivals: int) -> int:
        """How many of so many arrivals at a rung go on."""
        return num_arrivals // self.eta

    def passes(self, arrival: Arrival) -> bool:
        """Whether an arrival goes on where it decides for good: among the best, or the best while there are few."""
        return arrival.rank <= max(1, self.num_on(arrival.num))


def rungs_of(spec: StudySpec) -> Rungs | None:
    """The rungs of a checked spec; None where its pruner is no scheduler."""
    match spec.pruner:
        case AshaPruner() | HyperbandPruner() as pruner:
            assert spec.resource is not None, "check_rungs asks for it"
            steps = rung_steps(
                pruner.min or default_first(spec.resource.max, pruner.eta), pruner.eta, spec.resource.max
            )
            sizes = bracket_sizes(len(steps) - 1, pruner.eta) if isinstance(pruner, HyperbandPruner) else (1,)
            return Rungs(steps, pruner.eta, promotes=pruner.mode == "promote", brackets=sizes)
        case _:
            return None


def default_first(last: int, eta: int) -> int:
    """The first rung where the spec names none: two rounds of choice come before the end."""
    return min(max(_DEFAULT_FIRST, math.ceil(last / (eta * eta))), last - 1)


def rung_steps(first: int, eta: int, last: int) -> tuple[int, ...]:
    """The steps r, r·eta, r·eta², … and `last`; a step nearer to `last` than the root of eta is left out.

    Where last = r·etaˢ these are the rungs of Li et al. 2018, section 3.
    """
    num_below = max(1, round(math.log(last / first, eta)))
    return (*(first * int(eta**k) for k in range(num_below)), last)


def bracket_sizes(num_rounds: int, eta: int) -> tuple[int, ...]:
    """Trials in each bracket of one Hyperband, the one that begins at the first rung first.

    Algorithm 1 of Li et al. 2018: n = ⌈(s_max + 1) · etaˢ / (s + 1)⌉ for s = s_max … 0, so that brackets cost alike.
    """
    return tuple(math.ceil((num_rounds + 1) * eta**s / (s + 1)) for s in range(num_rounds, -1, -1))


@lru_cache
def _turn(sizes: Sequence[int]) -> tuple[int, ...]:
    """The brackets of one turn, each trial to the bracket that lacks most of its share."""
    total, given, turn = sum(sizes), [0] * len(sizes), []
    for number in range(1, total + 1):
        bracket = max(range(len(sizes)), key=lambda b: (sizes[b] * number - given[b] * total, -b))
        given[bracket] += 1
        turn.append(bracket)
    return tuple(turn)
