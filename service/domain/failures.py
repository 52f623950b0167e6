"""What each way of ending costs a trial: finished, tried again, or given up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import assert_never

from service.contract.lease import FailureClass, Outcome, Shortage
from service.domain.states import AttemptEvent, TrialEvent

MAX_LOSSES = 5
"""Attempts that may vanish (host or process gone) before a trial is given up; nothing of this is its fault."""

MAX_HOST_FAULTS = 5
"""Faults of one host that give a trial back uncharged; more come only where the host serves other studies well."""

POISON_LOSSES, POISON_HOSTS = 3, 2
"""So many losses in a row without progress, on so many hosts: the trial takes its workers down with it."""

CROWDED_GIB = 1.0
"""Device memory in the hands of other processes from which on these are to blame; a CUDA context alone takes less."""

LARGER = 1.1
"""A GPU counts as larger from here on: drivers and CUDA tell one GPU's memory differently by a few percent."""

LOSSES = frozenset({FailureClass.WORKER_LOST, FailureClass.PROCESS_KILLED, FailureClass.HUNG})


@dataclass(frozen=True, slots=True)
class Execution:
    """An attempt as it ended: how, on which host, how far it got, and what memory was short."""

    failure: FailureClass | None
    host: str
    reached: tuple[int, int] = (0, 0)
    """Its last step, and the batches of the next one that a checkpoint holds."""
    shortage: Shortage | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What an outcome is judged by besides itself."""

    num_losses: int = 0
    num_failures: int = 0
    retry_failed: int = 0
    """Failures after which the trial is tried again."""
    host: str = ""
    reached: tuple[int, int] = (0, 0)
    """How far the attempt got, as `Execution` has it."""
    earlier: Sequence[Execution] = ()
    """The trial's earlier attempts, the first one first."""
    largest_gib: float = 0.0
    """Memory of the largest GPU in the fleet."""
    is_everywhere: bool = False
    """No host does better where this one is at fault."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What an outcome makes of its attempt and its trial."""

    attempt: AttemptEvent
    trial: TrialEvent
    reason: str
    failure: FailureClass | None = None
    """The class that the attempt is filed under."""
    infeasible: bool = False
    is_loss: bool = False
    is_failure: bool = False


def resolve(outcome: Outcome, given: Circumstances) -> Resolution:
    """Say what an outcome means: what becomes of attempt and trial, and which budget pays."""
    message = outcome.message
    match outcome.result:
        case "succeeded":
            return Resolution(AttemptEvent.SUCCEEDED, TrialEvent.COMPLETED, message or "trained to the end")
        case "pruned":
            return Resolution(AttemptEvent.PRUNED, TrialEvent.PRUNED, message or "stopped by a verdict")
        case "paused":
            return Resolution(AttemptEvent.PAUSED, TrialEvent.PAUSED, message or "paused at its rung")
        case "released":
            reason = message or "given back by its worker"
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, outcome.failure)
        case "failed":
            return _failed(outcome.failure or FailureClass.USER_EXCEPTION, outcome, given)
        case _:
            assert_never(outcome.result)


def _failed(failure: FailureClass, outcome: Outcome, given: Circumstances) -> Resolution:
    """The budgets, class by class."""
    reason = outcome.message or failure.value
    match failure:
        case FailureClass.DIVERGED | FailureClass.INFEASIBLE | FailureClass.INVALID:
            # Not a fault of anything that ran: these parameters do not work, and samplers should know.
            return _infeasible(failure, reason)
        case FailureClass.PREEMPTED:
            return Resolution(AttemptEvent.RELEASED, TrialEvent.REQUEUED, reason, failure)
        case FailureClass.WORKER_LOST | FailureClass.PROCESS_KILLED | FailureClass.HUNG:
            return _lost(failure, reason, given)
        case FailureClass.OUT_OF_MEMORY:
            return _out_of_memory(reason, outcome.shortage, given)
        case FailureClass.HOST_FAULT:
            return _host_fault(reason, given)
        case FailureClass.USER_EXCEPTION | FailureClass.POISON:
            return _charged(failure, reason, given)
        case _:
            assert_never(failure)


def _infeasible(failure: FailureClass, reason: str) -> Resolution:
    return Resolution(AttemptEvent.FAILED, TrialEvent.PRUNED, reason, failure, infeasible=True)


def _uncharged(failure: FailureClass, reason: str) -> Resolution:
    return Resolution(AttemptEvent.FAILED, TrialEvent.REQUEUED, reason, failure)


def _charged(failure: FailureClass, reason: str, given: Circumstances) -> Resolution:
    """The trial's own failure."""
    final = Resolution(AttemptEvent.FAILED, TrialEvent.FAILED, reason, failure, is_failure=True)
    return _unless_retried(final, given)


