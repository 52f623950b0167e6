"""Applies a remedy: carries out its action by the use case for it, and records which finding it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, assert_never

from service.contract.finding import RemedyName
from service.contract.problem import ErrorCode
from service.contract.remedy import ApplyReply, ApplyRequest
from service.contract.remedy_action import (
    EditAction,
    EnqueueAction,
    ExtendAction,
    FollowUpAction,
    ForkAction,
    PreflightAction,
    StopAction,
)
from service.contract.study import EditRequest, EnqueueRequest, ExtendRequest, StudySpec
from service.contract.trial import ForkRequest
from service.domain.errors import DomainError
from service.domain.parameter import same_value
from service.domain.spec_changes import changed_spec
from service.domain.states import FINISHED_STUDIES
from service.search.spec_diff import differences
from service.storage.queries import history, studies, trials
from service.storage.tables import Connection, Row
from service.storage.unit_of_work import UnitOfWork
from service.usecases.catalogue import merged_catalogue
from service.usecases.context import Context
from service.usecases.remedies.follow_up import follow_up_spec
from service.usecases.remedies.transaction import Extended, Rehearsal
from service.usecases.studies.creation import check_spec, create_study
from service.usecases.studies.edit import edit_study
from service.usecases.studies.enqueue import add_to_queue, enqueue
from service.usecases.studies.lifecycle import extend_study, stop_study
from service.usecases.studies.preflight import start_preflight
from service.usecases.studies.study_lookup import find_study
from service.usecases.trials.forks import fork_trial

Hook = Callable[[UnitOfWork], None]


async def apply_remedy(context: Context, name: str, request: ApplyRequest) -> ApplyReply:
    """Carry out the action of a remedy, or rehearse it: make every check, and store nothing.

    The journal row `remedy_applied` is written in the transaction that carries the action out.

    Raises:
        DomainError: The study changed since the action was made, the configuration was tried already, or the use case
            that carries the action out refuses it.
    """

    def read(connection: Connection) -> tuple[Row, StudySpec]:
        study = find_study(connection, name)
        _require_version(study, request.version)
        return study, studies.spec(connection, study.id, study.spec_version)

    study, spec = await context.database.read(read)
    if request.dry_run:
        context = replace(context, transact=Rehearsal(context.transact))
    return await _Application(context, study, spec, request).carry_out()


class _Application:
    """One action on one study, as a snapshot showed it."""

    def __init__(self, context: Context, study: Row, spec: StudySpec, request: ApplyRequest) -> None:
        self.context, self.study, self.spec, self.request = context, study, spec, request

    async def carry_out(self) -> ApplyReply:
        """Carry the action out by the use case for it."""
        match self.request.action:
            case EditAction() as action:
                reply = await self._edit(action)
            case EnqueueAction() as action:
                reply = await self._enqueue(action)
            case ForkAction() as action:
                reply = await self._fork(action)
            case ExtendAction() as action:
                reply = await self._extend(action)
            case FollowUpAction() as action:
                reply = await self._follow_up(action)
            case StopAction():
                reply = await self._stop()
            case PreflightAction():
                reply = await self._preflight()
            case _ as never:
                assert_never(never)
        return reply

    async def _edit(self, action: EditAction) -> ApplyReply:
        study, new = self.study, changed_spec(self.spec, action.changes)

        def try_next(unit_of_work: UnitOfWork) -> None:
            if action.enqueue is not None:
                unit_of_work.reload()
                add_to_queue(unit_of_work, EnqueueRequest(parameters=action.enqueue))

        request = EditRequest(spec=new, version=self.request.version)
        await edit_study(self._extended(after=try_next), study.id, request)
        catalogue = await self.context.database.read(lambda connection: merged_catalogue(connection, self.context))
        changes = _differences(self.spec, check_spec(catalogue, new))
        if action.enqueue is not None:
            changes.append(f"queue: {_words(action.enqueue)}")
        queued = " and queue a configuration" if action.enqueue is not None else ""
        return self._reply(f"edit {study.name}{queued}", changes)

    async def _enqueue(self, action: EnqueueAction) -> ApplyReply:
        is_repeated = self.request.remedy is RemedyName.REPEAT_SEEDS
        require_new = _nothing if is_repeated else partial(self._require_new, parameters=action.parameters)
        request = EnqueueRequest(parameters=action.parameters)
        await enqueue(self._extended(before=require_new), self.study.id, request)
        return self._reply(f"queue a configuration of {self.study.name}", [f"queue: {_words(action.parameters)}"])

    async def _fork(self, action: ForkAction) -> ApplyReply:
        require_new = partial(self._require_new_fork, action=action)
        request = ForkRequest(set=action.settings)
        fork = await fork_trial(self._extended(before=require_new), self.study.id, str(action.trial), request)
        changes = [f"{path}: {value}" for path, value in action.settings.items()]
        sentence = f"continue trial {action.trial} of {self.study.name} from step {fork.parent_step} as a fork"
        reply = self._reply(sentence, changes)
        if self.request.dry_run:
            return reply
        return reply.model_copy(update={"fork": fork.id, "look": f"study show {self.study.name} --trial {fork.id}"})

    async def _extend(self, action: ExtendAction) -> ApplyReply:
        await extend_study(self._extended(), self.study.id, ExtendRequest(trials=action.trials))
        sentence = f"extend {self.study.name} to {action.trials} trials"
        return self._reply(sentence, [f"budget.trials: {self.spec.budget.trials} -> {action.trials}"])

    async def _follow_up(self, action: FollowUpAction) -> ApplyReply:
        reason = f"finding {self.request.rule}"

        def read(connection: Connection) -> StudySpec:
            return follow_up_spec(connection, self.spec, action.name, action.changes, reason)

        def try_first(unit_of_work: UnitOfWork) -> None:
            if action.enqueue is not None:
                add_to_queue(unit_of_work, EnqueueRequest(parameters=action.enqueue))

        spec = await self.context.database.read(read)
        created = await create_study(self._extended(after=try_first, follow_up=action.name), spec)
        # A crash before this row leaves the new study, whose own journal says where it comes from.
        await self.context.transact(self.study.id, partial(self._record, follow_up=action.name))
        sentence = f"create {created.name}, a follow-up study of {self.study.name}"
        changes = _differences(self.spec, created.spec)
        if action.enqueue is not None:
            changes.append(f"queue: {_words(action.enqueue)}")
        reply = self._reply(sentence, changes)
        return reply.model_copy(update={"study": created.name, "look": f"study watch {created.name}"})

    async def _stop(self) -> ApplyReply:
        reason = f"stopped because of the finding {self.request.rule}"
        await stop_study(self._extended(before=_require_open), self.study.id, reason)
        return self._reply(f"end the search of {self.study.name}", [])

    async def _preflight(self) -> ApplyReply:
        await start_preflight(self._extended(), self.study.id)
        reply = self._reply(f"have a worker check {self.study.name}", [])
        return reply.model_copy(update={"look": f"study preflight {self.study.name}"})

    def _extended(self, before: Hook | None = None, after: Hook | None = None, follow_up: str | None = None) -> Context:
        """Return the context whose first transaction also checks the version and records the remedy."""

        def check(unit_of_work: UnitOfWork) -> None:
            _require_version(unit_of_work.study, self.request.version)
            (before or _nothing)(unit_of_work)

        def record(unit_of_work: UnitOfWork) -> None:
            (after or _nothing)(unit_of_work)
            self._record(unit_of_work, follow_up)

        return replace(self.context, transact=Extended(self.context.transact, check, record))

    def _record(self, unit_of_work: UnitOfWork, follow_up: str | None = None) -> None:
        """Record in the journal which finding is answered, by what, and of a follow-up study both studies."""
        request = self.request
        data: dict[str, Any] = {
            "rule": request.rule,
            "remedy": request.remedy,
            "trial": request.trial,
            "action": request.action.model_dump(mode="json"),
        }
        if follow_up is not None:
            data |= {"follow_up": follow_up, "follow_up_of": self.study.name}
        unit_of_work.record("remedy_applied", data=data)

    def _require_new(self, unit_of_work: UnitOfWork, parameters: Mapping[str, object]) -> None:
        """Raise if a trial has the configuration, or it waits in the queue."""
        connection, study = unit_of_work.connection, unit_of_work.study
        metric = self.spec.primary_objective.metric
        known = history.refresh(connection, study.id, metric, self.context.histories.cached(study.id))
        for trial in known:
            if _same(trial.parameters, parameters):
                raise _tried(f"trial {trial.number} of {study.name} has this configuration already")
        if any(_same(waiting, parameters) for waiting in studies.enqueued(connection, study.id)):
            raise _tried(f"this configuration waits in the queue of {study.name} already")

    def _require_new_fork(self, unit_of_work: UnitOfWork, action: ForkAction) -> None:
        """Raise if the trial has a fork with these settings."""
        connection, study = unit_of_work.connection, unit_of_work.study
        parent = trials.by_number(connection, study.id, action.trial)
        if parent is None:
            return  # The fork itself is refused with the reason.
        wanted = {**parent.parameters, **action.settings}
        for fork in trials.forks(connection, study.id):
            if fork.parent_id == parent.id and _same(fork.parameters, wanted):
                raise _tried(f"fork {fork.id} continues trial {action.trial} of {study.name} with these settings")

    def _reply(self, sentence: str, changes: list[str]) -> ApplyReply:
        request, name = self.request, self.study.name
        full_sentence = f"would {sentence}" if request.dry_run else f"done: {sentence}"
        return ApplyReply(
            kind=request.action.kind,
            dry_run=request.dry_run,
            sentence=full_sentence,
            changes=changes,
            study=name,
            look=f"study watch {name}",
        )


def _require_version(study: Row, version: int) -> None:
    if study.spec_version != version:
        message = (
            f"{study.name} is at version {study.spec_version} of its spec, and this action was made for version "
            f"{version}; read its findings again (study diagnose {study.name})"
        )
        raise DomainError(ErrorCode.STUDY_CHANGED, message)


def _require_open(unit_of_work: UnitOfWork) -> None:
    study = unit_of_work.study
    if study.state in FINISHED_STUDIES or study.stop_requested_at is not None:
        raise DomainError(ErrorCode.STUDY_STATE, f"{study.name} has ended or is being stopped; nothing is left to do")


def _nothing(_unit_of_work: UnitOfWork) -> None:
    pass


def _tried(message: str) -> DomainError:
    return DomainError(ErrorCode.ALREADY_TRIED, f"{message}")


def _same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    return one.keys() == other.keys() and all(same_value(value, other[key]) for key, value in one.items())


def _differences(old: StudySpec, new: StudySpec) -> list[str]:
    return [f"{path}: {change}" for path, change in differences(old, new)]


def _words(parameters: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in parameters.items())
