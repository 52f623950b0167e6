"""Transactions around a use case: what a remedy adds to the first one, and rehearsals that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from service.storage.unit_of_work import Transact, UnitOfWork

T = TypeVar("T")


class Extended:
    """Runs `before` and `after` within the first transaction of a use case, so that all of it happens or nothing.

    Args:
        transact: runs transactions.
        before: called first, if the transaction locks a study.
        after: called last. The unit of work then has the study that the transaction locked or created.
    """

    def __init__(
        self, transact: Transact, before: Callable[[UnitOfWork], None], after: Callable[[UnitOfWork], None]
    ) -> None:
        self._transact, self._before, self._after = transact, before, after
        self._is_first = True

    async def __call__(self, study_id: str | None, work: Callable[[UnitOfWork], T], /) -> T:
        if not self._is_first:
            return await self._transact(study_id, work)
        self._is_first = False

        def whole(unit_of_work: UnitOfWork) -> T:
            if study_id is not None:
                self._before(unit_of_work)
            answer = work(unit_of_work)
            self._after(unit_of_work)
            return answer

        return await self._transact(study_id, whole)


class _Rehearsed(Exception):
    """Ends a transaction whose work succeeded, so that it is rolled back."""

    def __init__(self, answer: object) -> None:
        super().__init__("rehearsed")
        self.answer = answer


class Rehearsal:
    """Runs each transaction to its end and rolls it back: every check is made, and nothing is stored."""

    def __init__(self, transact: Transact) -> None:
        self._transact = transact

    async def __call__(self, study_id: str | None, work: Callable[[UnitOfWork], T], /) -> T:
        def rehearse(unit_of_work: UnitOfWork) -> None:
            raise _Rehearsed(work(unit_of_work))

        try:
            await self._transact(study_id, rehearse)
        except _Rehearsed as rehearsed:
            return rehearsed.answer  # type: ignore[return-value]  # what `work` returned
        raise AssertionError("a rehearsal was stored")
