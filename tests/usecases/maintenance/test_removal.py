"""Removal of a deleted study's rows in limited batches; other studies keep theirs."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from service.contract.log import LogRequest, Stream
from service.storage import removal
from service.usecases.studies.deletion import delete_study
from service.usecases.trials.logs import append_log
from tests.usecases.replica import Replica
from tests.usecases.studies.test_deletion import broken, num_rows, play

pytestmark = pytest.mark.anyio

MAX_STATEMENTS = 100
"""A call that executes more loops for ever: each round of at most 100 trials takes some ten."""


async def remove_some(replica: Replica, study_id: str, num: int) -> bool:
    """Call `remove_rows` once; fail if it executes too many statements."""
    num_statements = 0

    def count(*_: object) -> None:
        nonlocal num_statements
        num_statements += 1
        assert num_statements < MAX_STATEMENTS

    engine = replica.database.writer
    sa.event.listen(engine, "before_cursor_execute", count)
    try:
        return await replica.context.transact(None, lambda each: removal.remove_rows(each.connection, study_id, num))
    finally:
        sa.event.remove(engine, "before_cursor_execute", count)


@pytest.mark.parametrize("num", [1, 7, 1000])
async def test_pieces_are_as_large_as_asked_for_until_nothing_is_left(replica: Replica, num: int) -> None:
    kept = await replica.create()
    await replica.train(kept, 0.5)
    rows_of_kept = num_rows(replica)
    deleted = await delete_study(replica.context, await play(replica))
    before, pieces, has_more = sum(num_rows(replica).values()), [], True
    while has_more:
        has_more = await remove_some(replica, deleted.id, num)
        after = sum(num_rows(replica).values())
        pieces.append(before - after)
        before = after
    *whole, last = pieces
    assert set(whole) <= {num}
    assert last <= num
    assert num_rows(replica) == rows_of_kept
    assert broken(replica) == {}


async def test_a_study_without_trials_is_removed_at_once(replica: Replica) -> None:
    deleted = await delete_study(replica.context, await replica.create())
    assert await remove_some(replica, deleted.id, 100) is False
    assert num_rows(replica) == {}


async def test_nothing_is_removed_where_nothing_may_be(replica: Replica) -> None:
    deleted = await delete_study(replica.context, await play(replica))
    before = num_rows(replica)
    assert await remove_some(replica, deleted.id, 0) is True
    assert num_rows(replica) == before


async def test_chunks_of_logs_count_for_more_rows_and_go_before_their_trial(replica: Replica) -> None:
    name = await replica.create()
    grant = await replica.claim(name)
    for at in range(5):
        await append_log(replica.context, grant.trial, 1, Stream.STDOUT, LogRequest.of(grant.nonce, at, b"x"))
    await replica.finish(grant, "released")
    deleted = await delete_study(replica.context, name)
    left = [num_rows(replica)["log_chunk"]]
    while await remove_some(replica, deleted.id, 120):
        left.append(num_rows(replica).get("log_chunk", 0))
    assert left == [5, 3, 1]
    assert num_rows(replica) == {}
