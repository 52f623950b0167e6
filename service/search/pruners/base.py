"""What every pruner answers, whatever its rule."""

from __future__ import annotations

from typing import Protocol

from service.contract.report import Verdict
from service.domain.history import History


class Pruner(Protocol):
    """Judges a trial by its series so far against the others': a pure function of the history."""

    def judge(self, history: History, number: int) -> Verdict:
        """Judge trial `number` at its newest step, which the history holds; every value of the series is finite."""
        ...
