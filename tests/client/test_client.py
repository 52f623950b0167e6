"""The typed client against a real service; refusals become exceptions."""

from __future__ import annotations

import math
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import (
    Client,
    Conflict,
    Invalid,
    InvalidStudy,
    LeaseLost,
    NotFound,
    SearchFailed,
    ServiceUnreachable,
    Unauthorized,
)
from service.contract.attempt import FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Action
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState
from tests.client.studies import hand_driven
from tests.support.service import Service, free_port, running_service


@pytest.fixture
def client(shared_service: Service) -> Iterator[Client]:
    with Client(shared_service.url) as client:
        yield client


def test_the_service_identifies_itself(client: Client) -> None:
    health = client.health()
    assert (health.status, health.protocol, health.database) == ("ok", 1, "sqlite")


def test_a_notebook_drives_a_study_to_its_end(client: Client) -> None:
    study = client.create_study(hand_driven(trials=3))
    for trial in client.open_trials(study.name):
        with trial:
            for step in range(1, 4):
                trial.report(step, {"val/accuracy": 0.6 + 0.1 * step + (trial.number or 0) / 100})
            trial.finish({"test/accuracy": 0.8})
    done = client.study(study.name)
    assert done.state is StudyState.COMPLETED
    assert done.num_trials[TrialState.COMPLETED] == 3
    best = client.best(study.name)
    assert best.number == 2
    assert best.values is not None
    assert best.values[0] == pytest.approx(0.92)
    assert best.metrics == {"test/accuracy": 0.8}
    assert [(series.metric, series.steps) for series in best.series] == [("val/accuracy", [1, 2, 3])]
    assert done.reference_summary is not None
    assert "baseline" in done.reference_summary


def test_a_plain_loop_finishes_its_trials_and_gives_the_last_one_back(client: Client) -> None:
    study = client.create_study(hand_driven(trials=3))
    for trial in client.open_trials(study.name):
        trial.report(1, {"val/accuracy": 0.7})
        if trial.number == 1:
            break
    states = {view.number: view.state for view in client.trials(study.name).trials}
    assert states == {0: TrialState.COMPLETED, 1: TrialState.WAITING}


def test_an_exception_is_sent_to_the_service_with_its_traceback(client: Client) -> None:
    study = client.create_study(hand_driven(trials=2))
    for trial in client.open_trials(study.name):
        with pytest.raises(KeyError), trial:
            raise KeyError("no such column")
        break
    detail = client.trial(study.name, 0)
    (attempt,) = detail.attempts
    assert attempt.state is AttemptState.FAILED
    assert attempt.message == "KeyError: 'no such column'"
    assert attempt.traceback is not None
    assert 'raise KeyError("no such column")' in attempt.traceback


def fail_all(client: Client, name: str) -> None:
    for trial in client.open_trials(name):
        trial.fail("no data")


def test_a_study_that_pauses_for_its_failures_ends_the_loop_with_the_reason(client: Client) -> None:
    name = client.create_study(hand_driven(trials=40)).name
    for num_failed in (3, 6):  # resumed, it is judged afresh
        with pytest.raises(SearchFailed) as caught:
            fail_all(client, name)
        reason = "the first 3 trials all failed with the same error: no data"
        assert str(caught.value) == f"{name} is paused: {reason}; correct it, then: study resume {name}"
        assert client.study(name).num_trials == {TrialState.FAILED: num_failed}
        client.resume(name)


def test_a_study_that_a_person_pauses_keeps_the_loop_waiting(client: Client) -> None:
    study = client.create_study(hand_driven(trials=1))
    client.pause(study.name, "need the GPU")
    waited = threading.Event()

    def drive() -> None:
        for trial in client.open_trials(study.name):
            trial.report(1, {"val/accuracy": 0.5})
        waited.set()

    driver = threading.Thread(target=drive, daemon=True)
    driver.start()
    assert not waited.wait(1.0)
    client.resume(study.name)
    assert waited.wait(30)
    assert client.study(study.name).state is StudyState.COMPLETED


