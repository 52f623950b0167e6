"""`study watch`: shows every change once, across restarts of the service, and live in a terminal."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from service.cli import watch
from service.cli.render import study_pages
from service.client import Client, NotFound, ServiceUnreachable
from service.client.errors import ServiceFailure
from service.contract.study import StudyState, StudyView
from tests.client.studies import hand_driven
from tests.support.forked_commands import COMMANDS
from tests.support.service import ROOT, Service


def drive(client: Client, name: str) -> None:
    for trial in client.open_trials(name):
        for step in range(1, 4):
            trial.report(step, {"val/accuracy": step / 10})


def test_follow_survives_a_restart_of_the_service(service: Service) -> None:
    with Client(service.url) as client:
        study = client.create_study(hand_driven(trials=2))
        seen: list[StudyView | watch.Away] = []
        driver = threading.Thread(target=drive, args=(client, study.name), daemon=True)
        for view in watch.follow(client, study.name):
            seen.append(view)
            if len(seen) == 1:
                service.stop(hard=True)
            elif isinstance(view, ServiceUnreachable | ServiceFailure) and len(seen) < 4:
                service.start()
                driver.start()
        driver.join()
        views = [view for view in seen if isinstance(view, StudyView)]
        assert len(seen) > len(views)
        assert views[-1].state is StudyState.COMPLETED
        revisions = [view.revision for view in views]
        assert revisions == sorted(set(revisions))


def test_follow_of_an_absent_service_is_an_error(service: Service) -> None:
    service.stop()
    with Client(service.url) as client, pytest.raises(ServiceUnreachable):
        next(watch.follow(client, "any"))


def test_follow_ends_when_the_study_is_deleted(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        study = client.create_study(hand_driven())
        views = watch.follow(client, study.name)
        next(views)
        deletion = threading.Timer(0.5, client.delete, (study.id,))
        deletion.start()
        with pytest.raises(NotFound, match="there is no study"):
            next(views)
        deletion.join()


def test_a_terminal_shows_the_running_trials_and_the_best(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        study = client.create_study(hand_driven(trials=2, resource={"name": "epoch", "max": 3}))
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=True, width=120, markup=False)
        driver = threading.Thread(target=drive, args=(client, study.name))
        for trial in client.open_trials(study.name):
            trial.report(1, {"val/accuracy": 0.25})
            running = watch._Running(client, study.name)
            assert running.refresh() == ""
            assert [detail.number for detail in running.trials] == [0]
            console.print(study_pages.live_page(client.study(study.name), running.trials))
            break
        assert "step 1/3  val/accuracy 0.25" in screen.getvalue()
        driver.start()
        watch.watch(client, study.name, console)
        driver.join()
        assert "2/2" in screen.getvalue()
        assert "best: val/accuracy 0.3" in screen.getvalue()


def test_ctrl_c_leaves_the_study_going_and_says_so(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        name = client.create_study(hand_driven()).name
        command = [sys.executable, "-m", "service.cli.main", "watch", name, "--server", shared_service.url]
        with COMMANDS.popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert "0/3 finished" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            try:
                _, told = process.communicate(timeout=10)
            finally:
                process.kill()
        assert process.returncode == 0
        assert told == f"\nstopped watching; {name} keeps running (stop it with: study stop {name})\n"
        assert client.study(name).state is StudyState.ACTIVE


def command(service: Service, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `study` as a process of its own."""
    return COMMANDS.run(
        [sys.executable, "-m", "service.cli.main", *words, "--server", service.url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_study_that_pauses_for_its_failures_ends_the_watch_with_the_reason(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        name = client.create_study(hand_driven(trials=40)).name
        for _, trial in zip(range(3), client.open_trials(name), strict=False):
            trial.fail("training failed", details="Traceback (most recent call last):\nZeroDivisionError: by zero\n")
    told = command(shared_service, "watch", name)
    assert told.returncode == 1
    assert told.stderr == (
        f"{name} is paused: the first 3 trials all failed with the same error: training failed\n"
        f"trial 2 failed: training failed\n"
        f"ZeroDivisionError: by zero\n"
        f"see: study show {name} --trial 2\n"
        f"correct it, then: study resume {name}\n"
    )
    assert command(shared_service, "watch", name, "--json").returncode == 1


def test_a_metric_that_no_trial_reports_ends_the_watch_with_the_names_that_are_reported(
    shared_service: Service,
) -> None:
    with Client(shared_service.url) as client:
        name = client.create_study(hand_driven(trials=40)).name
        for _, trial in zip(range(3), client.open_trials(name), strict=False):
            trial.report(1, {"accuracy": 0.5})
            trial.finish()
    told = command(shared_service, "watch", name)
    assert told.returncode == 1
    assert (
        "the first 3 trials all failed with the same error: val/accuracy was never reported; it reported accuracy"
        in told.stderr
    )


def test_a_study_of_which_no_trial_completed_ends_the_watch_with_status_1(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        name = client.create_study(hand_driven(trials=4)).name
        for trial in client.open_trials(name):
            trial.report(1, {"val/accuracy": float("nan")})
    told = command(shared_service, "watch", name)
    assert told.returncode == 1
    lines = told.stderr.splitlines()
    assert lines[0] == f"{name}: 4 trials ended, none completed: 4 pruned"
    assert lines[1].startswith("trial 3 pruned: diverged: val/accuracy")


def test_a_study_that_was_stopped_ends_the_watch_with_status_1(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        name = client.create_study(hand_driven()).name
        client.stop(name, "wrong data")
    told = command(shared_service, "watch", name)
    assert (told.returncode, told.stderr) == (1, f"{name} was stopped: wrong data\n")


def test_a_study_that_a_person_pauses_is_watched_on(shared_service: Service) -> None:
    with Client(shared_service.url) as client:
        name = client.create_study(hand_driven()).name
        client.pause(name, "need the GPU")
        words = [sys.executable, "-m", "service.cli.main", "watch", name, "--server", shared_service.url]
        with COMMANDS.popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert "0/3 finished" in process.stdout.readline()
            assert process.stdout.readline() == f"{name} is paused: need the GPU; waiting for it\n"
            client.resume(name)
            drive(client, name)
            assert process.wait(30) == 0
