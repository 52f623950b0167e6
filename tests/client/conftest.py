"""Shared by tests of the `study` command, which run it in this process against one service."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.cli.main import main
from service.client import Client
from tests.client.studies import hand_driven
from tests.support.service import Service


class Study:
    """Calls `study` in this process against one service and keeps what it wrote."""

    def __init__(self, client: Client, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.client = client

    def __call__(self, *words: str, status: int = 0, shows_traceback: bool = False) -> str:
        assert main(["--server", self.client.server, *words]) == status
        out, err = self._capsys.readouterr()
        assert ("Traceback" in out + err) == shows_traceback
        return out if status == 0 else err

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def create(self, **changes: Any) -> str:
        return self.client.create_study(hand_driven(**changes)).name

    def finish(self, name: str) -> None:
        for trial in self.client.open_trials(name):
            trial.report(1, {"val/accuracy": 0.7 + (trial.number or 0) / 100})
            trial.report(2, {"val/accuracy": 0.6})


@pytest.fixture
def study(
    shared_service: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Study]:
    monkeypatch.setenv("COLUMNS", "200")
    with Client(shared_service.url) as client:
        yield Study(client, capsys)
