"""A faulty proxy between agents and replicas: drops, duplicates and delays requests and replies."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from random import Random

_NUM_TRIES = 3
"""A replica that is down refuses the connection, and the other one is tried, as any load balancer does."""


@dataclass(frozen=True)
class Rates:
    """Shares of all requests that go wrong; `late` is a share of the dropped and of the doubled ones."""

    request_dropped: float = 0.05
    reply_dropped: float = 0.05
    doubled: float = 0.05
    late: float = 0.2
    late_seconds: tuple[float, float] = (5.0, 10.0)
    """A late request arrives so long after its client has given it up."""


class Proxy:
    """Relays HTTP/1.1 to whichever replica it draws; where a request or a reply is dropped, its connection breaks.

    `heard` is told the path of each request that was answered well, and the reply, whether or not that arrives.
    """

    def __init__(self, ports: list[int], chance: Random, rates: Rates, heard: Callable[[str, bytes], None]) -> None:
        self._ports = ports
        self._chance = chance
        self._rates = rates
        self._heard = heard
        self._under_way: set[asyncio.Task[None]] = set()
        self.counts: Counter[str] = Counter()
        """What became of messages."""
        self.refusals: Counter[str] = Counter()
        """What replicas answered instead, by the code of the problem."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        """Serve on a loopback port for the length of a block."""
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for task in list(self._under_way):
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def arrived(self) -> None:
        """Wait until every late request has arrived."""
        while late := [task for task in self._under_way if task.get_name() == "late"]:
            await asyncio.wait(late)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one client's requests until it hangs up, or one of them is dropped."""
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            while (request := await _read_request(reader)) is not None:
                reply = await self._relay(request)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass  # cancelled only when nobody serves any more; the server would log it as an error
        finally:
            self._under_way.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _relay(self, request: bytes) -> bytes | None:
        """The reply; None where the client is to hear nothing."""
        rates, drawn = self._rates, self._chance.random()
        self.counts["requests"] += 1
        if drawn < rates.request_dropped:
            self.counts["requests dropped"] += 1
            if self._chance.random() < rates.late:
                self._deliver_late(request)
            return None
        drawn -= rates.request_dropped
        if drawn < rates.doubled:
            self.counts["requests doubled"] += 1
            if self._chance.random() < rates.late:
                self._deliver_late(request)
                return await self._deliver(request)
            return (await asyncio.gather(self._deliver(request), self._deliver(request)))[0]
        drawn -= rates.doubled
        reply = await self._deliver(request)
        if drawn < rates.reply_dropped:
            self.counts["replies dropped"] += 1
            return None
        return reply

    def _deliver_late(self, request: bytes) -> None:
        async def deliver() -> None:
            await asyncio.sleep(self._chance.uniform(*self._rates.late_seconds))
            await self._deliver(request)

        self.counts["requests delivered late"] += 1
        task = asyncio.create_task(deliver(), name="late")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _deliver(self, request: bytes) -> bytes | None:
        """Carry a request to a replica and its reply back; None where none came whole."""
        for port in self._chance.sample(self._ports, len(self._ports)) * _NUM_TRIES:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                continue
            try:
                # The replica closes the connection behind its reply, so that this is all there is to read.
                writer.write(request.replace(b"Connection: keep-alive\r\n", b"Connection: close\r\n", 1))
                reply = await reader.read()
            except OSError:
                return None
            finally:
                writer.close()
            if not _is_whole(reply, request):
                return None
            if reply.startswith(b"HTTP/1.1 2"):
                self._heard(request.split(b" ", 2)[1].decode(), reply)
            elif (code := re.search(rb'"code":"(\w+)"', reply)) is not None:
                self.refusals[code[1].decode()] += 1
            return reply.replace(b"connection: close\r\n", b"", 1)
        self.counts["requests that found no replica"] += 1
        return None


async def _read_request(reader: asyncio.StreamReader) -> bytes | None:
    """The next request, head and body; None where the client has hung up."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.readexactly(_length(head) or 0)
    except asyncio.IncompleteReadError:
        return None


def _is_whole(reply: bytes, request: bytes) -> bool:
    """Whether the replica lived long enough to say it all."""
    head, end, body = reply.partition(b"\r\n\r\n")
    if not end or request.startswith(b"HEAD "):
        return bool(end)
    length = _length(head + end)
    return body.endswith(b"0\r\n\r\n") if length is None else len(body) == length


def _length(head: bytes) -> int | None:
    found = re.search(rb"\r\ncontent-length: *(\d+)\r\n", head, re.IGNORECASE)
    return int(found[1]) if found else None
