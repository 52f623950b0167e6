"""From exceptions and exit statuses to failure classes: the table that decides what a failure costs."""

from __future__ import annotations

import signal

import pytest
import torch

from service.contract.lease import FailureClass
from worker.agent.endings import exit_outcome
from worker.training import ConfigError, Diverged, Infeasible, MissingLibrary, OutsideFolders
from worker.trial.classify import UnknownTask, failed, failure_class


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ConfigError("optimizer.lr", "must be > 0, got -1"), FailureClass.INVALID),
        (MissingLibrary("model.name", "needs timm"), FailureClass.HOST_FAULT),
        (OutsideFolders("data.path", "/etc/shadow is outside"), FailureClass.HOST_FAULT),
        (UnknownTask("not this kind"), FailureClass.INVALID),
        (Infeasible("too many parameters"), FailureClass.INFEASIBLE),
        (Diverged(3, "train/loss", 1.5), FailureClass.DIVERGED),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureClass.OUT_OF_MEMORY),
        (MemoryError(), FailureClass.OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), FailureClass.OUT_OF_MEMORY),
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
    assert failed(error).failure is failure


def test_a_setting_at_fault_is_said_without_a_traceback() -> None:
    outcome = failed(ConfigError("optimizer.lr", "must be > 0, got -1"))
    assert outcome.message == "optimizer.lr: must be > 0, got -1"
    assert outcome.traceback is None


def test_a_note_of_whose_code_it_was_stands_in_the_message() -> None:
    error = KeyError("x")
    error.add_note("raised by callback 'mine', after epoch 3")
    assert failed(error).message == "KeyError: 'x'; raised by callback 'mine', after epoch 3"


def test_code_at_fault_is_said_with_its_traceback_and_both_stay_short() -> None:
    try:
        raise ValueError("long " * 10_000 + "\nsecond line")
    except ValueError as error:
        outcome = failed(error)
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
    outcome = failed(MemoryError())
    assert outcome.shortage is not None
    assert outcome.shortage.place == "host"
    assert failed(KeyError("x")).shortage is None
