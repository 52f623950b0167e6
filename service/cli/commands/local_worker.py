"""What the commands share that train on this machine: the study they need, and the worker's process that trains.

The `study` command must not load torch, so it starts a command of the worker.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from service.cli.commands.output import note
from service.client import study_file
from service.client.errors import ClientError
from service.contract.base import TaskKind
from service.contract.study import StudySpec


def require_train_task(arguments: argparse.Namespace) -> StudySpec:
    """Return the spec of the command's study file, whose train task this machine can train.

    Raises:
        InvalidStudy: the file is not a study.
        ClientError: the study has another task, or the worker's packages are missing.
    """
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
    return spec


def worker_command(arguments: argparse.Namespace, command: str, *words: str, options: Sequence[str]) -> list[str]:
    """Return the words that start a command of the worker on the study file.

    Args:
        arguments: the parsed command line.
        command: the worker's command.
        words: its fixed options.
        options: the names of the options that are handed over if they are given.
    """
    started = [sys.executable, "-m", "worker", command, arguments.file, *words]
    for option in options:
        value = getattr(arguments, option)
        values = value if isinstance(value, list) else [] if value is None else [value]
        started += [f"--{option}={each}" for each in values]
    return started
