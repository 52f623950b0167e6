"""Custom entries of the catalogue: workers register them, the service stores them and uses them to check tasks."""

from __future__ import annotations

import logging
from collections.abc import Collection

from service.contract.catalogue import Catalogue, Entry
from service.contract.custom_entries import CatalogueView, EntriesReply, EntriesRequest, EntrySource
from service.contract.problem import ErrorCode, FieldError
from service.contract.validation_errors import did_you_mean, quote
from service.domain.entries import Key, fingerprint, merge_custom
from service.domain.errors import DomainError
from service.storage import tables
from service.storage.damage import reading, split_damaged
from service.storage.queries import entries
from service.storage.tables import Connection, Row
from service.storage.timestamps import to_datetime
from service.storage.unit_of_work import UnitOfWork
from service.usecases.context import Context

log = logging.getLogger(__name__)


async def register_entries(context: Context, request: EntriesRequest) -> EntriesReply:
    """Store what a worker can train with beyond the training core; the last registration of a name counts.

    Raises:
        DomainError: The training core has no such section, or has an entry of that name itself.
    """
    registered = {
        (section, name): Entry.model_validate(own.model_dump())
        for section, named in request.registries.items()
        for name, own in named.items()
    }
    _check(context.catalogue, registered)

    offered: dict[str, dict[str, str]] = {}
    for (section, name), entry in registered.items():
        offered.setdefault(section, {})[name] = fingerprint(entry)

    def work(unit_of_work: UnitOfWork) -> EntriesReply:
        before = {(row.section, row.name): row for row in entries.named(unit_of_work.connection, registered)}
        for key, entry in registered.items():
            _store(unit_of_work, key, entry, request.worker, is_new=key not in before)
        notes = [
            f"worker {request.worker} registered {section} {name!r} with other options than worker "
            f"{before[section, name].worker} before; the new ones apply, and workers with others get no trials that "
            "choose it"
            for (section, name), entry in registered.items()
            if (section, name) in before and before[section, name].fingerprint != fingerprint(entry)
        ]
        return EntriesReply(entries=offered, notes=notes)

    reply = await context.transact(None, work)
    for note in reply.notes:
        log.warning("%s", note)
    return reply


def _check(catalogue: Catalogue, registered: Collection[Key]) -> None:
    for section, name in registered:
        path = f"registries.{section}"
        if section not in catalogue.sections:
            message = f"the training core has no section {quote(section)}; {did_you_mean(section, catalogue.sections)}"
            raise DomainError(ErrorCode.INVALID_REQUEST, f"{path}: {message}", [FieldError(path=path, message=message)])
        if name in catalogue.sections[section]:
            path = f"{path}.{name}"
            message = f"the training core has a {section} {name!r} already; give your entry another name"
            raise DomainError(ErrorCode.ENTRY_TAKEN, f"{path}: {message}", [FieldError(path=path, message=message)])


def _store(unit_of_work: UnitOfWork, key: Key, entry: Entry, worker: str, *, is_new: bool) -> None:
    table, (section, name) = tables.custom_entry, key
    facts = {
        "description": entry.model_dump(mode="json"),
        "fingerprint": fingerprint(entry),
        "worker": worker,
        "registered_at": unit_of_work.now(),
    }
    if is_new:
        unit_of_work.insert(table, section=section, name=name, **facts)
    else:
        same = (table.c.section == section) & (table.c.name == name)
        unit_of_work.connection.execute(table.update().where(same).values(**facts))


async def list_catalogue(context: Context) -> CatalogueView:
    """Return everything that a task can be set to, with the worker that registered each custom entry."""

    def read(connection: Connection) -> CatalogueView:
        own: dict[str, dict[str, EntrySource]] = {}
        found, damaged = split_damaged(entries.all_of(connection), _read, lambda row: f"{row.section} {row.name}")
        for (section, name), (_, source) in found:
            if name not in context.catalogue.sections.get(section, {}):
                own.setdefault(section, {})[name] = source
        whole = merge_custom(context.catalogue, {key: entry for key, (entry, _) in found})
        return CatalogueView(**dict(whole), custom=own, damaged=damaged)

    return await context.database.read_for_viewer(read)


def merged_catalogue(connection: Connection, context: Context) -> Catalogue:
    """Return the training core's catalogue with all custom entries."""
    return merge_custom(context.catalogue, _by_key(entries.all_of(connection)))


async def known_catalogue(context: Context) -> Catalogue:
    """Return the training core's catalogue with all custom entries, read on its own snapshot."""
    return await context.database.read(lambda connection: merged_catalogue(connection, context))


def catalogue_with(connection: Connection, context: Context, own: Collection[Key]) -> Catalogue:
    """Return the training core's catalogue with those of the given custom entries that workers have registered."""
    return merge_custom(context.catalogue, _by_key(entries.named(connection, own))) if own else context.catalogue


def _by_key(rows: Collection[Row]) -> dict[Key, Entry]:
    """Return the readable entries by key; a damaged one counts as unregistered until a worker registers it again."""
    found, _ = split_damaged(rows, _read, lambda row: row.name)
    return {key: entry for key, (entry, _) in found}


def _read(row: Row) -> tuple[Key, tuple[Entry, EntrySource]]:
    with reading(f"the {row.section} {row.name}", row):
        source = EntrySource(worker=row.worker, at=to_datetime(row.registered_at))
        return (row.section, row.name), (Entry.model_validate(row.description), source)
