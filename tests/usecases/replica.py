"""One replica of the service without HTTP, with short methods for claims, reports and finishes."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from service.contract.attempt import (
    CheckpointReply,
    CheckpointRequest,
    FailureClass,
    FinishReply,
    FinishRequest,
    HeartbeatRequest,
    HeldLease,
    LeaseStatus,
    Outcome,
)
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.catalogue import load_catalogue
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.predictions import PredictionsReply, PredictionsRequest
from service.contract.provenance import ProvenanceRequest
from service.contract.report import Number, Point, ReportRequest, Verdict, to_wire
from service.contract.study import StudySpec, StudyView
from service.contract.trial import ForkRequest, TrialDetail, TrialView
from service.contract.worker import WorkerList
from service.storage.blobs import BlobStore
from service.storage.database import Database
from service.storage.unit_of_work import Transactor
from service.usecases.attempts.checkpoint import register_checkpoint
from service.usecases.attempts.finish import finish
from service.usecases.attempts.heartbeat import heartbeat
from service.usecases.attempts.provenance import record_provenance
from service.usecases.attempts.report import report
from service.usecases.context import Context, Limits
from service.usecases.dispatch.claim import claim
from service.usecases.maintenance.reaper import reap
from service.usecases.studies import creation, study_lookup
from service.usecases.trials import trial_lookup
from service.usecases.trials.forks import fork_trial
from service.usecases.trials.predictions import register_predictions
from service.usecases.workers import list_workers

# On a busy machine dozens of claims at once take seconds; the tests of numbers want every one of them granted.
LIMITS = Limits(lease_seconds=60, heartbeat_seconds=10, reaper_seconds=5, retry_seconds=0.01, turn_seconds=60)


class ShiftedClock:
    """The database's own clock, put forward as far as a test likes."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ahead = 0

    def __call__(self, connection: sa.Connection) -> int:
        return self._database.dialect.now(connection) + self._ahead

    def forward(self, seconds: float) -> None:
        self._ahead += int(seconds * 1_000_000)


def spec_of(**changes: Any) -> StudySpec:
    """A small study that the caller drives, of a name that no other has, without a preflight."""
    is_training = "train" in (changes.get("task") or {})
    return StudySpec.model_validate(
        {
            "name": f"study-{uuid.uuid4().hex[:8]}",
            "objective": {"metric": "val/loss" if is_training else "loss", "direction": "minimize"},
            "space": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
            "sampler": {"name": "random", "seed": 1},
            "budget": {"trials": 3},
            "preflight": "off",
        }
        | changes
    )


def claim_request(
    name: str | None, *, worker: str = "w", request_id: str | None = None, host: str = "", **offers: Any
) -> ClaimRequest:
    """The claim of a worker that executes every kind of task."""
    return ClaimRequest(
        request_id=request_id or secrets.token_hex(8),
        worker=worker,
        host=host,
        capabilities=Capabilities(tasks=list(TaskKind), **offers),
        studies=None if name is None else [name],
    )


