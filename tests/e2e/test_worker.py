"""Real workers on a real service: whole studies, and every way in which a worker or the service can fail."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow.parquet
import pytest

from service.cli.main import main as study_command
from service.client import Client
from service.contract.attempt import FailureClass
from service.contract.capabilities import Device
from service.contract.log import Stream
from service.contract.study import StudyState
from service.contract.trial import AttemptState, AttemptView, TrialState
from tests.support.forked_commands import TRAINING
from tests.support.processes import children
from tests.support.service import Service, running_service
from tests.worker.grants import digits
from tests.worker.waiting import eventually
from worker.agent import AcceptedWork, Agent, LocalDevice, ProcessSettings, SlotPlan, StorageSettings, cpu
from worker.agent.slots.process import ZYGOTE
from worker.training.data import DATA
from worker.trial.provenance import code_fingerprint

pytestmark = pytest.mark.slow

START_SECONDS = 60.0
ENDLESS = 1_000_000


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    short = {"ASSAYER_HEARTBEAT_SECONDS": "0.2", "ASSAYER_LEASE_SECONDS": "120"}
    with running_service(tmp_path_factory.mktemp("service"), environment=short) as service:
        yield service


@pytest.fixture
def client(live: Service) -> Iterator[Client]:
    with Client(live.url) as connected:
        yield connected


@pytest.fixture
def worker(live: Service, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start workers on one state directory; whatever still works at the end of the test is ended."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    with contextlib.ExitStack() as stack:

        def start(
            study: str,
            *arguments: str,
            environment: Mapping[str, str] = MappingProxyType({}),
            popen: Callable[..., subprocess.Popen[str]] = TRAINING.popen,
        ) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", live.url]
            command += ["--state-dir", str(tmp_path), "--study", study, "--until-done", *arguments]
            process = popen(command, stderr=subprocess.PIPE, text=True, env=clean | dict(environment))
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stderr is not None
            stack.callback(process.stderr.close)
            return process

        yield start


def spec(name: str, *, trials: int = 4, task: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "objective": {"metric": "val/accuracy", "direction": "maximize", "value": "best"},
        "task": {"train": task or digits()},
        "preflight": "off",
        "space": {"optimizer.lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
        "sampler": {"name": "random", "seed": 1},
        "budget": {"trials": trials},
        **changes,
    }


def endless(name: str) -> dict[str, Any]:
    """A study of one trial that trains until it is told to stop, a few epochs a second."""
    task = digits(data={"name": "digits"}, model={"name": "mlp", "hidden": [512, 512]}, batch_size=32, epochs=ENDLESS)
    return spec(name, trials=1, task=task)


def attempts(client: Client, study: str) -> list[AttemptView]:
    trials = client.trials(study).trials
    return client.trial(study, 0).attempts if trials else []


def steps(client: Client, study: str) -> int:
    series = client.trial(study, 0).series
    return max((len(one.steps) for one in series), default=0)


def training(client: Client, study: str, attempt: int = 1) -> bool:
    """Whether the attempt runs and has reported."""
    known = attempts(client, study)
    return len(known) == attempt and known[-1].state is AttemptState.RUNNING and steps(client, study) > 0


def is_zygote(pid: int) -> bool:
    """Whether an agent of this process has started that process as a zygote."""
    return f"\0-m\0{ZYGOTE}\0" in Path(f"/proc/{pid}/cmdline").read_text()


def child_of(process: subprocess.Popen[str]) -> int:
    """The training process below the worker's zygote."""
    [zygote] = children(process.pid)
    [child] = children(zygote)
    return child


def test_two_slots_carry_a_study_through_and_end_when_it_is_done(client: Client, worker: Any) -> None:
    client.create_study(spec("whole", trials=6))
    process = worker("whole", "--slots", "2")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    study = client.study("whole")
    assert study.state is StudyState.COMPLETED
    assert study.num_trials == {TrialState.COMPLETED: 6}
    assert sorted(trial.number or 0 for trial in client.trials("whole").trials) == list(range(6))
    best = client.best("whole")
    assert [series.steps for series in best.series if series.metric == "val/accuracy"] == [[1, 2]]
    assert {"test/accuracy", "seconds", "num_parameters"} <= set(best.metrics)
    made_from = [each for number in range(6) for each in client.trial("whole", number).attempts]
    assert {each.code for each in made_from} == {code_fingerprint()}
    assert {each.data for each in made_from} == {DATA.create("digits", DATA.check("digits", {})).fingerprint}
    assert {each.environment["device"] for each in made_from} == {cpu().device.name}
    assert not any(each.warnings for each in made_from)
    assert said.count("started on cpu") == said.count("succeeded after") == 6
    assert "Traceback" not in said

    assert [each.number for each in client.list_predictions("whole").trials] == list(range(6))
    predicted = pyarrow.parquet.read_table(io.BytesIO(client.predictions("whole", best.number or 0))).to_pylist()
    assert best.confusion is not None
    data = DATA.create("digits", DATA.check("digits", {"limit": 300}))
    for name, counts in best.confusion.splits.items():
        rows = [row for row in predicted if row["split"] == name]
        split = data.splits[name]  # type: ignore[index]
        assert split.ids is not None
        targets = dict(zip(split.ids.tolist(), split.targets.tolist(), strict=True))
        assert {row["id"]: int(row["target"]) for row in rows} == targets
        num_right = sum(row["target"] == row["prediction"] for row in rows)
        assert num_right == sum(row[at] for at, row in enumerate(counts))
        assert num_right / len(rows) == pytest.approx(best.metrics[f"{name}/accuracy"])


