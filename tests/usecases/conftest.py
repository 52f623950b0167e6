"""One replica of the service on each database, and two replicas on one Postgres database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.storage.blobs import BlobStore
from service.storage.database import Database, open_database
from tests.support.databases import Postgres, empty
from tests.usecases.diagnosed import at_once  # noqa: F401 - a fixture
from tests.usecases.failing_strategies import trouble  # noqa: F401 - a fixture
from tests.usecases.interleaving import At, Order
from tests.usecases.replica import Replica


@pytest.fixture
def replica(database: Database) -> Replica:
    return Replica(database)


@pytest.fixture
def blobs(replica: Replica, tmp_path: Path) -> BlobStore:
    """The blob store of the replica."""
    return replica.open_blobs(tmp_path / "blobs")


@pytest.fixture(scope="module")
def opened_databases(postgres: Postgres) -> Iterator[tuple[Database, Database]]:
    """One Postgres database, opened twice, for all tests of a module."""
    with postgres.database(postgres.migrated) as url:
        first, second = open_database(url), open_database(url)
        yield first, second
        first.close()
        second.close()


@pytest.fixture
def replicas(opened_databases: tuple[Database, Database]) -> tuple[Replica, Replica]:
    """Two replicas on one Postgres database, which is emptied before."""
    first, second = opened_databases
    empty(first)
    return Replica(first), Replica(second)


@pytest.fixture(
    params=[Order(stops, at) for at in At for stops in (0, 1)],
    ids=lambda order: f"the {'second' if order.stops else 'first'} stops {order.at}",
)
def order(request: pytest.FixtureRequest) -> Order:
    """Which of two transactions comes first, and where it stops."""
    chosen: Order = request.param
    return chosen


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for the checks of a module, without the logs of its mutants."""
    logging.disable(logging.CRITICAL)  # mutants are wrong in many words
    with asyncio.Runner() as runner:
        yield runner
    logging.disable(logging.NOTSET)