@dataclass
class Replica:
    """A context on an open database, and short words for its use cases."""

    database: Database
    context: Context = field(init=False)
    clock: ShiftedClock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = ShiftedClock(self.database)

        def new_id() -> str:
            return secrets.token_hex(16)

        transact = Transactor(self.database, new_id, self.clock)
        self.context = Context(self.database, transact, load_catalogue(), new_id, LIMITS)

    async def create(self, **changes: Any) -> str:
        return (await creation.create_study(self.context, spec_of(**changes))).name

    async def study(self, name: str) -> StudyView:
        return await study_lookup.get_study(self.context, name)

    async def stored(self, name: str) -> StudyView:
        """The study without what moves by itself: its hours and those of its devices."""
        study = await self.study(name)
        used = study.budget_used.model_copy(update={"hours": 0.0, "device_hours": 0.0})
        return study.model_copy(update={"budget_used": used})

    async def trial(self, name: str, key: int | str) -> TrialDetail:
        return await trial_lookup.get_trial(self.context, name, str(key))

    async def trials(self, name: str) -> list[TrialView]:
        found = await trial_lookup.list_trials(self.context, name, 0, 10_000)
        return sorted(found.trials, key=lambda trial: trial.number or 0)

    async def fork(self, name: str, key: int | str, at: int | None = None, **changes: Any) -> TrialView:
        return await fork_trial(self.context, name, str(key), ForkRequest(at=at, set=changes))

    async def kinds(self, name: str) -> list[str]:
        """The journal, by the kinds of its rows."""
        return [event.kind for event in (await study_lookup.list_events(self.context, name, 0, 10_000)).events]

    async def ask(self, name: str | None, **more: Any) -> Grant | NoTrial:
        return await claim(self.context, claim_request(name, **more))

    async def claim(self, name: str | None, **more: Any) -> Grant:
        answer = await self.ask(name, **more)
        assert isinstance(answer, Grant), answer
        return answer

    async def provenance(
        self, grant: Grant, data: str | None, custom_code: str | None = None, **environment: str
    ) -> list[str]:
        request = ProvenanceRequest(nonce=grant.nonce, code=custom_code, data=data, environment=environment)
        return (await record_provenance(self.context, grant.trial, grant.attempt, request)).warnings

    async def report(
        self, grant: Grant, sequence: int, *values: float, step: int | None = None, nonce: str | None = None
    ) -> Verdict:
        """Report `values` at consecutive steps, from `step` or else from the sequence number."""
        request = ReportRequest(
            nonce=nonce or grant.nonce,
            sequence=sequence,
            points=points(*values, step=step or sequence, metric=grant.monitor.metric),
        )
        return await report(self.context, grant.trial, grant.attempt, request)

    async def finish(
        self, grant: Grant, result: Any = "succeeded", *, nonce: str | None = None, **more: Any
    ) -> FinishReply:
        request = FinishRequest(nonce=nonce or grant.nonce, outcome=Outcome(result=result, **more))
        return await finish(self.context, grant.trial, grant.attempt, request)

    async def fail(self, grant: Grant, failure: FailureClass, **more: Any) -> FinishReply:
        return await self.finish(grant, "failed", failure=failure, **more)

    async def train(self, name: str, *values: float) -> Grant:
        """Claim, report the values, finish."""
        grant = await self.claim(name)
        for sequence, value in enumerate(values, start=1):
            await self.report(grant, sequence, value)
        await self.finish(grant)
        return grant

    async def heartbeat(self, grant: Grant, *, worker: str = "w", nonce: str | None = None) -> LeaseStatus:
        lease = HeldLease(trial=grant.trial, attempt=grant.attempt, nonce=nonce or grant.nonce)
        (status,) = (await heartbeat(self.context, HeartbeatRequest(worker=worker, leases=[lease]))).leases
        return status

    async def checkpoint(
        self, grant: Grant, step: int, *batches: ReportRequest, batch: int = 0, sha256: str = "0" * 64
    ) -> CheckpointReply:
        uri = f"file:///{step}" + (f"-{batch}" if batch else "")
        request = CheckpointRequest(
            nonce=grant.nonce, step=step, batch=batch, sha256=sha256, size=1, uri=uri, reports=list(batches)
        )
        return await register_checkpoint(self.context, grant.trial, grant.attempt, request)

    def open_blobs(self, directory: Path) -> BlobStore:
        """Give the replica a blob store."""
        store = BlobStore(directory)
        store.claim("store", is_new=True)
        self.context = replace(self.context, blobs=store)
        return store

    async def predictions(
        self, grant: Grant, content: bytes, *, uploaded: bool = True, nonce: str | None = None
    ) -> PredictionsReply:
        """Register the predictions of an attempt, which are `content`."""
        if uploaded:
            assert self.context.blobs is not None
            put(self.context.blobs, content)
        request = PredictionsRequest(nonce=nonce or grant.nonce, sha256=sha256_of(content), size=len(content))
        return await register_predictions(self.context, grant.trial, grant.attempt, request)

    async def workers(self) -> WorkerList:
        return await list_workers(self.context)

    async def reap(self) -> int:
        return await reap(self.context)

    async def lose(self) -> int:
        """Let every lease run out while the service is up."""
        await self.reap()
        for _ in range(5):
            self.clock.forward(13)
            num_lost = await self.reap()
            if num_lost:
                return num_lost
        return 0


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(store: BlobStore, content: bytes) -> str:
    """Store a blob, as an upload does; its SHA-256."""
    name = sha256_of(content)
    incoming = store.writer(name)
    incoming.write(content)
    incoming.keep()
    incoming.close()
    return name


def points(*values: float, step: int = 1, metric: str = "loss") -> list[Point]:
    def wire(value: float) -> Number:
        return to_wire(value)

    return [Point(step=step + offset, metrics={metric: wire(value)}) for offset, value in enumerate(values)]
