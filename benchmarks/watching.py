"""Measures what open dashboard pages cost a search: changes per second and response times, with N pages open.

A page is an HTTP client that requests what the dashboard's study page requests on each event
(service/dashboard/web/src/live.ts and pages/study.tsx): the study, the changed trials and, when a trial has ended, the
parameter importance. It runs on Linux only, because of the processor time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import multiprocessing
import os
import shlex
import statistics
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.machine import machine
from benchmarks.service import Service, databases, study
from service.storage import tables
from service.storage.database import Database, open_database
from service.storage.queries import studies

NUM_STEPS = 5
"""The number of reports of each stored trial."""

CHANGES_PER_SECOND = 10
LOAD_SECONDS = 300.0
"""The longest time for the pages to load the study for the first time, which is not measured."""

PAGE = 5000
RETRY_SECONDS = 0.25


@dataclass
class Measured:
    """The results of one run."""

    seconds: float
    num_changes: int
    answers: dict[str, list[float]]
    """Call -> the response time of each request, in seconds."""
    num_requests: int = 0
    """The requests of the pages during the run."""
    processor_seconds: float = 0.0
    """Processor time of the service during the run."""


@dataclass
class Pages:
    """Open pages, in a process of their own."""

    url: str
    name: str
    num: int
    stop: Any
    num_loaded: Any
    num_requests: Any

    async def watch(self) -> None:
        """Keep all pages open until `stop` is set."""
        pages = [asyncio.create_task(self._page()) for _ in range(self.num)]
        await asyncio.to_thread(self.stop.wait)
        for page in pages:
            page.cancel()
        await asyncio.gather(*pages, return_exceptions=True)

    async def _page(self) -> None:
        # A browser opens at most six connections to one host.
        limits = httpx.Limits(max_connections=6)
        async with httpx.AsyncClient(
            base_url=f"{self.url}/api/v1", trust_env=False, timeout=300, limits=limits
        ) as http:
            page = _Page(http, f"/studies/{self.name}", self.num_loaded, self.num_requests)
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    await page.follow()
                await asyncio.sleep(RETRY_SECONDS)


class _Page:
    """One page: the state of the study it shows, and its requests on each event."""

    def __init__(self, http: httpx.AsyncClient, study_path: str, num_loaded: Any, num_requests: Any) -> None:
        self._http = http
        self._study_path = study_path
        self._num_loaded = num_loaded
        self._num_requests = num_requests
        self._since = 0
        self._num_finished: int | None = None
        self._importance: asyncio.Task[Any] | None = None
        self._last_id = "0"

    async def follow(self) -> None:
        """Load the study, then follow its event stream until the connection ends."""
        await self._load()
        with self._num_loaded.get_lock():
            self._num_loaded.value += 1
        pending = asyncio.Event()
        loading = asyncio.create_task(self._keep_loading(pending))
        try:
            async with self._http.stream(
                "GET", f"{self._study_path}/stream", headers={"Last-Event-ID": self._last_id}
            ) as events:
                async for line in events.aiter_lines():
                    if line.startswith("id:"):
                        self._last_id = line[3:].strip()
                        pending.set()
        finally:
            loading.cancel()
            if self._importance is not None:
                self._importance.cancel()

    async def _keep_loading(self, pending: asyncio.Event) -> None:
        """Load after each event; all events during a load cause a single further load."""
        while True:
            await pending.wait()
            pending.clear()
            await self._load()

    async def _load(self) -> None:
        """Request what the study page shows; request the importance again if a trial has ended since."""
        shown = await self._get("")
        more = True
        while more:
            answer = await self._get(f"/trials?since={self._since}&limit={PAGE}")
            self._since = answer["revision"]
            more = len(answer["trials"]) == PAGE
        ended = ("completed", "pruned", "failed", "cancelled")
        num_finished = sum(shown["num_trials"].get(state, 0) for state in ended)
        if num_finished != self._num_finished:
            self._num_finished = num_finished
            if self._importance is not None:
                self._importance.cancel()
            self._importance = asyncio.create_task(self._ask_importance())

    async def _ask_importance(self) -> None:
        with contextlib.suppress(httpx.HTTPError):
            await self._get("/importance")

    async def _get(self, path: str) -> Any:
        answer = await self._http.get(self._study_path + path)
        answer.raise_for_status()
        with self._num_requests.get_lock():
            self._num_requests.value += 1
        return answer.json()


def watch(pages: Pages) -> None:
    """Run the pages; the entry point of their process."""
    asyncio.run(pages.watch())


def drive(url: str, name: str, seconds: float) -> Measured:
    """Make at most CHANGES_PER_SECOND changes per second (claim, report, finish) for `seconds`; measure their times."""
    answers: dict[str, list[float]] = {"claim": [], "report": [], "finish": [], "heartbeat": []}
    held: list[dict[str, Any]] = []
    stopped = threading.Event()
    beating = threading.Thread(target=_beat, args=(url, held, stopped, answers["heartbeat"]))
    beating.start()
    began = due = time.perf_counter()
    num_changes = 0
    with httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=120) as http:

        def change(call: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
            nonlocal due, num_changes
            time.sleep(max(0.0, due - time.perf_counter()))
            asked = time.perf_counter()
            # A late driver does not catch up, so that no second has more than CHANGES_PER_SECOND changes.
            due = max(due, asked) + 1 / CHANGES_PER_SECOND
            answer = http.post(path, json=body)
            answer.raise_for_status()
            answers[call].append(time.perf_counter() - asked)
            num_changes += 1
            said: dict[str, Any] = answer.json()
            return said

        while time.perf_counter() - began < seconds:
            claim = {"request_id": uuid.uuid4().hex, "worker": "driver", "studies": [name]}
            grant = change("claim", "/claims", claim | {"capabilities": {"tasks": ["external"]}})
            if grant["kind"] == "nothing":
                raise SystemExit(f"the service gave no trial: {grant}")
            held[:] = [{"trial": grant["trial"], "attempt": grant["attempt"], "nonce": grant["nonce"]}]
            place = f"/trials/{grant['trial']}/attempts/{grant['attempt']}"
            points = [{"step": NUM_STEPS, "metrics": {"val/accuracy": grant["parameters"]["model.dropout"]}}]
            change("report", f"{place}/reports", {"nonce": grant["nonce"], "sequence": 1, "points": points})
            change("finish", f"{place}/finish", {"nonce": grant["nonce"], "outcome": {"result": "succeeded"}})
    lasted = time.perf_counter() - began
    stopped.set()
    beating.join()
    return Measured(lasted, num_changes, answers)


def _beat(url: str, held: list[dict[str, Any]], stopped: threading.Event, took: list[float]) -> None:
    with httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=120) as http:
        while not stopped.wait(0.5):
            asked = time.perf_counter()
            http.post("/heartbeats", json={"worker": "driver", "leases": list(held)}).raise_for_status()
            took.append(time.perf_counter() - asked)


def fill(database: Database, name: str, num_trials: int) -> None:
    """Insert completed trials of a study into the database, as if it had run for a long time."""
    with database.writer.connect() as connection:
        found = studies.find(connection, name)
        assert found is not None
        now = database.dialect.now(connection)
        begin = now - num_trials * 1_000_000
        for first in range(0, num_trials, 1000):
            numbers = range(first, min(first + 1000, num_trials))
            connection.execute(tables.trial.insert(), [_trial(found.id, number, begin) for number in numbers])
            connection.execute(tables.attempt.insert(), [_attempt(found.id, number, begin) for number in numbers])
            reports = [_report(found.id, number, step, begin) for number in numbers for step in range(1, NUM_STEPS + 1)]
            connection.execute(tables.report.insert(), reports)
        filled = {"next_number": num_trials, "revision": num_trials + 1, "active_since": begin}
        connection.execute(tables.study.update().where(tables.study.c.id == found.id).values(**filled))
        connection.commit()


def _value(number: int) -> float:
    return (number * 7919 % 10007) / 10007


def _trial(study_id: str, number: int, begin: int) -> dict[str, Any]:
    value = _value(number)
    return {
        "id": f"{study_id[:20]}{number:012d}",
        "study_id": study_id,
        "kind": "search",
        "number": number,
        "state": "completed",
        "spec_version": 1,
        "history_revision": number + 1,
        "parameters": {
            "optimizer.lr": 10 ** (-1 - 4 * value),
            "model.dropout": 0.6 * value,
            "batch_size": [16, 32, 64, 128][number % 4],
        },
        "reason": "drawn at random",
        "notes": {},
        "seed": number,
        "run_until": 20,
        "priority": 0,
        "value": value,
        "values": [value],
        "metrics": {"val/accuracy": value},
        "infeasible": False,
        "last_step": NUM_STEPS,
        "num_attempts": 1,
        "num_failures": 0,
        "num_losses": 0,
        "created_at": begin + number * 1_000_000,
        "started_at": begin + number * 1_000_000,
        "finished_at": begin + number * 1_000_000 + 900_000,
        "revision": number + 1,
    }


def _attempt(study_id: str, number: int, begin: int) -> dict[str, Any]:
    return {
        "trial_id": f"{study_id[:20]}{number:012d}",
        "number": 1,
        "study_id": study_id,
        "state": "succeeded",
        "nonce": f"{number:032d}",
        "worker": "driver",
        "slot": "0",
        "num_reports": NUM_STEPS,
        "last_step": NUM_STEPS,
        "outcome": {"result": "succeeded"},
        "started_at": begin + number * 1_000_000,
        "ended_at": begin + number * 1_000_000 + 900_000,
        "revision": number + 1,
    }


def _report(study_id: str, number: int, step: int, begin: int) -> dict[str, Any]:
    return {
        "trial_id": f"{study_id[:20]}{number:012d}",
        "attempt": 1,
        "metric": "val/accuracy",
        "step": step,
        "value": _value(number) * step / NUM_STEPS,
        "sequence": step,
        "reported_at": begin + number * 1_000_000 + step,
        "revision": number + 1,
    }


def processor_seconds(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(place: str, blobs: str, num_trials: int, num_pages: int, seconds: float) -> Measured:
    """Measure one case on a new study."""
    service = Service(place, blobs)
    name = f"watched-{uuid.uuid4().hex[:8]}"
    try:
        spec = study(name, num_trials + 100_000)
        httpx.post(f"{service.url}/api/v1/studies", json=spec, trust_env=False).raise_for_status()
    finally:
        service.stop()
    database = open_database(place)
    fill(database, name, num_trials)
    database.close()
    service = Service(place, blobs)
    try:
        return _measured(service, name, num_pages, seconds)
    finally:
        service.stop()


def _measured(service: Service, name: str, num_pages: int, seconds: float) -> Measured:
    spawn = multiprocessing.get_context("spawn")
    stop, num_loaded, num_requests = spawn.Event(), spawn.Value("q", 0), spawn.Value("q", 0)
    # Warm up: the first claim reads the whole history, and the cost of a restart is not measured here.
    drive(service.url, name, 1.0)
    pages = spawn.Process(target=watch, args=(Pages(service.url, name, num_pages, stop, num_loaded, num_requests),))
    pages.start()
    try:
        deadline = time.perf_counter() + LOAD_SECONDS
        while num_loaded.value < num_pages and time.perf_counter() < deadline:
            time.sleep(0.1)
        time.sleep(1.0)
        asked, used = num_requests.value, processor_seconds(service.pid)
        measured = drive(service.url, name, seconds)
        measured.num_requests = num_requests.value - asked
        measured.processor_seconds = processor_seconds(service.pid) - used
        return measured
    finally:
        stop.set()
        pages.join(10)
        if pages.is_alive():
            pages.terminate()


def row(database: str, num_trials: int, num_pages: int, measured: Measured) -> str:
    """Return one line of the table."""
    cells = [
        database,
        f"{num_trials:,}",
        str(num_pages),
        f"{measured.num_changes / measured.seconds:.1f}",
        *(_answer_times(measured.answers[call]) for call in ("claim", "report", "finish", "heartbeat")),
        f"{measured.num_requests / measured.seconds:.0f}",
        f"{measured.processor_seconds / measured.seconds:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _answer_times(took: list[float]) -> str:
    if len(took) < 2:
        return " / ".join(f"{each * 1000:.0f}" for each in took) or "none"
    return f"{statistics.median(took) * 1000:.0f} / {statistics.quantiles(took, n=100)[-1] * 1000:.0f}"


COLUMNS = [
    "database",
    "trials",
    "pages",
    f"changes/s of {CHANGES_PER_SECOND}",
    "claim, ms p50 / p99",
    "report",
    "finish",
    "heartbeat",
    "page requests/s",
    "service's processor s/s",
]


def main() -> None:
    """Measure, print a table, and write it to a file if `--out` is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", metavar="PATH|URL", help="measure on this one (default: a fresh SQLite file)")
    parser.add_argument("--postgres", action="store_true", help="measure on a Postgres of its own, too")
    parser.add_argument("--trials", type=int, nargs="+", default=[1000, 10_000], help="sizes of the study")
    parser.add_argument("--pages", type=int, nargs="+", default=[0, 20], help="how many pages are open")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long each case drives (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the table there, too")
    given = parser.parse_args()
    lines = [
        "# Watching, measured",
        "",
        f"Machine: {machine()}, load average {os.getloadavg()[0]:.1f} at the start.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    print("\n".join(lines), flush=True)
    with databases(given) as places, tempfile.TemporaryDirectory() as folder:
        for database, place in places.items():
            for num_trials, num_pages in itertools.product(given.trials, given.pages):
                measured = measure(place, f"{folder}/{database}", num_trials, num_pages, given.seconds)
                lines.append(row(database, num_trials, num_pages, measured))
                print(lines[-1], flush=True)
    lines += ["", f"    python {shlex.join(sys.argv)}"]
    if given.out is not None:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
