"""Function tasks in real training processes: their arguments and every way they end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from service.contract.attempt import FailureClass, Outcome
from service.contract.base import TaskKind
from service.contract.claim import Monitor
from service.contract.report import Action
from tests.support.forked_commands import forked_zygotes
from tests.worker.custom_code import trial_and_agent
from tests.worker.grants import grant, start_of
from worker.agent.devices import cpu
from worker.agent.slots.process import ChildMessage, Zygote
from worker.protocol import CheckpointSaved, Ended, Exited, Provenance, Report, Start
from worker.training.errors import ConfigError
from worker.trial.tasks.function import report_return_value

CODE = """
import os, pathlib, sys
from worker.trial import Stopped

def counts(trial):
    saved = trial.load_checkpoint()
    assert (saved is None) == (trial.step is None)
    total = float(saved.read_text()) if saved else 0.0
    for step in range((trial.step or 0) + 1, int(trial.parameters['steps']) + 1):
        total += trial.parameters['lr']
        trial.report(step, {'loss': total}, wait=trial.parameters.get('wait', False))
        trial.save_checkpoint(str(total).encode())
        if trial.should_stop:
            return

def ends(trial):
    trial.report(1, {'loss': 0.5})
    raise Stopped('no use')

def raises(trial):
    raise ValueError('my own mistake')

def raises_odd_text(trial):
    print("\\ud800".encode("utf-8", "surrogatepass"))
    raise ValueError("\\ud800\\x00 is odd")

def names_oddly(trial):
    trial.report(1, {'loss': 0.5, '\\ud800': 1.0})

def counts_oddly(trial):
    trial.report(2 ** 60, {'loss': 0.5})

def returns_oddly(trial):
    return {'loss': 0.5, 'a\\x00': 1.0}

def returns(trial):
    return {'loss': 0.5, 'seconds': 3}

def leaves(trial):
    trial.report(1, {'loss': 0.5})
    sys.exit(None if trial.parameters['status'] == 'none' else trial.parameters['status'])

def leaves_nested(trial):
    try:
        leaves(trial)
    finally:
        trial.report(2, {'loss': 0.25})

def loses_its_way(trial):
    for step, value in enumerate(trial.parameters['values'], 1):
        trial.report(step, {'loss': float(value)})
    returned = trial.parameters.get('returned')
    return float(returned) if returned else None

def sees(trial):
    pathlib.Path(trial.parameters['file']).write_text(repr(dict(os.environ)) + os.getcwd())
    return 0
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the user's modules."""
    folder = tmp_path_factory.mktemp("code")
    (folder / "mine.py").write_text(CODE)
    (folder / "broken.py").write_text("import nowhere\n")
    return folder


@pytest.fixture(scope="module")
def zygote(code: Path) -> Iterator[Zygote]:
    environment = {**os.environ, "ASSAYER_TOKEN": "a-secret", "PYTHONPATH": str(code)}
    with forked_zygotes(), Zygote([cpu()], 1, code / "zygote.log", environment) as process:
        process.wait_ready()
        yield process


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Start]:
    def of(name: str, parameters: Mapping[str, Any], *, resume: Path | None = None, **changes: Any) -> Start:
        granted = grant(
            nonce="",
            task_kind=TaskKind.FUNCTION,
            task={"name": name},
            parameters=dict(parameters),
            monitor=Monitor(metric="loss", direction="minimize", keep="last"),
            **changes,
        )
        return start_of(granted, tmp_path, resume)

    return of


def outcome_of(messages: list[ChildMessage | Exited]) -> Outcome:
    [ended] = [message for message in messages if isinstance(message, Ended)]
    return Outcome.model_validate(ended.outcome)


def test_a_function_reports_saves_and_returns(zygote: Zygote, start: Callable[..., Start]) -> None:
    messages = list(zygote.fork(start("mine:counts", {"lr": 0.5, "steps": 2})).messages())
    assert isinstance(messages[0], Provenance)
    assert [message for message in messages if isinstance(message, Report)] == [
        Report(1, {"loss": 0.5}),
        Report(2, {"loss": 1.0}),
    ]
    assert [message.step for message in messages if isinstance(message, CheckpointSaved)] == [1, 2]
    assert outcome_of(messages) == Outcome(result="succeeded")
    assert messages[-1] == Exited(0)


@pytest.mark.parametrize("status", [0, "none"])
def test_to_exit_with_status_0_is_an_end_like_any_other(
    zygote: Zygote, start: Callable[..., Start], status: object
) -> None:
    for name, steps in (("mine:leaves", [1]), ("mine:leaves_nested", [1, 2])):
        messages = list(zygote.fork(start(name, {"status": status})).messages())
        assert [message.step for message in messages if isinstance(message, Report)] == steps
        assert outcome_of(messages) == Outcome(result="succeeded")
        assert messages[-1] == Exited(0)