@pytest.mark.prove
def test_a_finished_study_leaves_nothing_on_the_workers_disk(client: Client, worker: Any, tmp_path: Path) -> None:
    client.create_study(spec("tidy", trials=3))
    assert worker("tidy", environment={"ASSAYER_CHECKPOINT_SECONDS": "0"}).wait(60) == 0
    [attempts_] = tmp_path.glob("*/attempts")
    assert list(attempts_.iterdir()) == []


@pytest.mark.prove
def test_every_slot_of_every_device_trains_pinned_to_its_own(client: Client, tmp_path: Path) -> None:
    """Two devices with two slots each, as `worker --gpu 0,1 --slots 2` plans them; the processor stands in for both."""
    devices = [
        LocalDevice(Device(kind="cpu", index=index, name=f"device {index}"), visible=f"GPU-{index}") for index in (0, 1)
    ]
    plans = [SlotPlan(f"gpu{device.device.index}{end}", [device], 1) for device in devices for end in ("", "-2")]
    client.create_study(endless("four") | {"budget": {"trials": 4}})
    agent = Agent(
        client,
        name="four",
        slots=plans,
        work=AcceptedWork(["four"], until_done=True),
        processes=ProcessSettings(checkpoint_seconds=60.0),
        storage=StorageSettings(tmp_path, disk_bytes=0),
    )
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(agent.work)
        try:
            assert eventually(lambda: num_running(client, "four") == 4, 2 * START_SECONDS)
            zygotes = [pid for pid in children(os.getpid()) if is_zygote(pid)]
            pinned = [Path(f"/proc/{pid}/environ").read_bytes() for pid in zygotes]
            for device in devices:
                assert sum(f"CUDA_VISIBLE_DEVICES={device.visible}\0".encode() in each for each in pinned) == 2
            assert eventually(lambda: all(steps_of(client, "four", number) for number in range(4)), START_SECONDS)
        finally:
            client.stop("four")
            agent.stop()
        done.result(START_SECONDS)
    told = [client.trial("four", number).attempts[0] for number in range(4)]
    assert sorted(each.slot for each in told) == ["gpu0", "gpu0-2", "gpu1", "gpu1-2"]
    assert {each.slot: each.environment["device"][-1] for each in told} == {plan.name: plan.name[3] for plan in plans}
    [worker] = [each for each in client.workers().workers if each.name == "four"]
    assert [device.name for device in worker.capabilities.devices] == ["device 0", "device 1"]


def num_running(client: Client, study: str) -> int:
    return client.study(study).num_trials.get(TrialState.RUNNING, 0)


def steps_of(client: Client, study: str, number: int) -> int:
    return max((len(one.steps) for one in client.trial(study, number).series), default=0)


@pytest.mark.prove
def test_an_impossible_task_stores_its_reason_and_the_worker_continues(client: Client, worker: Any) -> None:
    client.create_study(spec("too-big", trials=2, constraints={"parameters": {"max": 10}}))
    process = worker("too-big")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    [attempt] = attempts(client, "too-big")
    assert attempt.failure is FailureClass.INFEASIBLE
    assert client.trial("too-big", 0).infeasible
    assert client.study("too-big").num_trials == {TrialState.PRUNED: 2}


@pytest.mark.prove
def test_a_stopped_worker_gives_its_trial_back_and_ends_well(client: Client, worker: Any) -> None:
    client.create_study(endless("given-back"))
    process = worker("given-back")
    assert eventually(lambda: training(client, "given-back"), START_SECONDS)
    child = child_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    [attempt] = attempts(client, "given-back")
    assert (attempt.state, attempt.failure) == (AttemptState.RELEASED, FailureClass.PREEMPTED)
    assert client.trial("given-back", 0).state is TrialState.WAITING
    assert not Path(f"/proc/{child}").exists()