def _unless_retried(final: Resolution, given: Circumstances) -> Resolution:
    """The end of a trial, or its next try where the study has one left for it, whatever the class."""
    if given.num_failures >= given.retry_failed:
        return final
    reason = f"{final.reason} (try {given.num_failures + 2} of {given.retry_failed + 1} follows)"
    return replace(final, trial=TrialEvent.REQUEUED, reason=reason, infeasible=False, is_failure=True)


def _host_fault(reason: str, given: Circumstances) -> Resolution:
    if given.is_everywhere:
        return _charged(FailureClass.USER_EXCEPTION, f"{reason} (no other host does better)", given)
    num_faults = sum(each.host == given.host and each.failure is FailureClass.HOST_FAULT for each in given.earlier)
    if num_faults >= MAX_HOST_FAULTS:
        reason = f"{reason} (given up after {num_faults + 1} faults of the host {given.host})"
        return _charged(FailureClass.USER_EXCEPTION, reason, given)
    return _uncharged(FailureClass.HOST_FAULT, reason)


def _lost(failure: FailureClass, reason: str, given: Circumstances) -> Resolution:
    poison = _poison(failure, reason, given)
    if poison is not None:
        # Failed, not lost: the charge is final, and an attempt that is lost may be attached again.
        return _charged(FailureClass.POISON, poison, given)
    event = AttemptEvent.LOST if failure is FailureClass.WORKER_LOST else AttemptEvent.FAILED
    if given.num_losses < MAX_LOSSES:
        return Resolution(event, TrialEvent.REQUEUED, reason, failure, is_loss=True)
    reason = f"given up after {given.num_losses + 1} losses; the last: {reason}"
    return _unless_retried(Resolution(event, TrialEvent.FAILED, reason, failure, is_loss=True), given)


def before_loss(num_losses: int, num_failures: int) -> tuple[int, int]:
    """The two counts as they were before the last loss, when its worker is heard of after all."""
    was_charged = num_losses > MAX_LOSSES
    return num_losses - 1, num_failures - was_charged


def _poison(failure: FailureClass, reason: str, given: Circumstances) -> str | None:
    """Why the trial counts as poison, if with this loss it does."""
    executions = [*given.earlier, Execution(failure, given.host, given.reached)]
    reached = list(accumulate((each.reached for each in executions), max, initial=(0, 0)))
    hosts: list[str] = []
    for execution, before in reversed(list(zip(executions, reached, strict=False))):
        if execution.failure not in LOSSES or execution.reached > before:
            break
        hosts.append(execution.host)
    if len(hosts) < POISON_LOSSES or len(set(hosts)) < POISON_HOSTS:
        return None
    where = ", ".join(dict.fromkeys(reversed(hosts)))
    return f"poison: lost {len(hosts)} times without progress, on {where}; the last: {reason}"


def _out_of_memory(reason: str, shortage: Shortage | None, given: Circumstances) -> Resolution:
    failure = FailureClass.OUT_OF_MEMORY
    if shortage is not None and _is_excused(shortage, [each.shortage for each in given.earlier]):
        return _uncharged(failure, f"{reason}; other processes may have held the memory: tried once more")
    if shortage is not None and shortage.place == "device" and shortage.total_gib is not None:
        if given.largest_gib > shortage.total_gib * LARGER:
            return _uncharged(failure, f"{reason}; waits for a GPU with more than {shortage.total_gib:g} GiB")
        return _infeasible(failure, f"{reason}; no GPU here has more than {shortage.total_gib:g} GiB")
    # The host's memory, or nobody knows whose: that is no word on the parameters yet.
    return _unless_retried(_infeasible(failure, reason), given)


def _is_excused(shortage: Shortage, earlier: Sequence[Shortage | None]) -> bool:
    """Whether this is the first time in this place that others may have held the memory: on a host, they always may."""
    return _is_crowded(shortage) and not any(
        each is not None and each.place == shortage.place and _is_crowded(each) for each in earlier
    )


def _is_crowded(shortage: Shortage) -> bool:
    return shortage.place == "host" or shortage.others_gib >= CROWDED_GIB


def memory_floor(executions: Sequence[Execution]) -> float:
    """GPU memory in GiB that did not suffice for a trial, by its attempts: it is for larger ones only; 0: for any."""
    shortages = [each.shortage for each in executions]
    return max(
        (
            shortage.total_gib
            for number, shortage in enumerate(shortages)
            if shortage is not None
            and shortage.place == "device"
            and shortage.total_gib is not None
            and not _is_excused(shortage, shortages[:number])
        ),
        default=0.0,
    )