@pytest.mark.parametrize("status", [1, 3, "no such data"])
def test_a_nonzero_exit_is_a_failure_with_its_output(
    zygote: Zygote, start: Callable[..., Start], status: object
) -> None:
    outcome = outcome_of(list(zygote.fork(start("mine:leaves", {"status": status})).messages()))
    assert outcome.failure is FailureClass.USER_EXCEPTION
    assert outcome.message == f"SystemExit: {status}"


@pytest.mark.parametrize(
    ("values", "returned", "reported", "said"),
    [
        ([], "nan", 1, "loss ended as nan, which is not a finite number; it was never finite"),
        ([0.5], "nan", 2, "loss ended as nan, which is not a finite number; its last finite value was 0.5"),
        ([0.5, "nan"], "", 2, "its last finite value was 0.5"),
        ([0.5, "nan"], "nan", 2, "its last finite value was 0.5"),
        ([0.5, "-inf"], "", 2, "loss ended as -inf"),
        ([0.5, "inf"], "inf", 2, "loss ended as inf"),
    ],
)
def test_an_objective_that_ends_without_a_number_has_diverged(
    zygote: Zygote, start: Callable[..., Start], values: list[object], returned: str, reported: int, said: str
) -> None:
    begun = start("mine:loses_its_way", {"values": values, "returned": returned})
    messages = list(zygote.fork(begun).messages())
    assert sum(isinstance(message, Report) for message in messages) == reported
    outcome = outcome_of(messages)
    assert (outcome.result, outcome.failure) == ("failed", FailureClass.DIVERGED)
    assert said in outcome.message


def test_an_objective_that_came_back_has_not_diverged(zygote: Zygote, start: Callable[..., Start]) -> None:
    begun = start("mine:loses_its_way", {"values": ["nan", 0.5]})
    assert outcome_of(list(zygote.fork(begun).messages())) == Outcome(result="succeeded")


def test_text_that_no_database_stores_is_replaced_in_what_it_raised(
    zygote: Zygote, start: Callable[..., Start]
) -> None:
    outcome = outcome_of(list(zygote.fork(start("mine:raises_odd_text", {})).messages()))
    assert (outcome.failure, outcome.message) == (FailureClass.USER_EXCEPTION, "ValueError: \ufffd\ufffd is odd")
    assert outcome.traceback is not None
    assert "ValueError: \ufffd\ufffd is odd" in outcome.traceback


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("names_oddly", "ValueError: this report cannot be sent: the metric name '\\ud800' contains a lone surrogate"),
        ("counts_oddly", "ValueError: this report cannot be sent: step "),
    ],
)
def test_a_report_that_the_service_would_refuse_is_the_functions_own_mistake(
    zygote: Zygote, start: Callable[..., Start], name: str, sentence: str
) -> None:
    messages = list(zygote.fork(start(f"mine:{name}", {})).messages())
    assert not [message for message in messages if isinstance(message, Report)]
    outcome = outcome_of(messages)
    assert outcome.failure is FailureClass.USER_EXCEPTION
    assert sentence in outcome.message


def test_final_metrics_that_the_service_would_refuse_fail_the_trial(
    zygote: Zygote, start: Callable[..., Start]
) -> None:
    messages = list(zygote.fork(start("mine:returns_oddly", {})).messages())
    outcome = outcome_of(messages)
    assert outcome.result == "failed"
    assert messages[-1] == Exited(0)


def test_it_resumes_from_its_checkpoint(zygote: Zygote, start: Callable[..., Start], tmp_path: Path) -> None:
    (tmp_path / "resume.pt").write_text("1.5")
    resume = {"step": 3, "sha256": "0" * 64, "size": 3, "uri": f"blob:{'0' * 64}"}
    begun = start("mine:counts", {"lr": 0.5, "steps": 4}, resume=tmp_path / "resume.pt")
    begun.grant["resume"] = resume  # type: ignore[index]
    messages = list(zygote.fork(begun).messages())
    assert [message for message in messages if isinstance(message, Report)] == [Report(4, {"loss": 2.0})]


@pytest.mark.parametrize(("action", "result"), [(Action.STOP, "pruned"), (Action.PAUSE, "paused")])
def test_a_stopped_trial_ends_at_its_next_report(
    zygote: Zygote, start: Callable[..., Start], action: Action, result: str
) -> None:
    child = zygote.fork(start("mine:counts", {"lr": 0.5, "steps": 10, "wait": True}))
    messages = []
    for message in child.messages():
        if isinstance(message, Report):
            child.order(action, "because")
            child.send_verdict_ready(message.step)
        messages.append(message)
    assert sum(isinstance(message, Report) for message in messages) == 1
    assert outcome_of(messages) == Outcome(result=result, message="because")  # type: ignore[arg-type]


