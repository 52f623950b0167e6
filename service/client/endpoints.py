"""Every call of the HTTP interface as one typed method: the wire's models in and out, no state, no retries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

from pydantic import TypeAdapter

from service.client.transport import Transport
from service.contract.base import Response, Value
from service.contract.blob import BlobReply
from service.contract.entries import EntriesReply, EntriesRequest, WholeCatalogue
from service.contract.health import Health
from service.contract.importance import Importance
from service.contract.lease import (
    CheckpointReply,
    CheckpointRequest,
    ClaimReply,
    ClaimRequest,
    FinishReply,
    FinishRequest,
    Grant,
    HeartbeatReply,
    HeartbeatRequest,
    Nothing,
    ResumePoint,
)
from service.contract.log import LogReply, LogRequest, LogView, Stream
from service.contract.plan import Plan, Replay, ReplayRequest
from service.contract.predictions import PredictionsList, PredictionsReply, PredictionsRequest
from service.contract.problem import FieldError
from service.contract.provenance import ProvenanceRequest, WarningRequest, WarningsReply
from service.contract.report import ReportRequest, Verdict
from service.contract.stage import ReviewRequest, StageList
from service.contract.study import (
    DeleteReply,
    EditRequest,
    EnqueueReply,
    EnqueueRequest,
    EventList,
    ExtendRequest,
    Front,
    StopRequest,
    StudyList,
    StudySpec,
    StudyState,
    StudyView,
)
from service.contract.trial import ForkRequest, ReleaseRequest, TrialDetail, TrialList, TrialView
from service.contract.worker import WorkerList, WorkerView


class Changed(Response):
    """A message of a study's stream: its revision moved."""

    revision: int
    state: StudyState


class _Check(Response):
    errors: list[FieldError]


_HEALTH = TypeAdapter(Health)
_CHECK = TypeAdapter(_Check)
_STUDY = TypeAdapter(StudyView)
_PLAN = TypeAdapter(Plan)
_REPLAY = TypeAdapter(Replay)
_IMPORTANCE = TypeAdapter(Importance)
_STUDIES = TypeAdapter(StudyList)
_DELETED = TypeAdapter(DeleteReply)
_STAGES = TypeAdapter(StageList)
_TRIALS = TypeAdapter(TrialList)
_TRIAL = TypeAdapter(TrialDetail)
_FRONT = TypeAdapter(Front)
_FORK = TypeAdapter(TrialView)
_EVENTS = TypeAdapter(EventList)
_ENQUEUE = TypeAdapter(EnqueueReply)
_CATALOGUE = TypeAdapter(WholeCatalogue)
_ENTRIES = TypeAdapter(EntriesReply)
_WORKERS = TypeAdapter(WorkerList)
_WORKER = TypeAdapter(WorkerView)
_GRANT = TypeAdapter(Grant)
_CLAIM: TypeAdapter[Grant | Nothing] = TypeAdapter(ClaimReply)
_HEARTBEAT = TypeAdapter(HeartbeatReply)
_VERDICT: TypeAdapter[Verdict] = TypeAdapter(Verdict)
_CHECKPOINT = TypeAdapter(CheckpointReply)
_SAVED = TypeAdapter(ResumePoint)
_WARNINGS = TypeAdapter(WarningsReply)
_BLOB = TypeAdapter(BlobReply)
_FINISH = TypeAdapter(FinishReply)
_KEPT = TypeAdapter(PredictionsReply)
_PREDICTIONS = TypeAdapter(PredictionsList)
_LOG_REPLY = TypeAdapter(LogReply)
_LOG = TypeAdapter(LogView)