@pytest.mark.prove
def test_a_second_signal_ends_a_worker_at_once(live: Service, client: Client, worker: Any) -> None:
    client.create_study(endless("at-once"))
    process = worker("at-once")
    assert eventually(lambda: training(client, "at-once"), START_SECONDS)
    child = child_of(process)
    live.stop()
    try:
        process.send_signal(signal.SIGTERM)
        assert eventually(lambda: "stopping" in process.stderr.readline())
        process.send_signal(signal.SIGTERM)
        assert process.wait(2) == 128 + signal.SIGTERM
        assert eventually(lambda: not Path(f"/proc/{child}").exists())
    finally:
        live.start()
    # What it could not say any more, the next worker here says.
    worker("at-once")
    assert eventually(lambda: training(client, "at-once", attempt=2), START_SECONDS)
    assert attempts(client, "at-once")[0].failure is FailureClass.PREEMPTED


@pytest.mark.prove
def test_killed_processes_and_a_restarted_service_lose_nothing(live: Service, client: Client, worker: Any) -> None:
    client.create_study(endless("killed"))
    first = worker("killed")
    assert eventually(lambda: training(client, "killed"), START_SECONDS)

    # The training process dies: said at once, and the next attempt begins.
    os.kill(child_of(first), signal.SIGKILL)
    assert eventually(lambda: training(client, "killed", attempt=2), 10)
    assert attempts(client, "killed")[0].failure is FailureClass.PROCESS_KILLED
    assert "SIGKILL" in (attempts(client, "killed")[0].message or "")

    # The agent dies: its training process goes with it, and the next agent here says so without waiting for the lease.
    child = child_of(first)
    first.kill()
    first.wait()
    assert eventually(lambda: not Path(f"/proc/{child}").exists())
    second = worker("killed")
    assert eventually(lambda: training(client, "killed", attempt=3), START_SECONDS)
    assert attempts(client, "killed")[1].failure is FailureClass.PROCESS_KILLED

    # The service dies: training goes on, and what it reported meanwhile arrives afterwards, every step of it.
    child = child_of(second)
    live.stop(hard=True)
    live.start()
    known = steps(client, "killed")
    assert eventually(lambda: steps(client, "killed") > known + 2, 20)
    assert child_of(second) == child
    [series] = [one for one in client.trial("killed", 0).series if one.metric == "val/accuracy"]
    assert series.steps == list(range(1, len(series.steps) + 1))

    # The study is stopped: the worker hears of it, and has nothing more to do.
    client.stop("killed", "enough")
    assert second.wait(20) == 0
    assert client.study("killed").state is StudyState.STOPPED
    assert client.trial("killed", 0).state is TrialState.CANCELLED


@pytest.fixture
def printing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that Python loads by itself makes every training process print, as a user's code would."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, threading\n"
        "def say():\n"
        "    print('hello from', os.getpid())\n"
        "    print('trouble', file=sys.stderr)\n"
        "os.register_at_fork(after_in_child=lambda: threading.Timer(0.5, say).start())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # would flush what nobody else's environment flushes


@pytest.mark.prove
def test_output_of_a_killed_process_can_be_read(
    printing: None, client: Client, worker: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.create_study(endless("printing"))
    process = worker("printing", popen=subprocess.Popen)  # so that Python loads the module by itself
    assert eventually(lambda: training(client, "printing"), START_SECONDS)
    first = child_of(process)
    printed = process_files(tmp_path, client.trials("printing").trials[0].id, 1)
    assert eventually(lambda: printed[".err"].read_text() == "trouble\n")
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: training(client, "printing", attempt=2), 10)
    assert eventually(lambda: client.log("printing", 0, attempt=1).text == f"hello from {first}\n", 10)
    told = client.log("printing", 0, attempt=1, stream=Stream.STDERR)
    assert (told.text, told.ended) == ("trouble\n", True)
    # The second attempt is alive: its words come while it trains.
    assert eventually(lambda: client.log("printing", 0).text == f"hello from {child_of(process)}\n", 10)
    assert not client.log("printing", 0).ended
    client.stop("printing", "enough")
    assert process.wait(20) == 0
    assert study_command(["--server", client.server, "logs", "printing", "0", "--attempt", "1", "--follow"]) == 0
    ended = "attempt 1 failed: the training process was killed by SIGKILL\n"
    assert capsys.readouterr().out == f"hello from {first}\n{ended}"


