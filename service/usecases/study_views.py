"""This replica's cache of what is told of each study, shared by all viewers and brought up to date by revision."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.contract.study import StudyView
from service.domain.states import FINISHED_STUDIES
from service.domain.tally import Tally
from service.storage.damage import reading
from service.storage.queries import studies, tallies, views
from service.storage.tables import Connection, Row
from service.usecases.recently_used import RecentlyUsed

SIZE = 1024
"""Studies whose views are kept."""


@dataclass(frozen=True)
class _Known:
    """A view, and what it follows from: while epoch and row are these, only time can change it."""

    epoch: int
    row: Row
    tally: Tally
    view: StudyView


class StudyViews:
    """The newest view of each study, and its tally; called from reading and writing threads."""

    def __init__(self) -> None:
        self._known: RecentlyUsed[_Known] = RecentlyUsed(SIZE)

    def latest(self, connection: Connection, row: Row, now: int) -> StudyView:
        """Return the view of a study whose row a snapshot of committed state shows, at an instant."""
        known = self._known.get(row.id)
        if known is None or (known.epoch, known.row) != (tallies.epoch(connection), row):
            known = self._read(connection, row, now, known)
            self._known.keep(row.id, _compact(known), _is_newer)
        return views.at(known.view, row, known.tally, now)

    def within(self, connection: Connection, row: Row, now: int) -> StudyView:
        """Return the same within a transaction. Nothing of it is kept, as the transaction may yet be rolled back."""
        return self._read(connection, row, now, self._known.get(row.id)).view

    def _read(self, connection: Connection, row: Row, now: int, known: _Known | None) -> _Known:
        spec = studies.spec(connection, row.id, row.spec_version)
        with reading(f"study {row.name}", row):
            tally = tallies.refresh(connection, row, spec.directions, known.tally if known else Tally())
        return _Known(tally.epoch, row, tally, views.study_view(connection, row, spec, tally, now))


def _is_newer(one: _Known, other: _Known) -> bool:
    """Whether a view is of the later state; of one revision the one that was read later counts."""
    return (one.epoch, one.row.revision) >= (other.epoch, other.row.revision)


def _compact(known: _Known) -> _Known:
    """A study that is over needs no memory per trial: if it is ever extended, its trials are counted anew."""
    return replace(known, tally=Tally()) if known.row.state in FINISHED_STUDIES else known
