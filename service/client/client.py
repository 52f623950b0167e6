"""The client people import: every call of the service, studies from mappings, and trials driven in a loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from service.client import spec, trials
from service.client.endpoints import Endpoints
from service.client.files import write_verified
from service.client.transport import Transport
from service.contract.study import StudySpec, StudyView


class Client(Endpoints):
    """A connection to one service; safe to share between threads.

    Args:
        server: address of the service; default ASSAYER_SERVER, else http://127.0.0.1:8420.
        token: sent as a bearer token; default ASSAYER_TOKEN, else none.

    A study driven from a notebook::

        client = Client()
        study = client.create_study({"name": "mine", "objective": {...}, "space": {...}, "budget": {"trials": 20}})
        for trial in client.open_trials(study.name):
            with trial:
                for step in range(1, 21):
                    trial.report(step, {"val/accuracy": train_one_epoch(**trial.parameters)})
                    if trial.should_stop:
                        break
        print(client.best(study.name).parameters)
    """

    def __init__(self, server: str | None = None, token: str | None = None) -> None:
        super().__init__(Transport(server, token))
        self._worker = trials.worker_name()

    @property
    def server(self) -> str:
        """The address calls go to."""
        return self._transport.server

    def create_study(self, study: StudySpec | Mapping[str, Any]) -> StudyView:
        """Create a study from a spec, or from a mapping written as the study file is.

        Raises:
            InvalidStudy: the mapping is no study; one sentence per mistake.
            Invalid: the service refuses it (a parameter reaches nothing in the task, say).
            Conflict: the project has a study of this name.
        """
        return self.post_study(study if isinstance(study, StudySpec) else spec.parse(study))

    def open_trial(self, study: str) -> trials.OpenTrial | None:
        """Claim a trial of a study, waiting while there is none; None when the study is done.

        Its lease is renewed until it is finished, failed or released.

        Raises:
            SearchFailed: the study is paused for its failures; says why.
        """
        return trials.open_trial(self, self._worker, study)

    def open_trials(self, study: str) -> Iterator[trials.OpenTrial]:
        """Claim trials of a study one after the other until it is done.

        Enter each as a context manager, so that an exception is told to the service. A trial still open when the loop
        comes around is finished; one still open when the loop is left is given back.

        Raises:
            SearchFailed: the study is paused for its failures; says why.
        """
        while (trial := self.open_trial(study)) is not None:
            with trial:
                yield trial

    def save_blob(self, sha256: str, path: Path) -> bool:
        """Download content to a file; False where it came damaged: then what was at `path` stays, and ask again."""
        return write_verified(path, sha256, self.get_blob(sha256))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