class Endpoints:
    """The HTTP interface. A study is named by its name or id; every method raises as `Transport.call` says."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def closed(self) -> bool:
        """Whether the connection was closed by its owner."""
        return self._transport.closed

    def health(self) -> Health:
        """Ask who answers; needs no token."""
        return self._transport.call("GET", "/health", _HEALTH)

    def post_study(self, spec: StudySpec) -> StudyView:
        """Create a study from a checked spec."""
        return self._transport.call("POST", "/studies", _STUDY, spec)

    def check_study(self, spec: StudySpec) -> None:
        """Have the service check a spec against everything it knows, and create nothing; raises Invalid."""
        self._transport.call("POST", "/studies/check", _CHECK, spec)

    def post_plan(self, spec: StudySpec, like: str | None = None) -> Plan:
        """Ask what a checked spec will cost, in time too where a study is named that it is `like`; raises Invalid."""
        return self._transport.call("POST", "/studies/plan", _PLAN, spec, params={"like": like} if like else {})

    def replay(self, study: str, request: ReplayRequest) -> Replay:
        """What another pruner would have made of the study's recorded curves."""
        return self._transport.call("POST", _path(study, "replay"), _REPLAY, request)

    def importance(self, study: str) -> Importance:
        """Which parameters tell the study's best trials from the others."""
        return self._transport.call("GET", _path(study, "importance"), _IMPORTANCE)

    def studies(self) -> StudyList:
        """All studies, newest first."""
        return self._transport.call("GET", "/studies", _STUDIES)

    def study(self, study: str) -> StudyView:
        """One study as it stands."""
        return self._transport.call("GET", _path(study), _STUDY)

    def pause(self, study: str, reason: str = "") -> StudyView:
        """Hand out no more trials until the study is resumed."""
        return self._transport.call("POST", _path(study, "pause"), _STUDY, StopRequest(reason=reason))

    def resume(self, study: str, reason: str = "") -> StudyView:
        """Go on with a paused study."""
        return self._transport.call("POST", _path(study, "resume"), _STUDY, StopRequest(reason=reason))

    def stop(self, study: str, reason: str = "") -> StudyView:
        """End the study: running trials are told to stop, waiting ones are cancelled."""
        return self._transport.call("POST", _path(study, "stop"), _STUDY, StopRequest(reason=reason))

    def delete(self, study: str) -> DeleteReply:
        """Delete a study with all that belongs to it; raises Conflict while a trial of it runs."""
        return self._transport.call("DELETE", _path(study), _DELETED)

    def extend(self, study: str, trials: int | None = None, **budgets: float) -> StudyView:
        """Raise the budget to `trials` in all, or others by the names of the study file; a finished study goes on.

        Raises ValidationError (pydantic's) where no budget is named, or one that does not exist.
        """
        given = budgets if trials is None else {"trials": trials, **budgets}
        return self._transport.call("POST", _path(study, "extend"), _STUDY, ExtendRequest.model_validate(given))

    def put_spec(self, study: str, spec: StudySpec, version: int) -> StudyView:
        """Go on with another spec, made from this version of the study's; raises Conflict where that is outdated."""
        request = EditRequest(spec=spec, version=version)
        return self._transport.call("PUT", _path(study, "spec"), _STUDY, request)

    def enqueue(self, study: str, parameters: Mapping[str, Value], priority: int = 0) -> EnqueueReply:
        """Try a configuration before the sampler's own suggestions."""
        request = EnqueueRequest(parameters=dict(parameters), priority=priority)
        return self._transport.call("POST", _path(study, "enqueue"), _ENQUEUE, request)

    def stages(self, study: str) -> StageList:
        """The trail of a coarse-to-fine study: the box of each stage after the first, and why."""
        return self._transport.call("GET", _path(study, "stages"), _STAGES)

    def review(self, study: str, stage: int, box: Mapping[str, list[Value]] | None = None) -> StudyView:
        """Accept the box that a stage (counted from 0) proposes, with these ranges in the place of its own."""
        request = ReviewRequest(box=dict(box or {}))
        return self._transport.call("POST", _path(study, f"stages/{stage}"), _STUDY, request)

    def trials(self, study: str, since: int = 0, limit: int = 5000) -> TrialList:
        """The search trials that changed after revision `since`; pass the answer's revision next time."""
        return self._transport.call("GET", _path(study, "trials"), _TRIALS, params={"since": since, "limit": limit})

    def trial(self, study: str, trial: int | str) -> TrialDetail:
        """Everything about one trial, by its number, or a fork by its id."""
        return self._transport.call("GET", _trial(study, trial), _TRIAL)

    def fork(
        self, study: str, trial: int | str, changes: Mapping[str, Value], at: int | None = None, priority: int = 0
    ) -> TrialView:
        """Go on from the trial's checkpoint of step `at` (default: its newest) with changed settings."""
        request = ForkRequest(at=at, set=dict(changes), priority=priority)
        return self._transport.call("POST", _trial(study, trial, "/fork"), _FORK, request)

    def release(self, study: str, trial: int | str, reason: str = "", attempt: int | None = None) -> TrialView:
        """Take a running trial from its worker, so that another goes on with it; raises Conflict if it does not run.

        With `attempt` it is safe to ask again: no other attempt is released.
        """
        request = ReleaseRequest(reason=reason, attempt=attempt)
        return self._transport.call("POST", _trial(study, trial, "/release"), _FORK, request)

    def forks(self, study: str) -> TrialList:
        """The forks of the study's trials, the first one first."""
        return self._transport.call("GET", _path(study, "forks"), _TRIALS)

    def grant(self, study: str, trial: int | str) -> Grant:
        """What a worker that executes a trial, by number or id, would be told; nothing is leased."""
        return self._transport.call("GET", _trial(study, trial, "/grant"), _GRANT)

    def newest_checkpoint(self, study: str, trial: int | str) -> ResumePoint:
        """The newest checkpoint that is kept of a trial, by number or id; raises NotFound where there is none."""
        return self._transport.call("GET", _trial(study, trial, "/checkpoint"), _SAVED)

    def best(self, study: str) -> TrialDetail:
        """The best completed trial; raises NotFound while there is none, and where objectives are several."""
        return self._transport.call("GET", _path(study, "best"), _TRIAL)

    def front(self, study: str) -> Front:
        """The completed trials that no other one dominates; none while no trial is completed."""
        return self._transport.call("GET", _path(study, "front"), _FRONT)

    def log(
        self,
        study: str,
        trial: int | str,
        *,
        attempt: int | None = None,
        stream: Stream = Stream.STDOUT,
        after: int = 0,
    ) -> LogView:
        """What an attempt of a trial printed (default: its newest); pass the answer's `next` next time."""
        params = {"stream": stream, "after": after} | ({} if attempt is None else {"attempt": attempt})
        return self._transport.call("GET", _trial(study, trial, "/logs"), _LOG, params=params)

    def predictions(self, study: str, trial: int | str) -> bytes:
        """A Parquet file of what the trial's model says of held-out examples; raises NotFound where it is not kept.

        `pandas.read_parquet(io.BytesIO(client.predictions("digits-mlp", 7)))`, or the same with `polars`.
        """
        return b"".join(self._transport.download(_trial(study, trial, "/predictions")))

    def list_predictions(self, study: str) -> PredictionsList:
        """The trials of the study whose predictions can be had."""
        return self._transport.call("GET", _path(study, "predictions"), _PREDICTIONS)

    def events(self, study: str, after: int = 0, limit: int = 1000, kind: str | None = None) -> EventList:
        """The journal after a revision, oldest first, and its damaged rows; of one kind of event, or of all."""
        params = {"after": after, "limit": limit} | ({} if kind is None else {"kind": kind})
        return self._transport.call("GET", _path(study, "events"), _EVENTS, params=params)

    def stream(self, study: str, after: int = 0) -> Iterator[Changed]:
        """Yield a message whenever the study's revision moves, until the study is finished or the stream breaks."""
        for data in self._transport.server_sent_events(_path(study, "stream"), {"after": after}):
            yield Changed.model_validate_json(data)

    def catalogue(self) -> WholeCatalogue:
        """Everything that a task can be set to, entries of their own that workers have told included."""
        return self._transport.call("GET", "/catalogue", _CATALOGUE)

    def tell_entries(self, worker: str, registries: Mapping[str, Mapping[str, Any]]) -> EntriesReply:
        """Say which entries a worker's modules add to the core: section -> name -> description, as in the catalogue.

        Raises ValidationError (pydantic's) where a description is none.
        """
        request = EntriesRequest.model_validate({"worker": worker, "registries": registries})
        entries: dict[str, dict[str, str]] = {}
        notes: list[str] = []
        for part in request.parts():
            reply = self._transport.call("PUT", "/entries", _ENTRIES, part)
            notes += reply.notes
            for section, fingerprints in reply.entries.items():
                entries.setdefault(section, {}).update(fingerprints)
        return EntriesReply(entries=entries, notes=notes)

    def workers(self) -> WorkerList:
        """Workers, most recently seen first."""
        return self._transport.call("GET", "/workers", _WORKERS)

    def readmit(self, worker: str) -> WorkerView:
        """Lift the quarantine of a worker's host; raises NotFound if no such worker was ever seen."""
        return self._transport.call("POST", f"/workers/{quote(worker, safe='')}/readmit", _WORKER)

    def claim(self, request: ClaimRequest) -> Grant | Nothing:
        """Ask for a trial; the same `request_id` gets the same answer."""
        return self._transport.call("POST", "/claims", _CLAIM, request)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        """Renew leases, and hear what their trials are to do."""
        return self._transport.call("POST", "/heartbeats", _HEARTBEAT, request)

    def provenance(self, trial: str, attempt: int, request: ProvenanceRequest) -> WarningsReply:
        """Say once which data an attempt trains on, and in which environment."""
        return self._transport.call("POST", _attempt(trial, attempt, "provenance"), _WARNINGS, request)

    def warn(self, trial: str, attempt: int, request: WarningRequest) -> WarningsReply:
        """Tell people something about an attempt; the same sentence stands there once."""
        return self._transport.call("POST", _attempt(trial, attempt, "warnings"), _WARNINGS, request)

    def report(self, trial: str, attempt: int, request: ReportRequest) -> Verdict:
        """Send metrics; a replay gets the stored verdict."""
        return self._transport.call("POST", _attempt(trial, attempt, "reports"), _VERDICT, request)

    def checkpoint(self, trial: str, attempt: int, request: CheckpointRequest) -> CheckpointReply:
        """Register a checkpoint with every metric up to its step."""
        return self._transport.call("POST", _attempt(trial, attempt, "checkpoints"), _CHECKPOINT, request)

    def append_log(self, trial: str, attempt: int, stream: Stream, request: LogRequest) -> LogReply:
        """Tell what the attempt printed; bytes that are known already change nothing."""
        return self._transport.call("POST", _attempt(trial, attempt, f"logs/{stream}"), _LOG_REPLY, request)

    def has_blob(self, sha256: str) -> bool:
        """Whether the service has that content."""
        return self._transport.exists(f"/blobs/{sha256}")

    def put_blob(self, sha256: str, content: BinaryIO) -> BlobReply:
        """Store an open file's content, whose SHA-256 it must be; storing it again changes nothing."""
        return self._transport.upload(f"/blobs/{sha256}", _BLOB, content)

    def get_blob(self, sha256: str) -> Iterator[bytes]:
        """Read content piece by piece; compare its hash, as the service may find only on the way that it is damaged."""
        return self._transport.download(f"/blobs/{sha256}")

    def finish(self, trial: str, attempt: int, request: FinishRequest) -> FinishReply:
        """Give the lease back with an outcome; repeating it is answered alike."""
        return self._transport.call("POST", _attempt(trial, attempt, "finish"), _FINISH, request)

    def register_predictions(self, trial: str, attempt: int, request: PredictionsRequest) -> PredictionsReply:
        """Register the predictions of a finished attempt; raises Conflict while their blob is not there."""
        return self._transport.call("POST", _attempt(trial, attempt, "predictions"), _KEPT, request)


def _path(study: str, rest: str = "") -> str:
    return f"/studies/{quote(study, safe='')}" + (f"/{rest}" if rest else "")


def _trial(study: str, trial: int | str, rest: str = "") -> str:
    return _path(study, f"trials/{quote(str(trial), safe='')}{rest}")


def _attempt(trial: str, attempt: int, rest: str) -> str:
    return f"/trials/{quote(trial, safe='')}/attempts/{attempt}/{rest}"
