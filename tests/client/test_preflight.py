"""`study preflight` says what it waits for and stops waiting for a paused study; the other pages name a preflight."""

from __future__ import annotations

import io
import threading
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from service.cli import watch
from service.cli.commands import preflight as command
from service.cli.render import study_pages
from service.cli.render.plan_pages import plan_page
from service.cli.render.preflight_pages import preflight_page
from service.client import Client
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest
from service.contract.plan import Plan
from service.contract.preflight import Check, CheckStatus, PreflightResult
from service.contract.preflight_view import PreflightProposal, PreflightSummary, PreflightView
from service.contract.study import StudyState
from service.contract.trial import TrialState
from tests.client.conftest import Study
from tests.client.studies import hand_driven
from tests.support.service import Service

TRAIN: dict[str, Any] = {
    "objective": {"metric": "val/accuracy", "direction": "maximize"},
    "task": {
        "train": {
            "data": {"name": "wine"}, "model": {"name": "linear"}, "loss": {"name": "cross_entropy"},
            "optimizer": {"name": "sgd"},
        }
    },
    "space": {"optimizer.lr": {"type": "float", "low": 1e-3, "high": 0.1, "log": True}},
    "requires": {"labels": {"room": "none"}},
}  # fmt: skip


def pause_at_the_first_wait(monkeypatch: pytest.MonkeyPatch, client: Client, name: str, reason: str) -> None:
    """Pause the study as soon as the command waits for its preflight."""
    monkeypatch.setattr(command, "time", SimpleNamespace(sleep=lambda _seconds: client.pause(name, reason)))