def test_at_its_rung_it_pauses(zygote: Zygote, start: Callable[..., Start]) -> None:
    begun = start("mine:counts", {"lr": 0.5, "steps": 9}, run_until=3, pauses=True)
    messages = list(zygote.fork(begun).messages())
    assert [message.step for message in messages if isinstance(message, CheckpointSaved)] == [1, 2, 3]
    assert outcome_of(messages) == Outcome(result="paused", message="trained to step 3, its rung")


def test_it_may_give_up_by_itself(zygote: Zygote, start: Callable[..., Start]) -> None:
    assert outcome_of(list(zygote.fork(start("mine:ends", {})).messages())) == Outcome(
        result="pruned", message="no use"
    )


def test_return_values_are_reported(zygote: Zygote, start: Callable[..., Start]) -> None:
    messages = list(zygote.fork(start("mine:returns", {})).messages())
    assert [message for message in messages if isinstance(message, Report)] == [Report(1, {"loss": 0.5, "seconds": 3})]


@pytest.mark.parametrize(
    ("name", "failure", "said"),
    [
        ("mine:raises", FailureClass.USER_EXCEPTION, "ValueError: my own mistake"),
        ("mine:retruns", FailureClass.INVALID, "task.function: mine has no 'retruns'; did you mean 'returns'?"),
        ("nowhere:train", FailureClass.HOST_FAULT, "No module named 'nowhere'"),
        ("broken:train", FailureClass.HOST_FAULT, "No module named 'nowhere'"),
        ("mine:__name__", FailureClass.INVALID, "task.function: mine:__name__ is not a function: 'mine'"),
    ],
)
def test_an_uncallable_function_is_refused_with_the_reason(
    zygote: Zygote, start: Callable[..., Start], name: str, failure: FailureClass, said: str
) -> None:
    outcome = outcome_of(list(zygote.fork(start(name, {})).messages()))
    assert outcome.failure is failure
    assert said in outcome.message


def test_each_attempt_imports_the_code_as_it_is_now(zygote: Zygote, start: Callable[..., Start], code: Path) -> None:
    for value in (1.0, 22.0):
        (code / "edited.py").write_text(f"def train(trial):\n    return {value}\n")
        messages = list(zygote.fork(start("edited:train", {})).messages())
        assert [message.metrics for message in messages if isinstance(message, Report)] == [{"loss": value}]


def test_a_functions_code_is_fingerprinted_by_the_modules_that_it_loads(
    zygote: Zygote, start: Callable[..., Start], code: Path
) -> None:
    (code / "imported.py").write_text("value = 1.0\n")
    (code / "importing.py").write_text("import json, imported\ndef train(trial):\n    return imported.value\n")

    def fingerprint() -> str | None:
        told = next(iter(list(zygote.fork(start("importing:train", {})).messages())))
        assert isinstance(told, Provenance)
        return told.code

    before = fingerprint()
    assert before is not None
    assert fingerprint() == before
    (code / "imported.py").write_text("value = 22.0\n")
    assert fingerprint() != before


def test_it_sees_no_token(zygote: Zygote, start: Callable[..., Start], tmp_path: Path) -> None:
    list(zygote.fork(start("mine:sees", {"file": str(tmp_path / "seen")})).messages())
    seen = (tmp_path / "seen").read_text()
    assert "PATH" in seen
    assert "a-secret" not in seen


@pytest.mark.parametrize(
    ("reported", "returned", "told", "final"),
    [
        ([], None, [], {}),
        ([], 0.5, [Report(1, {"loss": 0.5})], {}),
        ([], torch.tensor(0.5), [Report(1, {"loss": 0.5})], {}),
        ([], {"loss": 1, "acc": 2}, [Report(1, {"loss": 1.0, "acc": 2.0})], {}),
        ([], {"acc": 2}, [], {"acc": 2.0}),
        ([(4, 0.7)], 0.5, [Report(5, {"loss": 0.5})], {}),
        ([(4, 0.5)], 0.5, [], {}),
        ([(4, 0.5)], {"loss": 0.5, "test/acc": 2}, [], {"test/acc": 2.0}),
    ],
)
def test_a_new_value_of_the_objective_is_one_step_more_and_the_rest_are_final_metrics(
    tmp_path: Path, reported: list[tuple[int, float]], returned: Any, told: list[Report], final: dict[str, float]
) -> None:
    with trial_and_agent(tmp_path) as (trial, agent):
        for step, value in reported:
            trial.report(step, {"loss": value})
        agent.heard()
        assert report_return_value(trial, returned) == final
        assert agent.heard() == told


@pytest.mark.parametrize("returned", ["good", (0.1, 0.2), {"loss": "small"}, torch.zeros(2), {"loss": None}])
def test_a_return_value_that_is_no_metric_is_refused(tmp_path: Path, returned: Any) -> None:
    with trial_and_agent(tmp_path) as (trial, _), pytest.raises(ConfigError, match="must return a number, a mapping"):
        report_return_value(trial, returned)
