"""Classification of exceptions and exit statuses into failure classes."""

from __future__ import annotations

import errno
import signal

import pytest
import torch

from service.contract.attempt import FailureClass
from service.contract.base import TaskKind
from worker.agent.slots.exit_outcomes import exit_outcome, not_allowed_outcome
from worker.training import (
    ConfigError,
    Diverged,
    Infeasible,
    MissingFile,
    MissingLibrary,
    OutOfMemory,
    OutsideFolders,
    ProcessGroupError,
)
from worker.trial.classify import UnknownTask, command_exit_outcome, failure_class, failure_outcome


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConfigError("optimizer.lr", "must be > 0, got -1"), FailureClass.INVALID),
        (MissingLibrary("model.name", "needs timm"), FailureClass.HOST_FAULT),
        (MissingFile("data.path", "there is no file 'houses.csv'"), FailureClass.HOST_FAULT),
        (OutsideFolders("data.path", "/etc/shadow is outside"), FailureClass.HOST_FAULT),
        (UnknownTask("not this kind"), FailureClass.INVALID),
        (Infeasible("too many parameters"), FailureClass.INFEASIBLE),
        (Diverged(3, "train/loss", 1.5), FailureClass.DIVERGED),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureClass.OUT_OF_MEMORY),
        (MemoryError(), FailureClass.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), FailureClass.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), FailureClass.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), FailureClass.OUT_OF_MEMORY),
        (OSError(12, "Cannot allocate memory"), FailureClass.OUT_OF_MEMORY),
        (OutOfMemory("batch_size", "too large", is_of_device=True), FailureClass.OUT_OF_MEMORY),
        (ModuleNotFoundError("No module named 'timm'"), FailureClass.HOST_FAULT),
        (FileNotFoundError(2, "No such file", "houses.csv"), FailureClass.HOST_FAULT),
        (OSError(28, "No space left on device"), FailureClass.HOST_FAULT),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), FailureClass.HOST_FAULT),
        (RuntimeError("Found no NVIDIA driver on your system"), FailureClass.HOST_FAULT),
        (RuntimeError("CUDA error: device-side assert triggered"), FailureClass.USER_EXCEPTION),
        (PermissionError(13, "Permission denied"), FailureClass.USER_EXCEPTION),
        (RuntimeError("shapes differ"), FailureClass.USER_EXCEPTION),
        (SystemExit(3), FailureClass.USER_EXCEPTION),
        (KeyError("x"), FailureClass.USER_EXCEPTION),
    ],
)
def test_an_exception_has_its_class(error: BaseException, failure: FailureClass) -> None:
    assert failure_class(error) is failure
    assert failure_outcome(error).failure is failure


@pytest.mark.parametrize(
    ("error", "scope"),
    [
        (FileNotFoundError(2, "No such file", "houses.csv"), "study"),
        (ModuleNotFoundError("No module named 'timm'"), "study"),
        (MissingLibrary("model.name", "needs timm"), "study"),
        (MissingFile("data.path", "there is no file 'houses.csv'"), "study"),
        (OutsideFolders("data.path", "/etc/shadow is outside"), "study"),
        (OSError(errno.ENOSPC, "No space left on device"), "host"),
        (OSError(errno.EIO, "Input/output error"), "host"),
        (OSError(errno.EROFS, "Read-only file system"), "host"),
        (OSError(errno.ESTALE, "Stale file handle"), "host"),
        (RuntimeError("Found no NVIDIA driver on your system"), "host"),
        (ProcessGroupError("the process of rank 1 is gone"), "host"),
    ],
)
def test_a_host_fault_concerns_all_trials_on_the_host_or_those_of_its_study(error: BaseException, scope: str) -> None:
    outcome = failure_outcome(error)
    assert (outcome.failure, outcome.scope) == (FailureClass.HOST_FAULT, scope)


@pytest.mark.parametrize("error", [ConfigError("optimizer.lr", "must be > 0"), KeyError("x"), MemoryError()])
def test_other_failures_have_the_default_scope(error: BaseException) -> None:
    assert failure_outcome(error).scope == "host"


@pytest.mark.parametrize(
    ("last_line", "scope"),
    [
        ("ModuleNotFoundError: No module named 'nowhere'", "study"),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'houses.csv'", "study"),
        ("OSError: [Errno 28] No space left on device", "host"),
        ("RuntimeError: Found no NVIDIA driver on your system", "host"),
    ],
)
def test_the_last_line_of_a_program_tells_whom_its_host_fault_concerns(last_line: str, scope: str) -> None:
    outcome = command_exit_outcome(1, f"Traceback (most recent call last):\n{last_line}\n")
    assert (outcome.failure, outcome.scope) == (FailureClass.HOST_FAULT, scope)


def test_a_task_that_the_worker_is_not_allowed_concerns_its_study_alone() -> None:
    outcome = not_allowed_outcome(TaskKind.COMMAND)
    assert (outcome.failure, outcome.scope) == (FailureClass.HOST_FAULT, "study")


def test_a_setting_at_fault_is_said_without_a_traceback() -> None:
    outcome = failure_outcome(ConfigError("optimizer.lr", "must be > 0, got -1"))
    assert outcome.message == "optimizer.lr: must be > 0, got -1"
    assert outcome.traceback is None


def test_a_note_of_whose_code_it_was_stands_in_the_message() -> None:
    error = KeyError("x")
    error.add_note("raised by callback 'mine', after epoch 3")
    assert failure_outcome(error).message == "KeyError: 'x'; raised by callback 'mine', after epoch 3"


def test_code_at_fault_is_said_with_its_traceback_and_both_stay_short() -> None:
    try:
        raise ValueError("long " * 10_000 + "\nsecond line")
    except ValueError as error:
        outcome = failure_outcome(error)
    assert outcome.message.startswith("ValueError: long")
    assert len(outcome.message) <= 500
    assert outcome.traceback is not None
    assert outcome.traceback.endswith("second line\n")
    assert len(outcome.traceback) <= 20_000


@pytest.mark.parametrize(
    ("status", "result", "failure", "said"),
    [
        (-signal.SIGKILL, "failed", FailureClass.PROCESS_KILLED, "SIGKILL"),
        (-signal.SIGSEGV, "failed", FailureClass.PROCESS_KILLED, "SIGSEGV"),
        (-signal.SIGTERM, "released", FailureClass.PREEMPTED, "SIGTERM"),
        (3, "failed", FailureClass.USER_EXCEPTION, "status 3"),
        (0, "failed", FailureClass.USER_EXCEPTION, "status 0"),
    ],
)
def test_a_process_that_dies_without_a_word_has_its_class(
    status: int, result: str, failure: FailureClass, said: str
) -> None:
    outcome = exit_outcome(status)
    assert (outcome.result, outcome.failure) == (result, failure)
    assert said in outcome.message


def test_a_process_killed_while_the_host_was_out_of_memory_is_known_as_such() -> None:
    outcome = exit_outcome(-signal.SIGKILL, is_short_of_memory=True)
    assert outcome.failure is FailureClass.OUT_OF_MEMORY
    assert outcome.shortage is not None
    assert outcome.shortage.place == "host"
    assert exit_outcome(-signal.SIGSEGV, is_short_of_memory=True).failure is FailureClass.PROCESS_KILLED


def test_out_of_memory_says_what_was_short_and_nothing_else_does() -> None:
    outcome = failure_outcome(MemoryError())
    assert outcome.shortage is not None
    assert outcome.shortage.place == "host"
    assert failure_outcome(KeyError("x")).shortage is None
