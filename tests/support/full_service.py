"""`assayer serve` whose SQLite file cannot grow while a flag file is there, as on a full disk.

python -m tests.support.full_service FLAG serve …      FLAG: the file
"""

from __future__ import annotations

import sys
from pathlib import Path

import sqlalchemy as sa

from service.__main__ import main
from service.storage.dialect import Sqlite

NO_LIMIT = 1_073_741_823


def fill_when(flag: Path) -> None:
    """Let each transaction that may write find the disk as the flag says: SQLite refuses further pages by itself."""
    open_writer = Sqlite.writer

    def writer(dialect: Sqlite) -> sa.Engine:
        engine = open_writer(dialect)

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            most = connection.exec_driver_sql("PRAGMA page_count").scalar_one() if flag.exists() else NO_LIMIT
            connection.exec_driver_sql(f"PRAGMA max_page_count = {most}")

        return engine

    Sqlite.writer = writer  # type: ignore[method-assign]


if __name__ == "__main__":
    fill_when(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
