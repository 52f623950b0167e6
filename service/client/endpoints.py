"""One typed method per HTTP endpoint. It sends and returns models of the contract, keeps no state and never retries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Literal
from urllib.parse import quote

from pydantic import TypeAdapter

from service.client.transport import Transport
from service.contract.attempt import (
    CheckpointReply,
    CheckpointRequest,
    FinishReply,
    FinishRequest,
    HeartbeatReply,
    HeartbeatRequest,
)
from service.contract.base import Response, Value
from service.contract.blob import BlobReply
from service.contract.claim import ClaimReply, ClaimRequest, Grant, NoTrial, ResumePoint
from service.contract.custom_entries import CatalogueView, EntriesReply, EntriesRequest
from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis
from service.contract.finding import Confidence
from service.contract.health import Health
from service.contract.importance import Importance
from service.contract.log import LogReply, LogRequest, LogView, Stream
from service.contract.plan import Plan, Replay, ReplayRequest
from service.contract.predictions import PredictionsList, PredictionsReply, PredictionsRequest
from service.contract.preflight_view import PreflightView
from service.contract.problem import FieldError
from service.contract.provenance import ProvenanceRequest, WarningRequest, WarningsReply
from service.contract.remedy import ApplyReply, ApplyRequest, FollowUpDraft
from service.contract.report import ReportRequest, Verdict
from service.contract.stage import ReviewRequest, StageList
from service.contract.study import (
    DeleteReply,
    EditRequest,
    EnqueueReply,
    EnqueueRequest,
    EventList,
    ExtendRequest,
    ParetoFront,
    ReasonRequest,
    StudyList,
    StudySpec,
    StudyState,
    StudyView,
)
from service.contract.trial import ForkRequest, ReleaseRequest, TrialDetail, TrialList, TrialView
from service.contract.worker import WorkerList, WorkerView


class RevisionEvent(Response):
    """An event of a study's stream: its revision has changed, or the study was deleted."""

    revision: int
    state: StudyState | Literal["deleted"]


class _Check(Response):
    errors: list[FieldError]


