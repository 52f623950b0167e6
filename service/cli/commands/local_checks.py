"""The commands `overfit` and `lr-range`: one check of a study file on this machine, without a service, with a plot.

The checks are the worker's. The `study` command must not load torch, so it starts `worker preflight` as a process.
"""

from __future__ import annotations

import argparse
import json
import subprocess

from pydantic import ValidationError

from service.cli.commands.local_worker import require_train_task, worker_command
from service.cli.commands.output import file_to_write, print_answer, write_page
from service.cli.render.check_pages import check_html, check_page, check_svg
from service.client.client import Client
from service.client.errors import ClientError
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
    svg = file_to_write("--svg", arguments.svg, ".svg")
    html = file_to_write("--html", arguments.html, ".html", ".htm")
    require_train_task(arguments)
    result = _run(arguments)
    title = _TITLES[arguments.command]
    if svg is not None and (plot := check_svg(result, title)) is not None:
        write_page(svg, plot)
    if html is not None:
        write_page(html, check_html(result, title, arguments.file))
    print_answer(arguments, result, check_page(result))
    if result.status is CheckStatus.FAILED:
        raise ClientError(f"{arguments.file} did not pass: {result.checks[0].name}")


def _run(arguments: argparse.Namespace) -> PreflightResult:
    """Run the worker's command; its messages go to standard error as they come."""
    only = str(_NUMBERS[arguments.command])
    command = worker_command(arguments, "preflight", "--json", "--only", only, options=_OPTIONS)
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own program
    try:
        mapping = json.loads(ended.stdout)
        return PreflightResult.model_validate({name: value for name, value in mapping.items() if name != "status"})
    except (ValueError, ValidationError):
        reason = "see the message above" if ended.returncode == 2 else f"its worker ended with {ended.returncode}"
        raise ClientError(f"study {arguments.command}: the check could not be made; {reason}") from None
