"""The proxy causes the faults that it is configured for, and otherwise forwards messages unchanged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from random import Random

import httpx
import pytest

from tests.chaos.proxy import Proxy, Rates

pytestmark = pytest.mark.anyio

CALM = Rates(request_dropped=0, reply_dropped=0, doubled=0)


class Upstream:
    """A replica that echoes; `num_asked` counts what arrived."""

    num_asked = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
        body = await reader.readexactly(length)
        self.num_asked += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (length, body))
        writer.close()


@contextlib.asynccontextmanager
async def between(rates: Rates) -> AsyncIterator[tuple[Upstream, Proxy, Callable[[], str | None]]]:
    """A replica, the proxy before it, and one call by a fresh client: what it is answered, if anything."""
    upstream, heard = Upstream(), []
    server = await asyncio.start_server(upstream.converse, "127.0.0.1", 0)
    async with server:
        proxy = Proxy([server.sockets[0].getsockname()[1]], Random(1), rates, lambda *told: heard.append(told))
        async with proxy.serving() as port, httpx.AsyncClient(trust_env=False, timeout=10) as http:

            async def call() -> str | None:
                try:
                    return (await http.post(f"http://127.0.0.1:{port}/said", content="hello")).text
                except httpx.TransportError:
                    return None

            yield upstream, proxy, call


async def test_without_faults_everything_arrives_once() -> None:
    async with between(CALM) as (upstream, proxy, call):
        assert [await call() for _ in range(5)] == ["hello"] * 5
        assert (upstream.num_asked, dict(proxy.counts)) == (5, {"requests": 5})


async def test_a_dropped_request_does_not_arrive_and_breaks_the_connection() -> None:
    async with between(Rates(request_dropped=1, late=0)) as (upstream, _, call):
        assert await call() is None
        assert upstream.num_asked == 0


async def test_a_dropped_reply_leaves_its_request_carried_out() -> None:
    async with between(Rates(request_dropped=0, reply_dropped=1, doubled=0)) as (upstream, _, call):
        assert await call() is None
        assert upstream.num_asked == 1


async def test_a_doubled_request_arrives_twice_and_is_answered_once() -> None:
    async with between(Rates(request_dropped=0, doubled=1, late=0)) as (upstream, _, call):
        assert await call() == "hello"
        assert upstream.num_asked == 2


async def test_a_late_request_arrives_after_its_client_has_given_it_up() -> None:
    async with between(Rates(request_dropped=1, late=1, late_seconds=(0.1, 0.2))) as (upstream, proxy, call):
        assert await call() is None
        assert upstream.num_asked == 0
        await proxy.arrived()
        assert upstream.num_asked == 1


async def test_where_no_replica_answers_the_connection_breaks() -> None:
    async with between(CALM) as (_, proxy, call):
        proxy._ports = [1]
        assert await call() is None
        assert proxy.counts["requests that found no replica"] == 1
