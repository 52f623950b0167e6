"""The command `preflight`: starts a preflight, waits for it, and shows what its checks found."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from service.cli.commands.output import note, print_answer
from service.cli.render.baseline_pages import baselines_table
from service.cli.render.preflight_pages import preflight_page
from service.client import study_file
from service.client.client import Client
from service.client.errors import ClientError, Invalid, InvalidStudy, NotFound
from service.contract.base import TaskKind
from service.contract.preflight import CheckStatus
from service.contract.preflight_view import PreflightView
from service.contract.problem import ErrorCode
from service.contract.study import StudyState, StudyView
from service.contract.trial import TrialState

_POLL_SECONDS = 1.0
_OPEN = {TrialState.WAITING, TrialState.RUNNING}


def preflight(client: Client, arguments: argparse.Namespace) -> None:
    name = _name_of_study(client, arguments.name)
    view = _newest(client, name, again=arguments.again)
    if not arguments.no_wait:
        view = _wait(client, name, view)
    print_answer(arguments, view, _page(client, name, view))
    if view.state not in _OPEN and (view.result is None or view.result.status is CheckStatus.FAILED):
        raise ClientError(f"the preflight of {name} did not pass")


def _page(client: Client, name: str, view: PreflightView) -> RenderableType:
    page = preflight_page(view, name)
    if view.result is None or not view.result.baselines:
        return page
    metrics = [objective.metric for objective in client.study(name).spec.objectives]
    return Group(page, Text(), baselines_table(view.result.baselines, metrics))


def _name_of_study(client: Client, name_or_file: str) -> str:
    """Return the study's name; create the study first if the argument is a study file."""
    if not (Path(name_or_file).is_file() or name_or_file.endswith((".yaml", ".yml"))):
        return name_or_file
    spec = study_file.load(name_or_file, note)
    try:
        study = client.create_study(spec.model_copy(update={"preflight": "review"}))
    except Invalid as refused:
        raise InvalidStudy(name_or_file, refused.errors) from None
    note(f"created {study.name}; its search waits for: study resume {study.name}")
    return study.name


def _newest(client: Client, name: str, *, again: bool) -> PreflightView:
    """Return the study's newest preflight; start one if there is none, or if another one is wanted."""
    if again:
        return client.start_preflight(name)
    try:
        return client.preflight(name)
    except NotFound as missing:
        if missing.code is not ErrorCode.UNKNOWN_TRIAL:
            raise
        return client.start_preflight(name)


def _wait(client: Client, name: str, view: PreflightView) -> PreflightView:
    """Wait until the preflight has ended; meanwhile show on standard error why it has not.

    Raises:
        ClientError: the study is paused, so no worker will begin the preflight.
    """
    if view.state not in _OPEN:
        return view
    lacking: str | None = None
    with Console(stderr=True).status("") as status:
        while view.state in _OPEN:
            progress = f"worker {view.worker} checks {name}"
            if view.state is TrialState.WAITING:
                progress = f"{name} waits for a worker"
                study = client.study(name)
                _require_active(study)
                before, lacking = lacking, _why_no_worker(client, study)
                if lacking not in (None, before):
                    note(f"{name} waits for a worker: {lacking}")
            status.update(progress)
            time.sleep(_POLL_SECONDS)
            view = client.preflight(name)
    return view


def _why_no_worker(client: Client, study: StudyView) -> str | None:
    """Return which worker is missing and how to start it; None: a worker that is connected may make the checks."""
    if study.no_worker_reason is not None:
        return study.no_worker_reason
    if any(worker.alive for worker in client.workers().workers):
        return None
    allowed = {TaskKind.FUNCTION: " --allow-functions", TaskKind.COMMAND: " --allow-commands"}
    command = f"worker --gpu 0 --server {client.server}{allowed.get(study.spec.task_kind, '')}"
    return f"no worker is connected; start one: {command} (or --cpu in place of --gpu 0)"


def _require_active(study: StudyView) -> None:
    """Refuse to wait for a preflight that no worker will get, because the study is paused.

    A preflight that a worker already makes goes on while the study is paused.
    """
    if study.state is StudyState.PAUSED:
        raise ClientError(
            f"{study.name} is paused: {study.state_reason or 'no reason recorded'}; its preflight waits until it is "
            f"resumed: study resume {study.name}, then: study preflight {study.name}"
        )
