"""Cache of study views in this replica, shared by all viewers and updated by revision."""

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
"""Number of studies whose views are cached."""


@dataclass(frozen=True)
class _Known:
    """A cached view with the state that it was built from.

    While `epoch` and `row` are unchanged, only the passing of time can change the view.
    """

    epoch: int
    row: Row
    tally: Tally
    view: StudyView


class StudyViews:
    """The newest view and tally of each study; reading and writing threads use it."""

    def __init__(self) -> None:
        self._known: RecentlyUsed[_Known] = RecentlyUsed(SIZE)

    def latest(self, connection: Connection, row: Row, now: int) -> StudyView:
        """Return the view of a study at time `now`; `row` must come from a snapshot of committed data."""
        known = self._known.get(row.id)
        if known is None or (known.epoch, known.row) != (tallies.epoch(connection), row):
            known = self._read(connection, row, now, known)
            self._known.keep(row.id, _compact(known), _is_newer)
        return views.at(known.view, row, known.tally, now)

    def within(self, connection: Connection, row: Row, now: int) -> StudyView:
        """Return the same view within a transaction. It is not cached, because the transaction may be rolled back."""
        return self._read(connection, row, now, self._known.get(row.id)).view

    def _read(self, connection: Connection, row: Row, now: int, known: _Known | None) -> _Known:
        spec = studies.spec(connection, row.id, row.spec_version)
        with reading(f"study {row.name}", row):
            tally = tallies.refresh(
                connection,
                row,
                spec.directions,
                spec.resource.max if spec.resource else None,
                known.tally if known else Tally(),
            )
        return _Known(tally.epoch, row, tally, views.study_view(connection, row, spec, tally, now))


def _is_newer(one: _Known, other: _Known) -> bool:
    """Return whether `one` is at least as new as `other`; of equal revisions, the view that was read last wins."""
    return (one.epoch, one.row.revision) >= (other.epoch, other.row.revision)


def _compact(known: _Known) -> _Known:
    """Drop the per-trial data of a study that is over; if it is extended later, its trials are counted again."""
    return replace(known, tally=Tally()) if known.row.state in FINISHED_STUDIES else known
