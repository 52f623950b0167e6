"""The command `preflight`: starts a preflight, waits for it, and shows what its checks found."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from rich.console import Console

from service.cli.commands.output import note, print_answer
from service.cli.render.preflight_pages import preflight_page
from service.client import study_file
from service.client.client import Client
from service.client.errors import ClientError, Invalid, InvalidStudy, NotFound
from service.contract.preflight import CheckStatus
from service.contract.preflight_view import PreflightView
from service.contract.problem import ErrorCode
from service.contract.trial import TrialState

_POLL_SECONDS = 1.0
_OPEN = {TrialState.WAITING, TrialState.RUNNING}


def preflight(client: Client, arguments: argparse.Namespace) -> None:
    name = _name_of_study(client, arguments.name)
    view = _newest(client, name, again=arguments.again)
    if not arguments.no_wait:
        view = _wait(client, name, view)
    print_answer(arguments, view, preflight_page(view, name))
    if view.state not in _OPEN and (view.result is None or view.result.status is CheckStatus.FAILED):
        raise ClientError(f"the preflight of {name} did not pass")


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
    """Wait until the preflight has ended; meanwhile show on standard error why it has not."""
    if view.state not in _OPEN:
        return view
    with Console(stderr=True).status("") as status:
        while view.state in _OPEN:
            status.update(_progress(client, name, view))
            time.sleep(_POLL_SECONDS)
            view = client.preflight(name)
    return view


def _progress(client: Client, name: str, view: PreflightView) -> str:
    if view.state is TrialState.RUNNING:
        return f"worker {view.worker} checks {name}"
    reason = client.study(name).no_worker_reason
    return f"{name} waits for a worker" + (f": {reason}" if reason else "")
