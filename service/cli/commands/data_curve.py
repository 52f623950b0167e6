"""The command `study data-curve`: trains on parts of a study file's data, and says what more data would give."""

from __future__ import annotations

import argparse
import subprocess

from pydantic import ValidationError

from service.cli.commands.local_worker import require_train_task, worker_command
from service.cli.commands.output import file_to_write, print_answer, progress_bar, write_page
from service.cli.data_curve.report import Trained, data_curve_report
from service.cli.render.data_curve_pages import data_curve_html, data_curve_page
from service.client.client import Client
from service.client.errors import ClientError

_OPTIONS = ("seeds", "gpu", "threads", "register", "data")
"""Options of `worker data-curve` that are handed over."""


def show_data_curve(client: Client, arguments: argparse.Namespace) -> None:
    """Train on parts of the data in a worker's process, and show the curve.

    Raises:
        ClientError: the worker's packages are missing, or the study can't be trained here.
    """
    del client  # the models are trained on this machine
    html = file_to_write("--html", arguments.html, ".html", ".htm")
    spec = require_train_task(arguments)
    trained = _run(arguments)
    objective = spec.primary_objective
    is_maximized = objective.direction == "maximize"
    report = data_curve_report(arguments.file, objective.metric, trained, is_maximized=is_maximized)
    if html is not None:
        write_page(html, data_curve_html(report))
    print_answer(arguments, report, data_curve_page(report))


def _run(arguments: argparse.Namespace) -> list[Trained]:
    """Run the worker's command, and show its progress; its messages go to standard error as they come."""
    trained: list[Trained] = []
    command = worker_command(arguments, "data-curve", options=_OPTIONS)
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,  # noqa: S603 - our own program
        progress_bar() as notice,
    ):
        assert process.stdout is not None
        notice("training", 0.0)
        for line in process.stdout:
            try:
                trained.append(Trained.model_validate_json(line))
            except ValidationError:
                continue  # a registered module may print
            notice(f"training {trained[-1].num_done} of {trained[-1].num_total}", len(trained) / trained[-1].num_total)
        status = process.wait()
    if status or not trained or len(trained) < trained[0].num_total:
        reason = "see the message above" if status == 2 else f"its worker ended with {status}"
        raise ClientError(f"study data-curve: the trainings could not be made; {reason}")
    return trained
