"""Measures whether applied remedies pay: trains with planted faults, applies a remedy to each, and trains again.

`python -m benchmarks.remedies --out benchmarks/results/remedies.md`. A real service on SQLite and a real worker on the
CPU, over HTTP on the loopback interface. Every case is a study whose first trial has the fault. Of the trial's first
finding the first remedy with an action is applied through the API, and the worker trains what comes of it. A remedy
pays if the finding is gone, or the value of the objective is better by 1 % at least.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.remedy_cases import RATE, Case, cases
from service.client import Client, ServiceUnreachable
from service.client.errors import NotFound
from service.contract.diagnosis import TrialDiagnosis
from service.contract.finding import Finding, Remedy
from service.contract.remedy import ApplyReply, ApplyRequest
from service.contract.trial import TrialDetail, TrialState

ROOT = Path(__file__).resolve().parents[1]
WAIT_SECONDS, START_SECONDS = 1_800.0, 120.0
_LEAST_GAIN = 0.01
ENDED = (TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED)


@dataclass(frozen=True)
class Result:
    """What came of one case."""

    case: Case
    finding: Finding | None
    remedy: Remedy | None
    before: float | None
    after: float | None = None
    is_gone: bool | None = None
    """Whether the finding is gone. None: forks are not diagnosed."""

    @property
    def is_better(self) -> bool:
        """Whether the value is better than that of the faulty training, by a hundredth of it at least.

        No value is worse than any.
        """
        return _or_worst(self.after) < _or_worst(self.before) * (1 - _LEAST_GAIN)

    @property
    def has_paid(self) -> bool:
        """Whether the finding is gone or the value better."""
        return bool(self.is_gone) or self.is_better


def run(chosen: Sequence[Case]) -> list[Result]:
    """Run the cases on a service and a worker of their own."""
    with tempfile.TemporaryDirectory() as directory, _service(Path(directory)) as client:
        for case in chosen:
            client.create_study(case.spec)
            client.enqueue(case.name, {RATE: case.rate})
        with _worker(Path(directory), client):
            found = [_apply(client, case) for case in chosen]
            return [_judge(client, result, reply) for result, reply in found]


def _apply(client: Client, case: Case) -> tuple[Result, ApplyReply | None]:
    """Wait for the faulty training and its diagnosis, and apply the first remedy that has an action."""
    trial = _ended(client, case.name, 0)
    diagnosis = _diagnosis(client, case.name, 0)
    findings = diagnosis.findings
    for finding in findings:
        for remedy in finding.remedies:
            if remedy.action is not None:
                request = ApplyRequest(
                    action=remedy.action,
                    version=diagnosis.spec_version,
                    rule=finding.rule,
                    remedy=remedy.name,
                    trial=0,
                )
                return Result(case, finding, remedy, _value(trial)), client.apply(case.name, request)
    return Result(case, findings[0] if findings else None, None, _value(trial)), None


def _judge(client: Client, result: Result, reply: ApplyReply | None) -> Result:
    """Wait for the training that came of the remedy, and compare it with the faulty one."""
    if reply is None or result.finding is None:
        return result
    if reply.kind == "fork":
        after, is_gone = _ended(client, reply.study, str(reply.fork)), None
    else:
        number = 0 if reply.kind == "follow_up" else 1
        after = _ended(client, reply.study, number)
        is_gone = result.finding.rule not in {each.rule for each in _diagnosis(client, reply.study, number).findings}
    return Result(result.case, result.finding, result.remedy, result.before, _value(after), is_gone)


def _ended(client: Client, study: str, trial: int | str) -> TrialDetail:
    """Wait until a trial exists and has ended."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(NotFound):
            found = client.trial(study, trial)
            if found.state in ENDED:
                return found
        time.sleep(0.5)
    raise TimeoutError(f"trial {trial} of {study} did not end")


def _diagnosis(client: Client, study: str, trial: int) -> TrialDiagnosis:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        diagnosis = client.trial_diagnosis(study, trial)
        if not diagnosis.lags:
            return diagnosis
        time.sleep(0.5)
    raise TimeoutError(f"trial {trial} of {study} was not diagnosed")


def _value(trial: TrialDetail) -> float | None:
    value = trial.values[0] if trial.values else None
    return value if value is not None and math.isfinite(value) else None


def _or_worst(value: float | None) -> float:
    return math.inf if value is None else value


@contextmanager
def _service(directory: Path) -> Iterator[Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve = ("serve", "--port", str(port), "--database", str(directory / "assayer.db"))
    with _process(directory, "service", *serve), Client(f"http://127.0.0.1:{port}") as client:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                client.health()
                break
            except ServiceUnreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield client


@contextmanager
def _worker(directory: Path, client: Client) -> Iterator[None]:
    options = ["--cpu", "--threads", "1", "--name", "w", "--state-dir", str(directory / "w"), "--server", client.server]
    with _process(directory, "worker", *options):
        yield


@contextmanager
def _process(directory: Path, *arguments: str) -> Iterator[None]:
    """Run a Python module with its output in a log file, and end it by its handle."""
    with (directory / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *arguments], cwd=ROOT, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def page(results: Sequence[Result], command: str) -> str:
    """Return the results as a page."""
    applied = [each for each in results if each.remedy is not None]
    paid = sum(each.has_paid for each in applied)
    gone = sum(bool(each.is_gone) for each in applied)
    better = sum(each.is_better for each in applied)
    share = f"{paid / len(applied):.0%}" if applied else "none"
    only_gone = sum(bool(each.is_gone) and not each.is_better for each in applied)
    silent = sum(each.finding is None for each in results)
    summary = (
        f"Of {len(results)} trainings with planted faults, {len(results) - silent} have a finding, and {len(applied)} "
        f"of these have a remedy that the service can carry out. Applied through the API, {paid} of {len(applied)} "
        f"({share}) pay: the finding is gone in {gone}, and the value is better in {better}. The value is the "
        "objective after the last epoch; the lower, the better, and only a change of at least 1 % counts. Forks are "
        "not diagnosed, so only their value counts. The trainings before and after have different seeds.\n\n"
        f"In {only_gone} runs the finding is gone and the value not better: the new curve may say less, such as one "
        f"that is stopped early. By the value alone {better} of {len(applied)} pay."
    )
    lines = [
        "# Applied remedies",
        "",
        f"`{command}` on {machine()}.",
        "",
        summary,
        "",
        "| fault | data | finding | remedy | action | before | after | finding gone | better |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        rule = each.finding.rule if each.finding is not None else "none"
        remedy, kind = (each.remedy.name, each.remedy.action.kind) if each.remedy and each.remedy.action else ("", "")
        outcome = ["", ""] if each.remedy is None else [_yes(each.is_gone), _yes(each.is_better)]
        cells = [
            each.case.fault,
            each.case.data,
            rule,
            remedy,
            kind,
            _number(each.before),
            _number(each.after),
            *outcome,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "no"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def main() -> None:
    """Run the cases and write the page."""
    parser = argparse.ArgumentParser(description="Measure whether applied remedies pay.")
    parser.add_argument("--out", type=Path, help="write the page to this file")
    parser.add_argument("--limit", type=int, help="run only the first N cases")
    options = parser.parse_args()
    command = "python -m benchmarks.remedies" + (f" --limit {options.limit}" if options.limit else "")
    text = page(run(cases()[: options.limit]), command)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
