"""Event streams under load: readers that close all at once do not disturb later readers."""

from __future__ import annotations

import contextlib
import threading
import uuid

import httpx
import pytest

from tests.support.service import Service
from tests.usecases.replica import spec_of

NUM_READERS = 20
NUM_ROUNDS = 3
WAIT_SECONDS = 30


def drive(service: Service, study: str, stopped: threading.Event) -> None:
    """Claim, report and finish until told to stop."""
    with httpx.Client(base_url=f"{service.url}/api/v1", timeout=WAIT_SECONDS, trust_env=False) as http:
        while not stopped.is_set():
            claim = {"request_id": uuid.uuid4().hex, "worker": "w", "studies": [study]}
            grant = http.post("/claims", json=claim | {"capabilities": {"tasks": ["external"]}}).json()
            place = f"/trials/{grant['trial']}/attempts/{grant['attempt']}"
            report = {"nonce": grant["nonce"], "sequence": 1, "points": [{"step": 1, "metrics": {"loss": 1.0}}]}
            http.post(f"{place}/reports", json=report).raise_for_status()
            finish = {"nonce": grant["nonce"], "outcome": {"result": "succeeded"}}
            http.post(f"{place}/finish", json=finish).raise_for_status()


@pytest.mark.prove
def test_a_new_page_hears_after_twenty_were_closed_at_once_under_load(service: Service) -> None:
    with httpx.Client(base_url=f"{service.url}/api/v1", timeout=WAIT_SECONDS, trust_env=False) as http:
        body = spec_of(name="busy", budget={"trials": 100_000}).model_dump(mode="json", exclude_none=True)
        http.post("/studies", json=body).raise_for_status()
        stopped = threading.Event()
        driver = threading.Thread(target=drive, args=(service, "busy", stopped))
        driver.start()
        try:
            for _ in range(NUM_ROUNDS):
                _close_at_once(service)
            with http.stream("GET", "/studies/busy/stream") as stream:
                events = (line for line in stream.iter_lines() if line.startswith("id:"))
                heard = [int(next(events).removeprefix("id: ")) for _ in range(3)]
        finally:
            stopped.set()
            driver.join()
    assert heard == sorted(set(heard)), "each event tells of a later revision"
    assert service.terminate(10) == 0


def _close_at_once(service: Service) -> None:
    """Open streams, wait until each has heard an event, and cut all connections in the same instant."""
    with contextlib.ExitStack() as hold:
        clients = [hold.enter_context(httpx.Client(timeout=WAIT_SECONDS, trust_env=False)) for _ in range(NUM_READERS)]
        for client in clients:
            stream = hold.enter_context(client.stream("GET", f"{service.url}/api/v1/studies/busy/stream"))
            assert next(stream.iter_lines()).startswith("id:")
