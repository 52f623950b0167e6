"""The trial object of user code: reports, verdicts, rungs, checkpoints, and refusals."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from service.contract.report import Point
from tests.worker.custom_code import Agent, trial_and_agent
from worker.protocol import CheckpointSaved, Order, Report
from worker.trial.channel import CONTINUE
from worker.trial.trial import Trial, _check_point


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Trial, Agent]]:
    with trial_and_agent(tmp_path) as pair:
        yield pair


def test_a_trial_knows_its_grant(pair: tuple[Trial, Agent]) -> None:
    trial, _ = pair
    assert (trial.study, trial.number, trial.parameters, trial.seed) == ("s", 3, {"lr": 0.1}, 7)
    assert (trial.device, trial.metric, trial.run_until, trial.step) == ("cpu", "loss", None, None)
    assert trial.load_checkpoint() is None


def test_a_report_is_answered_by_the_newest_order_known(pair: tuple[Trial, Agent]) -> None:
    trial, agent = pair
    assert trial.report(1, {"loss": 0.5}) == CONTINUE
    assert not trial.should_stop
    agent.order("stop", "hopeless")
    assert trial.report(2, {"loss": torch.tensor(0.25)}) == Order("stop", "hopeless")
    assert trial.should_stop
    assert agent.heard() == [Report(1, {"loss": 0.5}), Report(2, {"loss": 0.25})]
    assert (trial.step, trial.value) == (2, 0.25)


def test_a_waiting_trial_receives_the_verdict_on_its_step(pair: tuple[Trial, Agent]) -> None:
    trial, agent = pair
    agent.answer(0)
    timer = threading.Timer(0.1, lambda: (agent.order("stop", "hopeless"), agent.answer(1)))
    timer.start()
    assert trial.report(1, {"loss": 0.5}, wait=True) == Order("stop", "hopeless")
    timer.join()  # the trial may see the order before the agent has sent its answer
    assert agent.heard() == [Report(1, {"loss": 0.5}, is_awaited=True)]


def test_a_waiting_trial_continues_once_the_step_is_judged(pair: tuple[Trial, Agent]) -> None:
    trial, agent = pair
    agent.answer(1)
    assert trial.report(1, {"loss": 0.5}, wait=True) == CONTINUE


def test_no_claim_waits_longer_than_the_limit(pair: tuple[Trial, Agent], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.trial.trial.WAIT_SECONDS", 0.05)
    assert pair[0].report(1, {"loss": 0.5}, wait=True) == CONTINUE


@pytest.mark.parametrize(("pauses", "action"), [(True, "pause"), (False, "continue")])
def test_at_its_rung_a_trial_is_to_pause_and_at_its_last_step_to_go_on(
    tmp_path: Path, pauses: bool, action: str
) -> None:
    with trial_and_agent(tmp_path, run_until=2, pauses=pauses) as (trial, _):
        assert trial.report(1, {"loss": 0.5}).action == "continue"
        assert trial.report(2, {"loss": 0.4}).action == action


def test_a_checkpoint_is_of_the_last_step_and_outlives_the_file_that_it_came_from(
    pair: tuple[Trial, Agent], tmp_path: Path
) -> None:
    trial, agent = pair
    mine = tmp_path / "mine.pt"
    mine.write_bytes(b"first")
    trial.report(1, {"loss": 0.5})
    trial.save_checkpoint(mine)
    mine.write_bytes(b"later")
    trial.report(2, {"loss": 0.4})
    trial.save_checkpoint(b"second")
    reported, first, _, second = agent.heard()
    assert isinstance(reported, Report)
    assert isinstance(first, CheckpointSaved)
    assert isinstance(second, CheckpointSaved)
    assert [(each.step, Path(each.path).read_bytes()) for each in (first, second)] == [(1, b"first"), (2, b"second")]
    trial.report(3, {"loss": 0.4})
    trial.save_checkpoint(str(mine))
    assert not Path(first.path).exists()
    assert sorted(path.name for path in Path(second.path).parent.iterdir()) == ["step-00000002.pt", "step-00000003.pt"]


def test_it_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path, resume_step=4, resume=str(tmp_path / "resume.pt")) as (trial, _):
        assert trial.step == 4
        assert trial.load_checkpoint() == tmp_path / "resume.pt"
        with pytest.raises(ValueError, match="step 4 is the step of the checkpoint; continue with step 5"):
            trial.report(4, {"loss": 0.5})
        with pytest.raises(ValueError, match="report a step before you save"):
            trial.save_checkpoint(b"")


def test_entries_that_the_service_would_refuse_are_refused_locally(pair: tuple[Trial, Agent]) -> None:
    trial, agent = pair
    trial.report(2, {"loss": 0.5})
    agent.heard()
    with pytest.raises(ValueError, match="step 1 was reported after step 2; a step must not be below the last one"):
        trial.report(1, {"loss": 0.5})
    with pytest.raises(ValueError, match="without metrics; pass at least one"):
        trial.report(3, {})
    with pytest.raises(TypeError):
        trial.report(2.5, {"loss": 0.5})  # type: ignore[arg-type]
    trial.save_checkpoint(b"one")
    with pytest.raises(ValueError, match="report a step before you save one"):
        trial.save_checkpoint(b"two")
    assert [type(message) for message in agent.heard()] == [CheckpointSaved]


def test_a_script_needs_nothing_but_the_standard_library() -> None:
    probe = (
        "import sys, worker.trial; sys.exit(','.join({'torch', 'numpy', 'pydantic', 'httpx'} & set(sys.modules)) or 0)"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (0, "loss"),
        (2**53, "loss"),
        (2**53 + 1, "loss"),
        (-1, "loss"),
        (1, ""),
        (1, "x" * 128),
        (1, "x" * 129),
        (1, "a\0"),
        (1, "\ud800"),
        (1, "음"),
    ],
)
def test_a_report_is_refused_exactly_where_the_service_would(step: int, name: str) -> None:
    """The SDK repeats the contract's rules, as a script has the standard library alone."""
    try:
        Point.model_validate({"step": step, "metrics": {name: 0.5}})
        is_accepted = True
    except ValidationError:
        is_accepted = False
    with contextlib.nullcontext() if is_accepted else pytest.raises(ValueError, match="cannot be sent"):
        _check_point(step, {name: 0.5})