def test_an_interrupted_trial_is_given_back(client: Client) -> None:
    study = client.create_study(hand_driven(trials=1))
    for trial in client.open_trials(study.name):
        with pytest.raises(KeyboardInterrupt), trial:
            raise KeyboardInterrupt
        break
    assert client.trial(study.name, 0).state is TrialState.WAITING
    (again,) = client.open_trials(study.name)
    assert again.number == 0
    assert again.grant.attempt == 2


def test_numbers_that_are_not_finite_travel(client: Client) -> None:
    study = client.create_study(hand_driven(trials=1))
    for trial in client.open_trials(study.name):
        trial.report(1, {"val/accuracy": 0.5, "grad/norm": math.inf, "val/loss": math.nan})
    told = {series.metric: series.values for series in client.trial(study.name, 0).series}
    assert [str(told["grad/norm"][0].status), str(told["val/loss"][0].status)] == ["inf", "nan"]  # type: ignore[union-attr]


def test_stopping_the_study_reaches_the_trial_as_a_verdict(client: Client) -> None:
    study = client.create_study(hand_driven(trials=5))
    for trial in client.open_trials(study.name):
        with trial:
            assert not trial.should_stop
            client.stop(study.name, reason="enough seen")
            verdict = trial.report(1, {"val/accuracy": 0.5})
            assert verdict.action is Action.STOP
            assert trial.should_stop
    assert client.study(study.name).state is StudyState.STOPPED


def test_a_heartbeat_brings_orders_between_reports(service: Service, tmp_path: Path) -> None:
    with Client(service.url) as client:
        study = client.create_study(hand_driven(trials=1))
        trial = client.open_trial(study.name)
        assert trial is not None
        client.stop(study.name)
        quick = trial.grant.model_copy(update={"heartbeat_seconds": 0.05})
        with type(trial)(client, "another-thread", quick) as beating:
            for _ in range(100):
                if beating.should_stop:
                    break
                beating._ended.wait(0.05)
            assert beating.should_stop


def test_a_trial_that_another_worker_holds_is_dropped_and_the_slot_continues(client: Client) -> None:
    study = client.create_study(hand_driven(trials=2))
    seen = []
    for trial in client.open_trials(study.name):
        with trial:
            seen.append(trial.number)
            if len(seen) == 1:  # somebody else ends it
                outcome = FinishRequest(nonce=trial.grant.nonce, outcome=Outcome(result="failed", message="not mine"))
                client.finish(trial.grant.trial, trial.grant.attempt, outcome)
            trial.report(1, {"val/accuracy": 0.5})
    assert seen == [0, 1]


