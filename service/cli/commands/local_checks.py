"""The commands `overfit` and `lr-range`: one check of a study file on this machine, without a service, with a plot.

The checks are the worker's. The `study` command must not load torch, so it starts `worker preflight` as a process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from pydantic import ValidationError

from service.cli.commands.output import note, print_answer
from service.cli.render.check_pages import check_html, check_page, check_svg
from service.client import study_file
from service.client.client import Client
from service.client.errors import ClientError, invalid_study
from service.contract.base import TaskKind
from service.contract.preflight import CheckStatus, PreflightResult

_NUMBERS = {"overfit": 3, "lr-range": 4}
_TITLES = {"overfit": "One batch overfitted", "lr-range": "Learning-rate range"}
_OPTIONS = ("seconds", "seed", "gpu", "threads", "register", "data")
"""Options of `worker preflight` that are handed over."""


def check_locally(client: Client, arguments: argparse.Namespace) -> None:
    """Run the command's check of a study file in a worker's process, and show it.

    Raises:
        ClientError: the worker's packages are missing, the study can't be checked here, or the check failed.
    """
    del client  # the model is trained on this machine
    svg, html = _plot_file("--svg", arguments.svg, ".svg"), _plot_file("--html", arguments.html, ".html", ".htm")
    spec = study_file.load(arguments.file, note)
    if spec.task_kind is not TaskKind.TRAIN:
        kind = {TaskKind.EXTERNAL: "no task"}.get(spec.task_kind, f"a {spec.task_kind}")
        remedy = f"worker preflight {arguments.file} checks functions and commands"
        raise ClientError(
            f"study {arguments.command} trains the model of a train task, and the study has {kind}; {remedy}"
        )
    if find_spec("torch") is None:
        remedy = "pip install 'assayer[worker]', or run study preflight, whose checks a worker makes elsewhere"
        raise ClientError(
            f"study {arguments.command} trains on this machine, and the worker's packages are missing: {remedy}"
        )
    result = _run(arguments)
    title = _TITLES[arguments.command]
    if svg is not None and (plot := check_svg(result, title)) is not None:
        _write(svg, plot)
    if html is not None:
        _write(html, check_html(result, title, arguments.file))
    print_answer(arguments, result, check_page(result))
    if result.status is CheckStatus.FAILED:
        raise ClientError(f"{arguments.file} did not pass: {result.checks[0].name}")


def _run(arguments: argparse.Namespace) -> PreflightResult:
    """Run the worker's command; its messages go to standard error as they come."""
    command = [sys.executable, "-m", "worker", "preflight", arguments.file, "--json"]
    command += ["--only", str(_NUMBERS[arguments.command])]
    for option in _OPTIONS:
        value = getattr(arguments, option)
        values = value if isinstance(value, list) else [] if value is None else [value]
        command += [f"--{option}={each}" for each in values]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own program
    try:
        mapping = json.loads(ended.stdout)
        return PreflightResult.model_validate({name: value for name, value in mapping.items() if name != "status"})
    except (ValueError, ValidationError):
        reason = "see the message above" if ended.returncode == 2 else f"its worker ended with {ended.returncode}"
        raise ClientError(f"study {arguments.command}: the check could not be made; {reason}") from None


def _plot_file(option: str, given: str | None, *endings: str) -> Path | None:
    """Return the file to write, before any time is spent on the check."""
    if given is None:
        return None
    path = Path(given)
    if path.suffix.lower() not in endings:
        raise invalid_study(option, f"the file's name must end with {endings[0]}, got {given!r}")
    if not path.parent.is_dir():
        raise invalid_study(option, f"there is no folder {path.parent}; make it first")
    return path


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise invalid_study(path, f"cannot be written: {error.strerror}") from None
    note(f"wrote {path}")
