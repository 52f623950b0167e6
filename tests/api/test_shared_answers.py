"""Shared answers: equal requests share one computation, and no answer is older than its request."""

from __future__ import annotations

import asyncio

import pytest

from service.api.shared_answers import SharedAnswers

pytestmark = pytest.mark.anyio


class Counter:
    """Counts computations; each takes as long as the test wants."""

    def __init__(self) -> None:
        self.num_begun = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> bytes:
        self.num_begun += 1
        begun = self.num_begun
        await self.may_end.wait()
        return str(begun).encode()


async def test_twenty_readers_cost_two_computations() -> None:
    shared, counter = SharedAnswers(), Counter()
    first = asyncio.ensure_future(shared.answer("q", counter))
    await asyncio.sleep(0)
    others = [asyncio.ensure_future(shared.answer("q", counter)) for _ in range(20)]
    await asyncio.sleep(0.01)
    counter.may_end.set()
    assert await first == b"1"
    assert await asyncio.gather(*others) == [b"2"] * 20, "one that was asked later is answered by a later reading"
    assert await shared.answer("q", counter) == b"3"
    assert counter.num_begun == 3
    assert not shared._flights


async def test_other_questions_do_not_wait() -> None:
    shared, stuck, free = SharedAnswers(), Counter(), Counter()
    waiting = asyncio.ensure_future(shared.answer("slow", stuck))
    await asyncio.sleep(0)
    free.may_end.set()
    assert await shared.answer("fast", free) == b"1"
    stuck.may_end.set()
    assert await waiting == b"1"


async def test_a_reader_that_goes_away_takes_nothing_from_the_others() -> None:
    shared, counter = SharedAnswers(), Counter()
    readers = [asyncio.ensure_future(shared.answer("q", counter)) for _ in range(6)]
    await asyncio.sleep(0.01)
    for reader in (readers[0], readers[1], readers[2]):
        reader.cancel()
    await asyncio.sleep(0.01)
    counter.may_end.set()
    assert await asyncio.gather(*readers[3:]) == [b"2"] * 3
    assert not shared._flights


async def test_a_failure_reaches_all_waiting_readers_and_is_not_cached() -> None:
    shared, counter = SharedAnswers(), Counter()

    async def fail() -> bytes:
        await counter()
        raise ZeroDivisionError

    readers = [asyncio.ensure_future(shared.answer("q", fail)) for _ in range(4)]
    await asyncio.sleep(0.01)
    counter.may_end.set()
    assert all(isinstance(each, ZeroDivisionError) for each in await asyncio.gather(*readers, return_exceptions=True))
    assert await shared.answer("q", counter) == b"3"