def test_an_open_trial_outlives_a_restart_of_the_service(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, Client(service.url) as client:
        study = client.create_study(hand_driven(trials=1))
        for trial in client.open_trials(study.name):
            trial.report(1, {"val/accuracy": 0.5})
            service.stop(hard=True)
            back = threading.Timer(0.5, service.start)
            back.start()
            trial.report(2, {"val/accuracy": 0.6})
            back.join()
        assert client.best(study.name).values == [0.6]


def test_the_whole_interface_can_be_called(client: Client) -> None:
    spec = hand_driven(trials=2)
    study = client.create_study(spec)
    assert study.id in [view.id for view in client.studies().studies]
    assert client.study(study.id).name == study.name
    assert client.pause(study.name, "lunch").state is StudyState.PAUSED
    assert client.resume(study.name).state is StudyState.ACTIVE
    assert client.extend(study.name, 4).budget_trials == 4
    assert client.enqueue(study.name, {"lr": 0.05}).num_ahead == 0
    parameters = []
    for trial in client.open_trials(study.name):
        parameters.append(trial.parameters)
        trial.report(1, {"val/accuracy": 0.5})
    assert (len(parameters), parameters[0]) == (4, {"lr": 0.05})
    assert client.trials(study.name, since=client.study(study.name).revision).trials == []
    kinds = [event.kind for event in client.events(study.name).events]
    assert kinds[0] == "study_created"
    assert client.workers().workers
    assert [changed.state for changed in client.stream(study.name)][-1] is StudyState.COMPLETED


def test_a_claim_is_repeated_by_its_request_id(client: Client) -> None:
    study = client.create_study(hand_driven(trials=1))
    request = ClaimRequest(
        request_id=uuid.uuid4().hex,
        worker="test",
        capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
        studies=[study.name],
    )
    first, again = client.claim(request), client.claim(request)
    assert isinstance(first, Grant)
    assert isinstance(again, Grant)
    assert first == again.model_copy(update={"lease_seconds": first.lease_seconds})
    nothing = client.claim(request.model_copy(update={"request_id": uuid.uuid4().hex}))
    assert isinstance(nothing, NoTrial)
    assert not nothing.done


def test_refusals_become_exceptions_with_their_code(client: Client) -> None:
    study = client.create_study(hand_driven())
    with pytest.raises(NotFound, match=study.name) as missing:
        client.study(study.name + "x")
    assert missing.value.code is ErrorCode.UNKNOWN_STUDY
    with pytest.raises(NotFound):
        client.best(study.name)
    with pytest.raises(Conflict) as twice:
        client.create_study(hand_driven(name=study.name))
    assert twice.value.code is ErrorCode.STUDY_EXISTS
    with pytest.raises(Invalid) as unreached:
        client.create_study(hand_driven(space={"lr": {"type": "float", "low": 0, "high": 1, "when": {"depth": 1}}}))
    assert unreached.value.errors
    with pytest.raises(Invalid):
        client.enqueue(study.name, {"lr": 7.0})
    with pytest.raises(InvalidStudy, match="the study: sampler: no such sampler 'tp'"):
        client.create_study(hand_driven(sampler="tp"))
    trial = client.open_trial(study.name)
    assert trial is not None
    trial.report(2, {"val/accuracy": 0.5})
    with pytest.raises(Conflict, match="step 1 came after step 2"):
        trial.report(1, {"val/accuracy": 0.5})
    trial.finish()
    with pytest.raises(LeaseLost):
        trial.report(3, {"val/accuracy": 0.5})


def test_a_token_is_sent_and_a_missing_one_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAYER_TOKEN", raising=False)
    with running_service(tmp_path, environment={"ASSAYER_TOKEN": "secret-of-the-test"}) as service:
        with Client(service.url) as stranger:
            with pytest.raises(Unauthorized):
                stranger.studies()
            with pytest.raises(Unauthorized, match="requires a token"):  # a HEAD, whose answer has no body
                stranger.has_blob("0" * 64)
        with Client(service.url, token="secret-of-the-test") as friend:
            assert friend.studies().studies == []
        monkeypatch.setenv("ASSAYER_TOKEN", "secret-of-the-test")
        with Client(service.url) as friend:
            assert friend.studies().studies == []


def test_an_absent_service_is_one_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with (
        Client(url) as client,
        pytest.raises(
            ServiceUnreachable, match=f"no service at {url}; start one with `assayer serve` or pass --server"
        ),
    ):
        client.health()


def test_an_address_that_is_none_is_one_sentence() -> None:
    for address in ("nonsense", "ftp://host", "http://"):
        with pytest.raises(ServiceUnreachable, match="is not a server's address"):
            Client(address)


def test_large_messages_are_sent_in_parts_or_cut(client: Client) -> None:
    option = {"type": "str", "description": "x" * 30_000}
    entries = {f"net_{number}": {"parameters": {"width": option}} for number in range(80)}
    told = client.register_entries("large", {"model": entries, "loss": {"my_loss": {}}})  # 2.4 MB as JSON
    assert set(told.entries["model"]) == set(entries)
    assert set(told.entries["loss"]) == {"my_loss"}
    study = client.create_study(hand_driven(trials=1))
    trial = client.open_trial(study.name)
    assert trial is not None
    trial.fail("m" * 3_000_000, details="first" + "t" * 3_000_000 + "last")
    [attempt] = client.trial(study.name, 0).attempts
    assert attempt.state is AttemptState.FAILED


def test_a_body_above_the_limit_is_an_exception_that_says_so(client: Client) -> None:
    with pytest.raises(Invalid, match="larger than 1024 KiB") as caught:
        client.create_study(hand_driven() | {"description": "x" * 2_000_000})
    assert caught.value.code is ErrorCode.BODY_TOO_LARGE
