"""What the clients of a world did and were told: the evidence that the database is compared with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from service.contract.lease import CheckpointRequest, ClaimRequest, FinishRequest, HeartbeatRequest
from service.contract.problem import ErrorCode
from service.contract.report import ReportRequest
from service.usecases.checkpoint import register_checkpoint
from service.usecases.claim import claim
from service.usecases.context import Context
from service.usecases.finish import finish
from service.usecases.heartbeat import heartbeat
from service.usecases.report import report

Key = tuple[str, int]
"""An attempt: the trial's id and the attempt's number."""
Request = ClaimRequest | ReportRequest | CheckpointRequest | FinishRequest | HeartbeatRequest


@dataclass(frozen=True)
class Call:
    """One request of a worker, as often as it travels."""

    request: Request
    key: Key | None = None
    is_foreign: bool = False
    """Sent by somebody who does not know the nonce: to be refused."""
    is_hasty: bool = False
    """A checkpoint sent before the metrics it needs: may be refused for that."""

    async def carry_out(self, context: Context) -> Any:
        """Call the use case that serves it."""
        match self.request:
            case ClaimRequest():
                return await claim(context, self.request)
            case HeartbeatRequest():
                return await heartbeat(context, self.request)
        assert self.key is not None
        match self.request:
            case ReportRequest():
                return await report(context, *self.key, self.request)
            case CheckpointRequest():
                return await register_checkpoint(context, *self.key, self.request)
            case FinishRequest():
                return await finish(context, *self.key, self.request)


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

    produced: dict[Key, dict[int, float]] = field(default_factory=dict)
    """Attempt -> step -> the value that its training really had."""
    outcomes: dict[Key, list[dict[str, Any]]] = field(default_factory=dict)
    """Attempt -> the outcomes that its worker ever sent."""
    request_ids: set[str] = field(default_factory=set)
    answers: list[Answer] = field(default_factory=list)
