"""A full database disk: refused as `database_full`, nothing half written, and writes work again once there is room."""

from __future__ import annotations

import httpx
import pytest
import sqlalchemy as sa

from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.main import build_app, build_context
from service.settings import Settings
from service.storage.database import Database
from service.storage.unit_of_work import UnitOfWork
from tests.api.conftest import connected
from tests.api.test_routes import SPEC, claim

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def fill(database: Database) -> None:
    """Let no table grow any more: SQLite by its own limit of pages, Postgres by the error of a disk that is full."""
    with database.writer.connect() as connection:
        if database.dialect.name == "sqlite":
            num_pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {num_pages}")
        else:
            connection.exec_driver_sql(
                "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
                "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
            )
            connection.exec_driver_sql(
                "CREATE TRIGGER full_disk BEFORE INSERT ON report FOR EACH ROW EXECUTE FUNCTION full_disk()"
            )
        connection.commit()


def make_room(database: Database) -> None:
    with database.writer.connect() as connection:
        if database.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA max_page_count = 1073741823")
        else:
            connection.exec_driver_sql("DROP TRIGGER full_disk ON report")
        connection.commit()


def rows(database: Database) -> dict[str, int]:
    def count(connection: sa.Connection) -> dict[str, int]:
        names = ["report", "journal", "verdict", "attempt"]
        return {name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one() for name in names}

    return database.read_sync(count)


async def test_a_full_disk_loses_nothing(database: Database) -> None:
    app = build_app(build_context(Settings(), database), None)
    async with connected(app) as http:
        assert (await http.post("/studies", json=SPEC)).status_code == 201
        grant = (await http.post("/claims", json=claim("request-0"))).json()
        path = f"/trials/{grant['trial']}/attempts/1/reports"
        fill(database)
        sequence = 1
        while (response := await report(http, path, grant["nonce"], sequence)).is_success:
            sequence += 1
            assert sequence < 200
        said = response.json()
        assert (response.status_code, said["code"]) == (507, ErrorCode.DATABASE_FULL)
        assert "disk of the database is full" in said["detail"]
        before = rows(database)
        assert (await report(http, path, grant["nonce"], sequence)).status_code == 507
        assert rows(database) == before
        assert (await http.get("/studies")).status_code == 200
        make_room(database)
        assert (await report(http, path, grant["nonce"], sequence)).is_success


async def report(http: httpx.AsyncClient, path: str, nonce: str, sequence: int) -> httpx.Response:
    metrics = {f"metric {n} of a long name {'x' * 90}": 0.5 for n in range(40)}
    points = [{"step": sequence, "metrics": metrics | {"loss": 1.0}}]
    return await http.post(path, json={"nonce": nonce, "sequence": sequence, "points": points})


async def test_text_that_the_driver_cannot_encode_is_a_mistake_of_the_request(database: Database) -> None:
    def work(unit_of_work: UnitOfWork) -> None:
        unit_of_work.connection.execute(sa.text("SELECT :text"), {"text": "\ud800"}).all()

    with pytest.raises(DomainError) as caught:
        await build_context(Settings(), database).transact(None, work)
    assert caught.value.code is ErrorCode.INVALID_REQUEST
