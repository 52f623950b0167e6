"""The record of the clients of a scenario: what they sent and which answers they got."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.contract.attempt import CheckpointRequest, FinishRequest, HeartbeatRequest
from service.contract.claim import ClaimRequest
from service.contract.problem import ErrorCode
from service.contract.report import ReportRequest
from service.usecases.attempts.checkpoint import register_checkpoint
from service.usecases.attempts.finish import finish
from service.usecases.attempts.heartbeat import heartbeat
from service.usecases.attempts.report import report
from service.usecases.context import Context
from service.usecases.dispatch.claim import claim

Key = tuple[str, int]
"""An attempt as the database names it: the trial's id and the attempt's number."""
Token = tuple[str, int, str]
"""An attempt as its worker names it, with its nonce: a restored database may give a number out again."""
Request = ClaimRequest | ReportRequest | CheckpointRequest | FinishRequest | HeartbeatRequest


@dataclass(frozen=True)
class Call:
    """One request of a worker, as often as it travels."""

    request: Request
    token: Token | None = None
    is_foreign: bool = False
    """Sent by somebody who does not know the nonce, or tells another end than was told: to be refused."""
    is_hasty: bool = False
    """Sent before what it rests on: may be refused for that, and is sent again."""

    async def carry_out(self, context: Context) -> Any:
        """Call the use case that serves it."""
        match self.request:
            case ClaimRequest():
                return await claim(context, self.request)
            case HeartbeatRequest():
                return await heartbeat(context, self.request)
        assert self.token is not None
        trial, attempt, _ = self.token
        match self.request:
            case ReportRequest():
                return await report(context, trial, attempt, self.request)
            case CheckpointRequest():
                return await register_checkpoint(context, trial, attempt, self.request)
            case FinishRequest():
                return await finish(context, trial, attempt, self.request)


@dataclass(frozen=True)
class Answer:
    """What one delivery of a call was answered, whether or not the answer arrived."""

    call: Call
    arrived_at: int
    """When the request reached a replica; the database's microseconds."""
    reply: Any = None
    refusal: ErrorCode | None = None


@dataclass
class Record:
    """Everything that left a worker, and everything that a replica answered."""

    produced: dict[Token, dict[int, float]] = field(default_factory=dict)
    """Attempt -> step -> the value that its training really had."""
    outcomes: dict[Token, list[dict[str, Any]]] = field(default_factory=dict)
    """Attempt -> the outcomes that its worker ever sent."""
    arrivals: dict[str, int] = field(default_factory=dict)
    """Claim -> when it first reached a replica."""
    overtaken: set[str] = field(default_factory=set)
    """Claims that reached a replica before the database was restored: some are still under way in it."""
    heartbeats: dict[str, int] = field(default_factory=dict)
    """Worker -> when its newest sign of life reached a replica."""
    request_ids: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
    """Those that still bind: what was answered between a backup and its restore is gone with it."""
    extended: list[tuple[str, int]] = field(default_factory=list)
    """Study and budget of every extension that a person was told of."""
    enqueued: list[str] = field(default_factory=list)
    """Ids of the configurations that a person was told to stand in the queue."""
    num_answers: int = 0
    num_before: int = 0
    """How many of the answers were given before the database was restored; the claims among them are forgotten."""

    def arrived(self, call: Call, at: int) -> None:
        """A call has reached a replica."""
        if isinstance(call.request, ClaimRequest):
            self.arrivals.setdefault(call.request.request_id, at)
        if isinstance(call.request, HeartbeatRequest):
            self.heartbeats[call.request.worker] = at

    def answered(self, answer: Answer) -> None:
        """A replica has answered a call, whether or not the answer arrives."""
        self.num_answers += 1
        self.answers.append(answer)

    def mark(self) -> tuple[int, int, int]:
        """How much was answered so far."""
        return len(self.answers), len(self.extended), len(self.enqueued)

    def go_back(self, mark: tuple[int, int, int]) -> None:
        """The database is again as it was when so much was answered."""
        for told, num in zip((self.answers, self.extended, self.enqueued), mark, strict=True):
            del told[num:]
        self.num_before = mark[0]
        self.overtaken |= self.arrivals.keys()
        self.arrivals.clear()
