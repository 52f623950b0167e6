"""Invariant of readable rows, checked with the functions that read them and not in SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from service.contract.catalogue import Entry
from service.domain.errors import DamagedRowError
from service.domain.tally import Tally
from service.storage import tables
from service.storage.damage import DamagedJson, DamagedText, reading
from service.storage.diagnosis_rows import read_study_diagnosis, read_trial_diagnosis
from service.storage.fsck.violations import Violation
from service.storage.queries import leases, studies, views
from service.storage.timestamps import to_datetime

_NAMED = {
    "study": ("name",),
    "worker": ("name",),
    "custom_entry": ("section", "name"),
    "trial": ("study_id", "number", "id"),
    "journal": ("study_id", "revision", "ordinal"),
}
"""The columns that name a row; for tables not listed here, the primary key."""


def unreadable(connection: sa.Connection) -> list[Violation]:
    """Return the rows with text that is not UTF-8 or with invalid JSON, and those that no listing can show."""
    return [*_undecodable(connection), *_unshowable(connection)]


def _undecodable(connection: sa.Connection) -> Iterator[Violation]:
    if connection.dialect.name != "sqlite":
        return  # Postgres refuses both
    for table in tables.metadata.sorted_tables:
        texts = [each for each in table.columns if isinstance(each.type, sa.String | sa.JSON)]
        keys = list(table.primary_key.columns)
        if not texts:
            continue
        for row in connection.execute(sa.select(*dict.fromkeys([*keys, *texts]))):
            for column in texts:
                value = row._mapping[column]  # noqa: SLF001 - the documented way to get a column
                if isinstance(value, DamagedText | DamagedJson):
                    reason = value.reason if isinstance(value, DamagedJson) else "is not UTF-8"
                    yield _finding(table, row, f"{column.name} {reason}")


def _unshowable(connection: sa.Connection) -> Iterator[Violation]:
    def each(
        table: sa.Table, read: Callable[[sa.Row[Any]], object], rows: Iterable[sa.Row[Any]] | None = None
    ) -> Iterator[Violation]:
        for row in connection.execute(sa.select(table)) if rows is None else rows:
            try:
                read(row)
            except DamagedRowError as error:
                yield _finding(table, row, error.reason)

    # Skip deleted studies: their rows are being removed, and nothing shows them.
    for row in connection.execute(sa.select(tables.study).where(studies.IS_THERE)).all():
        try:
            spec = studies.spec(connection, row.id, row.spec_version)
            views.study_view(connection, row, spec, Tally(), row.created_at)
        except DamagedRowError as error:
            yield _finding(tables.study, row, error.reason)
    yield from each(tables.trial, views.trial_view)
    yield from each(tables.journal, views.event)
    yield from each(tables.worker, lambda row: views.worker_view(row, now=0), leases.workers(connection))
    yield from each(tables.custom_entry, _entry)
    yield from each(tables.trial_diagnosis, read_trial_diagnosis)
    yield from each(tables.study_diagnosis, read_study_diagnosis)


def _entry(row: sa.Row[Any]) -> None:
    with reading(f"the {row.section} {row.name}", row):
        to_datetime(row.registered_at)
        Entry.model_validate(row.description)


def _finding(table: sa.Table, row: sa.Row[Any], reason: str) -> Violation:
    known = row._mapping  # noqa: SLF001 - as above
    keys = _NAMED.get(table.name) or tuple(column.name for column in table.primary_key.columns)
    return {"table": table.name} | {key: known[key] for key in keys if known.get(key) is not None} | {"damage": reason}