_HEALTH = TypeAdapter(Health)
_CHECK = TypeAdapter(_Check)
_STUDY = TypeAdapter(StudyView)
_PLAN = TypeAdapter(Plan)
_REPLAY = TypeAdapter(Replay)
_STUDY_DIAGNOSIS = TypeAdapter(StudyDiagnosis)
_TRIAL_DIAGNOSIS = TypeAdapter(TrialDiagnosis)
_IMPORTANCE = TypeAdapter(Importance)
_PREFLIGHT = TypeAdapter(PreflightView)
_STUDIES = TypeAdapter(StudyList)
_DELETED = TypeAdapter(DeleteReply)
_APPLIED = TypeAdapter(ApplyReply)
_DRAFT = TypeAdapter(FollowUpDraft)
_STAGES = TypeAdapter(StageList)
_TRIALS = TypeAdapter(TrialList)
_TRIAL = TypeAdapter(TrialDetail)
_FRONT = TypeAdapter(ParetoFront)
_FORK = TypeAdapter(TrialView)
_EVENTS = TypeAdapter(EventList)
_ENQUEUE = TypeAdapter(EnqueueReply)
_CATALOGUE = TypeAdapter(CatalogueView)
_ENTRIES = TypeAdapter(EntriesReply)
_WORKERS = TypeAdapter(WorkerList)
_WORKER = TypeAdapter(WorkerView)
_GRANT = TypeAdapter(Grant)
_CLAIM: TypeAdapter[Grant | NoTrial] = TypeAdapter(ClaimReply)
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
    """The HTTP API. `study` is a name or an id. Every method raises the exceptions of `Transport.call`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @property
    def closed(self) -> bool:
        """Whether the owner closed the connection."""
        return self._transport.closed

    def health(self) -> Health:
        """Check whether the service is up. Needs no token."""
        return self._transport.call("GET", "/health", _HEALTH)

    def post_study(self, spec: StudySpec) -> StudyView:
        """Create a study from a checked spec."""
        return self._transport.call("POST", "/studies", _STUDY, spec)

    def check_study(self, spec: StudySpec) -> None:
        """Validate a spec at the service without creating a study.

        Raises:
            Invalid: the spec is not valid.
        """
        self._transport.call("POST", "/studies/check", _CHECK, spec)

    def post_plan(self, spec: StudySpec, like: str | None = None) -> Plan:
        """Return what a study would cost. The plan includes the time if `like` names a study with measured steps.

        Raises:
            Invalid: the spec is not valid.
        """
        return self._transport.call("POST", "/studies/plan", _PLAN, spec, params={"like": like} if like else {})

    def replay(self, study: str, request: ReplayRequest) -> Replay:
        """Simulate another pruner on the study's recorded curves."""
        return self._transport.call("POST", _path(study, "replay"), _REPLAY, request)

    def importance(self, study: str) -> Importance:
        """Return which parameters distinguish the study's best trials from the others."""
        return self._transport.call("GET", _path(study, "importance"), _IMPORTANCE)

    def diagnosis(self, study: str, rule: str | None = None, confidence: Confidence | None = None) -> StudyDiagnosis:
        """Return what the rules found about a study and, by rule, about its trials.

        Args:
            study: name or id of the study.
            rule: return only what this rule found.
            confidence: return only findings of this confidence.
        """
        params = _filters(rule, confidence)
        return self._transport.call("GET", _path(study, "diagnosis"), _STUDY_DIAGNOSIS, params=params)

    def trial_diagnosis(
        self, study: str, trial: int | str, rule: str | None = None, confidence: Confidence | None = None
    ) -> TrialDiagnosis:
        """Return what the rules found about one trial; `rule` and `confidence` select findings."""
        params = _filters(rule, confidence)
        return self._transport.call("GET", _trial(study, trial, "/diagnosis"), _TRIAL_DIAGNOSIS, params=params)

    def start_preflight(self, study: str) -> PreflightView:
        """Have a worker check the study (again). While a preflight is open, return that one."""
        return self._transport.call("POST", _path(study, "preflight"), _PREFLIGHT)

    def preflight(self, study: str) -> PreflightView:
        """Return the study's newest preflight, with the results of its checks once it has ended."""
        return self._transport.call("GET", _path(study, "preflight"), _PREFLIGHT)

    def studies(self) -> StudyList:
        """List all studies, newest first."""
        return self._transport.call("GET", "/studies", _STUDIES)

    def study(self, study: str) -> StudyView:
        """Return the current state of one study."""
        return self._transport.call("GET", _path(study), _STUDY)

    def pause(self, study: str, reason: str = "") -> StudyView:
        """Stop handing out trials until the study is resumed."""
        return self._transport.call("POST", _path(study, "pause"), _STUDY, ReasonRequest(reason=reason))

    def resume(self, study: str, reason: str = "") -> StudyView:
        """Resume a paused study."""
        return self._transport.call("POST", _path(study, "resume"), _STUDY, ReasonRequest(reason=reason))

    def stop(self, study: str, reason: str = "") -> StudyView:
        """Stop the study: running trials are ordered to stop, waiting ones are cancelled."""
        return self._transport.call("POST", _path(study, "stop"), _STUDY, ReasonRequest(reason=reason))

    def delete(self, study: str) -> DeleteReply:
        """Delete a study and all its data.

        Raises:
            Conflict: a trial of the study is running.
        """
        return self._transport.call("DELETE", _path(study), _DELETED)

    def extend(self, study: str, trials: int | None = None, **budgets: float) -> StudyView:
        """Raise budgets of a study. A finished study becomes active again.

        Args:
            study: name or id of the study.
            trials: the new number of trials in total.
            budgets: other budgets, by their names in the study file.

        Raises:
            ValidationError: no budget is named, or one that does not exist (raised by pydantic).
        """
        given = budgets if trials is None else {"trials": trials, **budgets}
        return self._transport.call("POST", _path(study, "extend"), _STUDY, ExtendRequest.model_validate(given))

    def put_spec(self, study: str, spec: StudySpec, version: int) -> StudyView:
        """Continue with another spec, edited from this version of the study's spec.

        Raises:
            Conflict: the version is outdated.
        """
        request = EditRequest(spec=spec, version=version)
        return self._transport.call("PUT", _path(study, "spec"), _STUDY, request)

    def enqueue(self, study: str, parameters: Mapping[str, Value], priority: int = 0) -> EnqueueReply:
        """Queue a configuration to try before the sampler's own suggestions."""
        request = EnqueueRequest(parameters=dict(parameters), priority=priority)
        return self._transport.call("POST", _path(study, "enqueue"), _ENQUEUE, request)

    def apply(self, study: str, request: ApplyRequest) -> ApplyReply:
        """Carry out the action of a finding's remedy, or describe what it would change.

        Raises:
            Conflict: the study changed since the action was made, or the configuration was tried already.
        """
        return self._transport.call("POST", _path(study, "actions"), _APPLIED, request)

    def draft_follow_up(self, study: str) -> FollowUpDraft:
        """Draft a follow-up study from the findings about a study, without creating it."""
        return self._transport.call("GET", _path(study, "next"), _DRAFT)

    def stages(self, study: str) -> StageList:
        """Return the stage history of a coarse-to-fine study: the box of each stage after the first, and why."""
        return self._transport.call("GET", _path(study, "stages"), _STAGES)

    def review(self, study: str, stage: int, box: Mapping[str, list[Value]] | None = None) -> StudyView:
        """Accept the box that a stage (counted from 0) proposes. The ranges in `box` replace its own."""
        request = ReviewRequest(box=dict(box or {}))
        return self._transport.call("POST", _path(study, f"stages/{stage}"), _STUDY, request)

    def trials(self, study: str, since: int = 0, limit: int = 5000) -> TrialList:
        """List the search trials that changed after revision `since`. Pass the answer's revision in the next call."""
        return self._transport.call("GET", _path(study, "trials"), _TRIALS, params={"since": since, "limit": limit})

    def trial(self, study: str, trial: int | str) -> TrialDetail:
        """Return all data about one trial, by its number, or about a fork by its id."""
        return self._transport.call("GET", _trial(study, trial), _TRIAL)

    def fork(
        self, study: str, trial: int | str, changes: Mapping[str, Value], at: int | None = None, priority: int = 0
    ) -> TrialView:
        """Continue from a trial's checkpoint with changed settings, as a fork outside the search.

        Args:
            study: name or id of the study.
            trial: number of the trial, or id of a fork.
            changes: dotted path into the task -> its new value.
            at: step of the checkpoint. Default: the newest.
            priority: the larger number goes first.
        """
        request = ForkRequest(at=at, set=dict(changes), priority=priority)
        return self._transport.call("POST", _trial(study, trial, "/fork"), _FORK, request)

    def release(self, study: str, trial: int | str, reason: str = "", attempt: int | None = None) -> TrialView:
        """Release a running trial from its worker, so that another worker continues it.

        With `attempt` the call can be repeated safely, because no other attempt is released.

        Raises:
            Conflict: the trial is not running.
        """
        request = ReleaseRequest(reason=reason, attempt=attempt)
        return self._transport.call("POST", _trial(study, trial, "/release"), _FORK, request)

    def forks(self, study: str) -> TrialList:
        """List the forks of the study's trials, oldest first."""
        return self._transport.call("GET", _path(study, "forks"), _TRIALS)

    def grant(self, study: str, trial: int | str) -> Grant:
        """Return the grant that a worker would get to start a trial (by number or id) afresh. Leases nothing."""
        return self._transport.call("GET", _trial(study, trial, "/grant"), _GRANT)

    def newest_checkpoint(self, study: str, trial: int | str) -> ResumePoint:
        """Return the newest kept checkpoint of a trial, by number or id.

        Raises:
            NotFound: the trial has no checkpoint.
        """
        return self._transport.call("GET", _trial(study, trial, "/checkpoint"), _SAVED)

    def best(self, study: str) -> TrialDetail:
        """Return the best completed trial.

        Raises:
            NotFound: no trial is completed, or the study has several objectives.
        """
        return self._transport.call("GET", _path(study, "best"), _TRIAL)

    def front(self, study: str) -> ParetoFront:
        """Return the Pareto front of the completed trials. It is empty while no trial is completed."""
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
        """Return the output of an attempt, by default the newest.

        Pass the answer's `next` as `after` in the next call.
        """
        params = {"stream": stream, "after": after} | ({} if attempt is None else {"attempt": attempt})
        return self._transport.call("GET", _trial(study, trial, "/logs"), _LOG, params=params)

    def predictions(self, study: str, trial: int | str) -> bytes:
        """Download the predictions of a trial's model on held-out examples, as a Parquet file.

        Read them with `pandas.read_parquet(io.BytesIO(client.predictions("digits-mlp", 7)))`, or the same with
        `polars`.

        Raises:
            NotFound: the service does not keep the trial's predictions.
        """
        return b"".join(self._transport.download(_trial(study, trial, "/predictions")))

    def list_predictions(self, study: str) -> PredictionsList:
        """List the study's trials whose predictions are kept."""
        return self._transport.call("GET", _path(study, "predictions"), _PREDICTIONS)

    def events(self, study: str, after: int = 0, limit: int = 1000, kind: str | None = None) -> EventList:
        """Return the journal after a revision, oldest first, and its damaged rows. `kind` selects one kind of event."""
        params = {"after": after, "limit": limit} | ({} if kind is None else {"kind": kind})
        return self._transport.call("GET", _path(study, "events"), _EVENTS, params=params)

    def stream(self, study: str, after: int = 0) -> Iterator[RevisionEvent]:
        """Yield an event for each new revision, until the study is finished or deleted or the stream breaks."""
        for data in self._transport.server_sent_events(_path(study, "stream"), {"after": after}):
            yield RevisionEvent.model_validate_json(data)

    def catalogue(self) -> CatalogueView:
        """Return everything that a task can be set to, including the custom entries that workers registered."""
        return self._transport.call("GET", "/catalogue", _CATALOGUE)

    def register_entries(self, worker: str, registries: Mapping[str, Mapping[str, Any]]) -> EntriesReply:
        """Register the custom entries that a worker's modules add to the core, in as many requests as their size needs.

        Args:
            worker: name of the worker.
            registries: section -> name -> description, in the format of the catalogue.

        Raises:
            ValidationError: a description is invalid (raised by pydantic).
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
        """List workers, most recently seen first."""
        return self._transport.call("GET", "/workers", _WORKERS)

    def readmit(self, worker: str) -> WorkerView:
        """Lift the quarantine of a host and its exclusions from studies.

        Args:
            worker: name of a worker on the host, or of the host.

        Raises:
            NotFound: no such worker or host was ever seen.
        """
        return self._transport.call("POST", f"/workers/{quote(worker, safe='')}/readmit", _WORKER)

    def claim(self, request: ClaimRequest) -> Grant | NoTrial:
        """Claim a trial. Repeating a `request_id` gets the same answer."""
        return self._transport.call("POST", "/claims", _CLAIM, request)

    def heartbeat(self, request: HeartbeatRequest) -> HeartbeatReply:
        """Renew leases. The answer has an order for each trial."""
        return self._transport.call("POST", "/heartbeats", _HEARTBEAT, request)

    def provenance(self, trial: str, attempt: int, request: ProvenanceRequest) -> WarningsReply:
        """Record the code, data and environment of an attempt, once per attempt."""
        return self._transport.call("POST", _attempt(trial, attempt, "provenance"), _WARNINGS, request)

    def warn(self, trial: str, attempt: int, request: WarningRequest) -> WarningsReply:
        """Record a warning about an attempt. Repeating a sentence changes nothing."""
        return self._transport.call("POST", _attempt(trial, attempt, "warnings"), _WARNINGS, request)

    def report(self, trial: str, attempt: int, request: ReportRequest) -> Verdict:
        """Report metrics. A repeated report gets the stored verdict."""
        return self._transport.call("POST", _attempt(trial, attempt, "reports"), _VERDICT, request)

    def checkpoint(self, trial: str, attempt: int, request: CheckpointRequest) -> CheckpointReply:
        """Register a checkpoint together with every metric up to its step."""
        return self._transport.call("POST", _attempt(trial, attempt, "checkpoints"), _CHECKPOINT, request)

    def append_log(self, trial: str, attempt: int, stream: Stream, request: LogRequest) -> LogReply:
        """Append output of the attempt. Bytes that the service already has change nothing."""
        return self._transport.call("POST", _attempt(trial, attempt, f"logs/{stream}"), _LOG_REPLY, request)

    def has_blob(self, sha256: str) -> bool:
        """Return whether the service has that content."""
        return self._transport.exists(f"/blobs/{sha256}")

    def put_blob(self, sha256: str, content: BinaryIO) -> BlobReply:
        """Store an open file's content under its SHA-256. Storing it again changes nothing."""
        return self._transport.upload(f"/blobs/{sha256}", _BLOB, content)

    def get_blob(self, sha256: str) -> Iterator[bytes]:
        """Download a blob in pieces.

        The caller must verify the hash: the service may detect damage only while it sends.
        """
        return self._transport.download(f"/blobs/{sha256}")

    def finish(self, trial: str, attempt: int, request: FinishRequest) -> FinishReply:
        """Finish an attempt with its outcome. Repeating the request gets the same answer."""
        return self._transport.call("POST", _attempt(trial, attempt, "finish"), _FINISH, request)

    def register_predictions(self, trial: str, attempt: int, request: PredictionsRequest) -> PredictionsReply:
        """Register the predictions of a finished attempt.

        Raises:
            Conflict: their blob is not uploaded yet.
        """
        return self._transport.call("POST", _attempt(trial, attempt, "predictions"), _KEPT, request)


def _filters(rule: str | None, confidence: Confidence | None) -> dict[str, Any]:
    """Return the parameters of the query that selects findings."""
    return {name: value for name, value in (("rule", rule), ("confidence", confidence)) if value is not None}


def _path(study: str, rest: str = "") -> str:
    return f"/studies/{quote(study, safe='')}" + (f"/{rest}" if rest else "")


def _trial(study: str, trial: int | str, rest: str = "") -> str:
    return _path(study, f"trials/{quote(str(trial), safe='')}{rest}")


def _attempt(trial: str, attempt: int, rest: str) -> str:
    return f"/trials/{quote(trial, safe='')}/attempts/{attempt}/{rest}"
