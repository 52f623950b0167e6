"""A process whose reaper stops between a loss and the requeue of its trial until it is killed."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import sqlalchemy as sa

from service.storage.database import open_database
from tests.usecases.replica import Replica


def main(url: str, seconds_ahead: float) -> None:
    replica = Replica(open_database(url))
    replica.clock.forward(seconds_ahead)

    @sa.event.listens_for(replica.database.writer, "before_cursor_execute")
    def _stand_still(_connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE trial"):
            sys.stdout.write("the attempt is lost, its trial does not wait yet\n")
            sys.stdout.flush()
            signal.pause()

    asyncio.run(replica.reap())


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