def test_waiting_for_a_preflight_ends_when_its_study_is_paused(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    name = study.create(**TRAIN)
    pause_at_the_first_wait(monkeypatch, study.client, name, "lunch")
    told = study("preflight", name, status=1)
    last = told.splitlines()[-1]
    assert last == (
        f"{name} is paused: lunch; its preflight waits until it is resumed: study resume {name}, "
        f"then: study preflight {name}"
    )
    assert "waiting" in study("preflight", name, "--no-wait"), "a paused study can still be looked at"


def test_without_a_worker_it_says_at_once_how_to_start_one(
    service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client(service.url) as client:
        study = client.create_study(hand_driven(**TRAIN))
        missing = command._why_no_worker(client, study)
        assert missing == (
            f"no worker is connected; start one: worker --gpu 0 --server {service.url} (or --cpu in place of --gpu 0)"
        )
        own = client.create_study(hand_driven(task={"function": "mine:train"}))
        assert f"--server {service.url} --allow-functions (or" in (command._why_no_worker(client, own) or "")
        labelled = ClaimRequest(
            request_id="anonymous", worker="w", studies=[study.name], capabilities=Capabilities(tasks=[TaskKind.TRAIN])
        )
        pause_at_the_first_wait(monkeypatch, client, study.name, "lunch")
        assert Study(client, capsys)("preflight", study.name, status=1).startswith(
            f"{study.name} waits for a worker: {missing}\n"
        )
        client.resume(study.name)
        client.claim(labelled)  # a worker that is alive, and lacks the label
        assert "--label room=none" in (command._why_no_worker(client, client.study(study.name)) or "")
        anywhere = client.create_study(hand_driven(**TRAIN) | {"requires": None})
        assert command._why_no_worker(client, client.study(anywhere.name)) is None


def test_the_study_and_the_list_say_that_the_first_trial_waits_for_the_preflight(study: Study) -> None:
    name = study.create(**TRAIN)
    assert "preflight  waits for a worker; the first trial begins after it" in study("show", name)
    row = next(line for line in study("list").splitlines() if line.startswith(name))
    assert "active, waits for its preflight" in row
    assert study.json("show", name)["preflight"] == {"state": "waiting", "state_reason": None, "holds_back": True}
    study.client.pause(name)
    row = next(line for line in study("list").splitlines() if line.startswith(name))
    assert "waits for its preflight" not in row, "it waits for its user"
    other = study.create()
    assert study.json("show", other)["preflight"] is None
    assert "preflight" not in study("show", other)


@pytest.mark.parametrize(
    ("state", "reason", "holds_back", "words"),
    [
        (TrialState.RUNNING, None, True, "a worker makes the checks; the first trial begins after it"),
        (TrialState.RUNNING, None, False, "a worker makes the checks"),
        (TrialState.COMPLETED, "preflight: 9 passed", False, "9 passed; see: study preflight digits"),
        (TrialState.FAILED, "KeyError: 1", False, "failed: KeyError: 1; check again: study preflight digits --again"),
    ],
)
def test_a_preflight_is_one_line_of_its_study(
    state: TrialState, reason: str | None, *, holds_back: bool, words: str
) -> None:
    summary = PreflightSummary(state=state, state_reason=reason, holds_back=holds_back)
    assert study_pages.preflight(summary, "digits") == words


def test_watch_says_once_that_the_study_waits_for_its_preflight(study: Study) -> None:
    name = study.create(**TRAIN)
    out = io.StringIO()

    def drive() -> None:
        while "waits for its preflight" not in out.getvalue():
            time.sleep(0.02)
        study.client.extend(name, trials=9)
        time.sleep(0.5)  # watch may see this change before the last one
        study.client.stop(name)

    driver = threading.Thread(target=drive)
    driver.start()
    watch.watch(study.client, name, Console(file=out))
    driver.join()
    assert out.getvalue().count(f"{name} waits for its preflight\n") == 1
    summary = PreflightSummary(state=TrialState.RUNNING, state_reason=None, holds_back=True)
    view = study.client.study(name).model_copy(update={"preflight": summary, "state": StudyState.ACTIVE})
    console = Console(width=120)
    with console.capture() as capture:
        console.print(study_pages.live_page(view, []))
    assert "preflight: a worker makes the checks; the first trial begins after it" in capture.get()


def test_a_proposal_is_shown_with_the_command_that_accepts_it() -> None:
    check = Check(number=4, name="learning_rate", status=CheckStatus.PASSED, sentence="It falls.")
    proposals = [
        PreflightProposal(settings={"space.optimizer.lr.low": 1e-4, "space.optimizer.lr.high": 0.01}, reason="because"),
        PreflightProposal(settings={"sampler.first_box": {"optimizer.lr": [1e-4, 0.01]}}, reason="so"),
    ]
    now = datetime.now(tz=UTC)
    view = PreflightView(
        trial="t", state=TrialState.COMPLETED, state_reason=None, mode="review", spec_version=1, created_at=now,
        finished_at=now, worker="w", result=PreflightResult(checks=[check], seconds=1), proposals=proposals,
    )  # fmt: skip
    console = Console(width=200)
    with console.capture() as capture:
        console.print(preflight_page(view, "digits"))
    lines = capture.get().splitlines()
    assert "proposal: because" in lines
    assert (
        "→ accept it: study edit digits --set space.optimizer.lr.low=0.0001 --set space.optimizer.lr.high=0.01" in lines
    )
    assert """→ accept it: study edit digits --set 'sampler.first_box={"optimizer.lr": [0.0001, 0.01]}'""" in lines


def test_the_shown_command_edits_the_study(study: Study) -> None:
    name = study.create(sampler={"name": "coarse_to_fine"}, budget={"trials": 6})
    study("edit", name, "--set", 'sampler.first_box={"lr": [0.001, 0.01]}')
    assert study.json("show", name)["spec"]["sampler"]["first_box"] == {"lr": [0.001, 0.01]}
    study("edit", name, "--set", "space.lr.low=0.0005")
    assert study.json("show", name)["spec"]["space"]["lr"]["low"] == 0.0005


def test_a_plan_shows_the_hours_at_the_centre_and_at_the_corners() -> None:
    plan = Plan(
        trials=9, resource="epoch", parts=[], num_steps=900, full_trial_equivalents=9, trainings_per_trial=2,
        is_upper_bound=False, step_seconds=2.0, step_seconds_range=(1.0, 8.0), notes=[],
    )  # fmt: skip
    console = Console(width=100)
    for given, words in ((None, "1 device-hours (0.5 to 4 at the corners of the space)"), (4.0, "2 device-hours")):
        with console.capture() as capture:
            console.print(plan_page(plan, given))
        assert capture.get().splitlines()[-1] == words
