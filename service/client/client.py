"""The client that users import: all calls of the service, studies created from mappings, and trials run in a loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from service.client import open_trial as trials
from service.client import spec
from service.client.download import write_verified
from service.client.endpoints import Endpoints
from service.client.transport import Transport
from service.contract.study import StudySpec, StudyView


class Client(Endpoints):
    """A connection to one service. Threads may share it.

    Args:
        server: address of the service. Default: ASSAYER_SERVER, else http://127.0.0.1:8420.
        token: bearer token to send. Default: ASSAYER_TOKEN, else none.

    A study run from a notebook::

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
        """The address of the service."""
        return self._transport.server

    def create_study(self, study: StudySpec | Mapping[str, Any]) -> StudyView:
        """Create a study from a spec, or from a mapping with the structure of a study file.

        Raises:
            InvalidStudy: the mapping is not a study. The message has one sentence per mistake.
            Invalid: the service refuses the study, for example because a parameter has no effect on the task.
            Conflict: the project has a study of this name.
        """
        return self.post_study(study if isinstance(study, StudySpec) else spec.parse(study))

    def open_trial(self, study: str) -> trials.OpenTrial | None:
        """Claim a trial of a study, and wait while there is none. Return None when the study is done.

        The client renews the trial's lease until the trial is finished, failed or released.

        Raises:
            SearchFailed: the study is paused for its failures. The message says why.
        """
        return trials.open_trial(self, self._worker, study)

    def open_trials(self, study: str) -> Iterator[trials.OpenTrial]:
        """Claim trials of a study one after the other until the study is done.

        Enter each trial as a context manager, so that an exception is reported to the service. A trial that is still
        open at the next iteration is finished. A trial that is still open when the loop ends early is released.

        Raises:
            SearchFailed: the study is paused for its failures. The message says why.
        """
        while (trial := self.open_trial(study)) is not None:
            with trial:
                yield trial

    def save_blob(self, sha256: str, path: Path) -> bool:
        """Download a blob to a file and verify its hash.

        Return False if the content arrived damaged. The file at `path` is then unchanged, and the caller may retry.
        """
        return write_verified(path, sha256, self.get_blob(sha256))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
