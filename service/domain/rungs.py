"""Rungs and brackets of the ASHA and Hyperband schedulers: their steps, and the first rung of each trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from service.contract.pruner import AshaPrunerSpec, FreezeThawPrunerSpec, HyperbandPrunerSpec
from service.contract.study import StudySpec
from service.domain.history import RungResult

_DEFAULT_FIRST = 2
"""Smallest default step of the first rung, because the first step of a learning curve does not predict its end."""

_FREEZE_THAW_SHARES = (0.1, 0.3)
"""Default rungs of freeze-thaw, as shares of the last step."""

_FREEZE_THAW_ETA = 3
"""In mode stop of freeze-thaw, one of so many trials at a rung continues."""


@dataclass(frozen=True, slots=True)
class Rungs:
    """The rungs and brackets of a study's scheduler."""

    steps: tuple[int, ...]
    """Absolute steps of the rungs, ascending. A trial completes at the last one."""
    eta: int
    promotes: bool
    """Whether trials pause at a rung until they are promoted; otherwise the rung result decides at once (mode stop)."""
    brackets: tuple[int, ...]
    """Number of trials of each bracket in one cycle; the first rung of bracket b is `steps[b]`."""
    has_quota: bool = True
    """Whether at most ⌊n/eta⌋ of n trials at a rung are promoted; otherwise a model decides how many."""

    @property
    def last(self) -> int:
        """The step at which a trial completes."""
        return self.steps[-1]

    def bracket(self, number: int) -> int:
        """Return the bracket of trial `number`.

        Any number of trials is shared among the brackets as evenly as `brackets` says, so a short study has trials in
        all of them.
        """
        turn = _bracket_cycle(self.brackets)
        return turn[number % len(turn)]

    def of(self, number: int) -> tuple[int, ...]:
        """Return the steps of the rungs of trial `number`."""
        return self.steps[self.bracket(number) :]

    def after(self, number: int, step: int) -> int:
        """Return the step of the next rung of trial `number` above `step`; at the top, the last rung."""
        return next((rung for rung in self.of(number) if rung > step), self.last)

    def first_rung(self, number: int) -> int:
        """Return the absolute step to which trial `number` trains first."""
        return self.of(number)[0] if self.promotes else self.last

    def num_promotable(self, num_results: int) -> int:
        """Return how many of `num_results` trials at a rung may continue: ⌊n/eta⌋."""
        return num_results // self.eta

    def survives(self, result: RungResult) -> bool:
        """Return whether a trial continues after a rung in mode stop.

        It continues if its rank is among the best ⌊n/eta⌋ of n, or is 1 while n is below eta.
        """
        return result.rank <= max(1, self.num_promotable(result.num))


def rungs_of(spec: StudySpec) -> Rungs | None:
    """Return the rungs of a checked spec, or None if its pruner is not a scheduler."""
    match spec.pruner:
        case AshaPrunerSpec() | HyperbandPrunerSpec() as pruner:
            assert spec.resource is not None, "check_rungs asks for it"
            steps = rung_steps(
                pruner.min or default_first(spec.resource.max, pruner.eta), pruner.eta, spec.resource.max
            )
            sizes = bracket_sizes(len(steps) - 1, pruner.eta) if isinstance(pruner, HyperbandPrunerSpec) else (1,)
            return Rungs(steps, pruner.eta, promotes=pruner.mode == "promote", brackets=sizes)
        case FreezeThawPrunerSpec() as pruner:
            assert spec.resource is not None, "check_rungs asks for it"
            below = pruner.rungs or default_freeze_thaw_rungs(spec.resource.max)
            return Rungs(
                (*below, spec.resource.max),
                _FREEZE_THAW_ETA,
                promotes=pruner.mode == "promote",
                brackets=(1,),
                has_quota=False,
            )
        case _:
            return None


def default_first(last: int, eta: int) -> int:
    """Return the default step of the first rung, which leaves two rounds of selection before `last`."""
    return min(max(_DEFAULT_FIRST, math.ceil(last / (eta * eta))), last - 1)


def default_freeze_thaw_rungs(last: int) -> list[int]:
    """Return the default rungs of freeze-thaw below `last`: a tenth and three tenths of it, at least step 1."""
    return sorted({max(1, round(share * last)) for share in _FREEZE_THAW_SHARES} - {last})


def rung_steps(first: int, eta: int, last: int) -> tuple[int, ...]:
    """Return the rungs r, r·eta, r·eta², … and `last`, without steps within a factor of √eta of `last`.

    If last = r·etaˢ, these are the rungs of Li et al. 2018, section 3.
    """
    num_below = max(1, round(math.log(last / first, eta)))
    return (*(first * int(eta**k) for k in range(num_below)), last)


def bracket_sizes(num_rounds: int, eta: int) -> tuple[int, ...]:
    """Return the number of trials in each bracket of one Hyperband cycle, starting with the lowest first rung.

    Algorithm 1 of Li et al. 2018: n = ⌈(s_max + 1) · etaˢ / (s + 1)⌉ for s = s_max … 0, so that all brackets cost about
    the same.
    """
    return tuple(math.ceil((num_rounds + 1) * eta**s / (s + 1)) for s in range(num_rounds, -1, -1))


@lru_cache
def _bracket_cycle(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the bracket of each trial of one cycle; each trial goes to the bracket that lacks most of its share."""
    total, given, turn = sum(sizes), [0] * len(sizes), []
    for number in range(1, total + 1):
        bracket = max(range(len(sizes)), key=lambda b: (sizes[b] * number - given[b] * total, -b))
        given[bracket] += 1
        turn.append(bracket)
    return tuple(turn)
