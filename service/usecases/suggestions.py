"""Runs samplers and pruners in threads with a time limit, so that a slow one does not block other studies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from service.usecases.daemon_threads import DaemonThreads

T = TypeVar("T")

MAX_THREADS = 32
"""Maximum number of concurrent computations, including those that never end."""

MAX_SLOW = 3
"""How often in a row suggestions or verdicts of a study may exceed the time limit before the study is paused."""


class Work(NamedTuple):
    """Names of a kind of computation, for messages."""

    strategy: str
    result: str


SUGGESTION = Work("sampler", "suggestion")
VERDICT = Work("pruner", "verdict")
ENDING = Work("sampler", "decision whether the study is over")


class StrategyTimeoutError(Exception):
    """A study's suggestions or verdicts exceeded the time limit several times in a row."""


@dataclass(frozen=True)
class Late:
    """Says why a result is not available yet."""

    reason: str


@dataclass
class _Computation(Generic[T]):
    """One call of a study's strategy; its time counts from when a thread starts it."""

    key: object
    """The state that the result is valid for."""
    result: asyncio.Future[T] = field(init=False)
    started_at: float | None = None
    """None: every thread is busy with other studies."""
    ended_at: float | None = None
    num_exceeded: int = 0
    """How many claims found the computation over the time limit, each a whole limit after the one before."""

    def seconds(self, now: float) -> float:
        return 0.0 if self.started_at is None else (self.ended_at or now) - self.started_at


_Owner = tuple[str, Work]
"""A study and a kind of work for it."""


class Suggestions:
    """Computes suggestions and verdicts in its own threads, with a time limit per study.

    A thread cannot be stopped. A computation that exceeds the limit keeps its thread. Claims skip its study until it
    ends; then its result is used if it is still valid.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._threads = DaemonThreads(max_threads, "suggest")
        self._running: dict[_Owner, _Computation[object]] = {}
        self._num_slow: dict[_Owner, int] = {}

    async def compute(
        self,
        study_id: str,
        key: object,
        call: Callable[[], T],
        *,
        limit_seconds: float,
        wait_seconds: float,
        of: Work = SUGGESTION,
    ) -> T | Late:
        """Return the result of `call`, or why it takes longer than `wait_seconds`.

        For one study and kind of work (`of`), only one computation runs at a time. A late result is returned to
        the next caller with an equal `key`.

        Raises:
            StrategyTimeoutError: The study's computations exceeded the limit MAX_SLOW times in a row.
            Exception: Whatever `call` raised.
        """
        loop = asyncio.get_running_loop()
        owner = (study_id, of)
        computation = self._running.get(owner)
        if computation is not None and not computation.result.done():
            # Its caller was cancelled, or waited until the limit; in the latter case no waiting time is left here.
            left = min(wait_seconds, limit_seconds - computation.seconds(loop.time()))
            await asyncio.wait({computation.result}, timeout=max(0.0, left))
        if computation is None or (computation.result.done() and computation.key != key):
            computation = self._start(owner, key, call, limit_seconds)
            await asyncio.wait({computation.result}, timeout=min(wait_seconds, limit_seconds))
        if computation.result.done():
            if self._running.get(owner) is computation:
                del self._running[owner]
            return computation.result.result()  # type: ignore[return-value]  # equal keys have results of one type
        self._refuse_if_slow(owner, computation, limit_seconds, loop.time())
        if computation.started_at is None:
            return Late("all threads for strategies are busy with other studies")
        elapsed = computation.seconds(loop.time())
        return Late(f"its {of.strategy} has been computing a {of.result} for {elapsed:.0f} s")

    def _start(self, owner: _Owner, key: object, call: Callable[[], T], limit_seconds: float) -> _Computation[object]:
        loop = asyncio.get_running_loop()
        computation: _Computation[object] = _Computation(key)

        def timed() -> object:
            computation.started_at = loop.time()
            try:
                return call()
            except (StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError) as error:
                # A future cannot hold StopIteration, and the others would end the service or the request.
                raise RuntimeError(f"the strategy raised {type(error).__name__}") from error
            finally:
                computation.ended_at = loop.time()

        def ended(result: asyncio.Future[object]) -> None:
            if not result.cancelled():
                result.exception()  # mark the exception as retrieved, even if no claim ever asks for it
            is_slow = computation.seconds(loop.time()) > limit_seconds
            num_more = max(1, computation.num_exceeded)
            self._num_slow[owner] = self._num_slow.get(owner, 0) + num_more if is_slow else 0

        computation.result = loop.run_in_executor(self._threads, timed)
        computation.result.add_done_callback(ended)
        self._running[owner] = computation
        return computation

    def _refuse_if_slow(self, owner: _Owner, computation: _Computation[object], limit: float, now: float) -> None:
        """Raise if the study was slow MAX_SLOW times: several computations, or one that takes several limits."""
        elapsed, num_before = computation.seconds(now), self._num_slow.get(owner, 0)
        if elapsed >= limit * (computation.num_exceeded + 1):
            computation.num_exceeded += 1
        if num_before + computation.num_exceeded < MAX_SLOW:
            return
        self._num_slow[owner] = 0
        of = owner[1]
        if num_before == 0:
            reason = f"its {of.strategy} has been computing one {of.result} for {elapsed:.0f} s"
        else:
            reason = f"its {of.strategy} exceeded {limit:g} s {MAX_SLOW} times in a row"
        raise StrategyTimeoutError(f"{reason} (the limit is ASSAYER_SUGGEST_SECONDS)")
