"""Logs: each byte once by offset, the newest kept, readable whatever became of the attempt."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.contract.claim import Grant
from service.contract.log import MAX_CHUNK_BYTES, MAX_LOG_BYTES, LogRequest, LogView, Stream
from service.contract.problem import ErrorCode
from service.domain.errors import DomainError
from service.storage.fsck.invariants import check
from service.usecases.trials.logs import append_log, read_log
from tests.usecases.replica import Replica

pytestmark = pytest.mark.anyio


async def tell(
    replica: Replica,
    grant: Grant,
    offset: int,
    content: bytes,
    *,
    nonce: str | None = None,
    stream: Stream = Stream.STDOUT,
) -> int:
    request = LogRequest.of(nonce or grant.nonce, offset, content)
    return (await append_log(replica.context, grant.trial, grant.attempt, stream, request)).offset


async def read(
    replica: Replica, grant: Grant, *, after: int = 0, attempt: int | None = None, stream: Stream = Stream.STDOUT
) -> LogView:
    return await read_log(replica.context, grant.study, str(grant.number), attempt=attempt, stream=stream, after=after)


async def test_bytes_are_kept_once_and_streams_apart(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    before = await replica.stored(grant.study)
    assert (await read(replica, grant)).text == ""
    assert await tell(replica, grant, 0, b"one\n") == 4
    assert await tell(replica, grant, 0, b"one\n") == 4
    assert await tell(replica, grant, 0, b"one\ntwo\n") == 8
    assert await tell(replica, grant, 2, b"e\n") == 8
    assert await tell(replica, grant, 0, b"bad\n", stream=Stream.STDERR) == 4
    view = await read(replica, grant)
    assert (view.attempt, view.stream, view.text, view.next, view.ended) == (1, Stream.STDOUT, "one\ntwo\n", 8, False)
    assert (await read(replica, grant, after=4)).text == "two\n"
    assert (await read(replica, grant, after=8)).text == ""
    assert (await read(replica, grant, stream=Stream.STDERR)).text == "bad\n"
    # Nothing that strategies or pages see has moved.
    assert await replica.stored(grant.study) == before


async def test_the_newest_output_is_kept_and_gaps_are_marked(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    num_chunks = MAX_LOG_BYTES // MAX_CHUNK_BYTES + 2
    for number in range(num_chunks):
        await tell(replica, grant, number * MAX_CHUNK_BYTES, bytes([ord("a") + number]) * MAX_CHUNK_BYTES)
    view = await read(replica, grant)
    dropped = 2 * MAX_CHUNK_BYTES
    first, told, rest = view.text.split("\n", 2)
    assert (first, told) == ("", f"[{dropped} bytes were not kept]")
    assert rest == "".join(chr(ord("a") + number) * MAX_CHUNK_BYTES for number in range(2, num_chunks))
    assert view.next == num_chunks * MAX_CHUNK_BYTES


async def test_a_worker_may_skip_what_would_not_be_kept(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    await tell(replica, grant, 0, b"begin")
    assert await tell(replica, grant, 10, b"end") == 13
    assert (await read(replica, grant)).text == "begin\n[5 bytes were not kept]\nend"


async def test_a_character_that_is_not_whole_waits_for_its_rest(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    euro = "€".encode()
    await tell(replica, grant, 0, b"1 " + euro[:2])
    view = await read(replica, grant)
    assert (view.text, view.next) == ("1 ", 2)
    await tell(replica, grant, 4, euro[2:] + b"\xff")
    assert (await read(replica, grant, after=2)).text == "€\N{REPLACEMENT CHARACTER}"


async def test_output_of_a_superseded_attempt_is_stored_and_shown(replica: Replica) -> None:
    name = await replica.create()
    old = await replica.claim(name)
    await replica.lose()
    new = await replica.claim(name, worker="other")
    await tell(replica, old, 0, b"last words")
    await tell(replica, new, 0, b"first words")
    view = await read(replica, old, attempt=1)
    assert (view.text, view.ended) == ("last words", True)
    assert (await read(replica, old)).text == "first words"


async def test_only_the_granted_nonce_writes(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    with pytest.raises(DomainError) as stolen:
        await tell(replica, grant, 0, b"x", nonce="stolen")
    assert stolen.value.code is ErrorCode.LEASE_SUPERSEDED
    with pytest.raises(DomainError) as unknown:
        await tell(replica, grant.model_copy(update={"attempt": 2}), 0, b"x")
    assert unknown.value.code is ErrorCode.UNKNOWN_ATTEMPT
    assert (await read(replica, grant)).text == ""


async def test_an_attempt_that_never_was(replica: Replica) -> None:
    grant = await replica.claim(await replica.create())
    with pytest.raises(DomainError, match="trial 0 has no attempt 2; it has 1, numbered from 1"):
        await read(replica, grant, attempt=2)
    with pytest.raises(DomainError, match="has no trial 7; it has 1, numbered from 0"):
        await read(replica, grant.model_copy(update={"number": 7}))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spans=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 20)), max_size=8))
def test_repeated_and_late_pieces_of_one_text_never_make_another(
    replica: Replica, spans: list[tuple[int, int]]
) -> None:
    """Pieces come as they like, none of them ahead of what is known."""
    text = bytes(range(ord("A"), ord("A") + 50))

    async def play() -> None:
        grant = await replica.claim(await replica.create())
        known = 0
        for start, length in spans:
            begin = min(start, known)
            known = await tell(replica, grant, begin, text[begin : begin + length])
        assert (await read(replica, grant)).text.encode() == text[:known]
        assert [each for each in await replica.database.read(check) if each.broken] == []

    asyncio.run(play())


async def test_two_replicas_that_register_the_same_entry_at_once_keep_it_once(
    replicas: tuple[Replica, Replica],
) -> None:
    grant = await replicas[0].claim(await replicas[0].create())
    pieces = [b"one", b"one two", b"one two three"] * 3
    await asyncio.gather(*(tell(replicas[n % 2], grant, 0, piece) for n, piece in enumerate(pieces)))
    assert (await read(replicas[1], grant)).text == "one two three"