def process_files(state_dir: Path, trial: str, attempt: int) -> dict[str, Path]:
    [folder] = state_dir.glob(f"*/attempts/{trial}")
    return {end: folder / f"{attempt}{end}" for end in (".out", ".err")}


@pytest.mark.prove
def test_a_worker_with_the_wrong_token_says_so_and_ends(tmp_path: Path) -> None:
    with running_service(tmp_path, environment={"ASSAYER_TOKEN": "right"}) as service:
        command = [sys.executable, "-m", "worker", "--cpu", "--server", service.url, "--state-dir", str(tmp_path / "w")]
        environment = {**os.environ, "ASSAYER_TOKEN": "wrong"}
        result = TRAINING.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
    assert result.returncode == 1
    assert "token" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


@pytest.mark.prove
def test_a_worker_waits_for_its_service_and_says_so_once(
    tmp_path: Path, live: Service, client: Client, worker: Any
) -> None:
    client.create_study(spec("late", trials=1))
    live.stop()
    process = worker("late")
    try:
        lines = [process.stderr.readline() for _ in range(3)]
    finally:
        live.start()
    assert f"the service at {live.url} does not answer" in lines[2]
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said.count("does not answer") == 0
    assert "answers again" in said


@pytest.mark.prove
def test_a_worker_for_so_long_drains_in_time_and_offers_its_labels(client: Client, worker: Any) -> None:
    client.create_study(endless("for") | {"requires": {"labels": {"room": "cellar"}}})
    process = worker("for", "--name", "here", "--for", "15s", "--label", "room=cellar")
    assert eventually(lambda: training(client, "for"), START_SECONDS)
    other = worker("for", "--name", "elsewhere")
    assert process.wait(2 * START_SECONDS) == 0
    [attempt] = attempts(client, "for")
    assert (attempt.worker, attempt.state) == ("here", AttemptState.RELEASED)
    assert client.trial("for", 0).state is TrialState.WAITING
    assert any("requires a worker with --label room=cellar" in line for line in other.stderr)
    other.send_signal(signal.SIGTERM)
    other.communicate(timeout=START_SECONDS)
    client.stop("for")


@pytest.mark.prove
def test_a_study_of_trials_on_two_devices(client: Client, worker: Any) -> None:
    """With batch norm, which only knows its batch where the processes tell each other of it."""
    task = digits(model={"name": "mlp", "hidden": [16], "norm": "batch"})
    client.create_study(spec("pairs", trials=2, task=task, requires={"devices": 2}))
    process = worker("pairs", "--devices-per-trial", "2")
    _, said = process.communicate(timeout=2 * START_SECONDS)
    assert process.returncode == 0, said
    assert client.study("pairs").num_trials == {TrialState.COMPLETED: 2}
    assert f"cpu (2 x {cpu().device.name}), 1 thread each" in said
    made_from = [each for number in range(2) for each in client.trial("pairs", number).attempts]
    assert [each.environment["device"] for each in made_from] == [f"2 x {cpu().device.name}"] * 2


@pytest.mark.prove
def test_a_training_process_that_hangs_is_ended_and_the_trial_waits_again(client: Client, tmp_path: Path) -> None:
    """One that goes on is not, though its first epoch takes many times the patience with it."""
    task = digits(data={"name": "digits"}, model={"name": "mlp", "hidden": [1536, 1536]}, batch_size=1)
    client.create_study(spec("hung", trials=1, task=task))
    plan = SlotPlan("cpu", [cpu()], 1)
    agent = Agent(
        client,
        name="w",
        slots=[plan],
        work=AcceptedWork(["hung"], until_done=True),
        processes=ProcessSettings(checkpoint_seconds=60.0, patience_seconds=3.0),
        storage=StorageSettings(tmp_path, disk_bytes=0),
    )
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(agent.work)
        try:
            assert eventually(lambda: len(attempts(client, "hung")) == 1, START_SECONDS)
            [zygote] = [pid for pid in children(os.getpid()) if is_zygote(pid)]
            assert eventually(lambda: children(zygote), START_SECONDS)
            [child] = children(zygote)
            time.sleep(4)
            [attempt] = attempts(client, "hung")
            assert (attempt.state, steps(client, "hung")) == (AttemptState.RUNNING, 0)
            os.kill(child, signal.SIGSTOP)
            assert eventually(lambda: len(attempts(client, "hung")) == 2, START_SECONDS)
        finally:
            agent.stop()
        done.result(START_SECONDS)
    first = attempts(client, "hung")[0]
    assert (first.state, first.failure) == (AttemptState.FAILED, FailureClass.HUNG)
    assert (first.message or "").startswith("the training process reported no step for ")
    client.stop("hung")
