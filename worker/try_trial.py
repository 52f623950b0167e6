"""The command `worker try`: runs one trial of a study on this machine, in the foreground, and records nothing."""

from __future__ import annotations

import argparse
import os
import pdb
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from service.client import Client, ClientError
from service.contract.attempt import Outcome
from service.contract.base import TaskKind
from service.contract.claim import Grant
from service.contract.command_line import parse
from worker.agent import DeviceError, cpu, gpus, num_cores
from worker.settings import add_code_and_data_options, data_folders, default_server

_EPILOG = """\
examples:
  worker try digits-mlp --trial 7                  train trial 7 again, to its end
  worker try digits-mlp --trial 7 --steps 20       20 steps of the optimizer, or 20 reports of your own function
  worker try mine --trial 0 --pdb                  and open the debugger where it raises

The command reads the trial from the service and sends nothing back: the study does not change."""


def main(arguments: Sequence[str], token: str | None = None) -> int:
    """Run one trial in the foreground.

    Args:
        arguments: The command line after `worker try`.
        token: The service's token; None uses ASSAYER_TOKEN, if it is set.

    Returns:
        The exit status: 0 when the trial ended well, 1 when it failed, 2 when it cannot be tried here, 130 after
            Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="assayer-") as folder:
        return _try(arguments, token, Path(folder))


def _try(arguments: Sequence[str], token: str | None, folder: Path) -> int:
    """Run the command with a temporary folder for downloads; returns the exit status."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    try:
        args = _parse(arguments)
        device = gpus([args.gpu])[0] if args.gpu is not None else cpu()
        with Client(args.server, token) as client:
            grant = client.grant(args.study, args.trial)
            _check(grant)
            teacher = _teacher(client, grant, folder / "teacher.pt")
    except (ClientError, DeviceError, _CannotTry) as error:
        return _print_error(error)
    os.environ["CUDA_VISIBLE_DEVICES"] = device.visible  # torch reads it when it is loaded
    # Like a worker that is started here, find the modules of functions in the working directory.
    sys.path.insert(0, str(Path.cwd()))
    console.print(f"trial {grant.number} of {grant.study_name}, seed {grant.seed}, on {device.device.name}")
    for name, value in grant.parameters.items():
        console.print(f"  {name} = {value}")
    began = time.perf_counter()
    try:
        outcome = _execute(console, grant, args, device.device.kind, teacher)
    except _CannotTry as error:
        return _print_error(error)
    except KeyboardInterrupt:
        return 130
    how = "failed" if outcome.has_failed else "ended"
    console.print(f"{how}: {outcome.message or 'training finished'}, after {time.perf_counter() - began:.1f} s")
    return int(outcome.has_failed)


class _CannotTry(Exception):
    """The trial cannot run in the foreground; the message says what to do instead."""


def _print_error(error: Exception) -> int:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"worker try: {error}")
    return 2


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker try", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", metavar="STUDY", help="name or id of the study")
    parser.add_argument("--trial", required=True, metavar="N", help="number of the trial")
    parser.add_argument("--steps", type=int, metavar="N", help="stop after this many steps (default: train to the end)")
    parser.add_argument("--pdb", action="store_true", help="open Python's debugger where the code raises")
    parser.add_argument("--gpu", type=int, metavar="N", help="train on this GPU (default: on the CPU)")
    parser.add_argument("--threads", type=int, default=num_cores(), metavar="N", help="CPU threads (%(default)s)")
    parser.add_argument("--server", default=default_server(), metavar="URL", help="the service (default: %(default)s)")
    add_code_and_data_options(parser)
    args = parse(parser, arguments)
    for name in ("steps", "threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise _CannotTry(f"--{name} {value} is not a whole number above 0")
    return args


def _check(grant: Grant) -> None:
    if grant.fork_at is not None:
        raise _CannotTry("a fork resumes from a checkpoint that `worker try` does not have; try the parent trial")
    match grant.task_kind:
        case TaskKind.EXTERNAL:
            raise _CannotTry("the study has no task; a caller of the service executes its trials, not a worker")
        case TaskKind.COMMAND:
            from worker.trial.tasks.command import command_line  # noqa: PLC0415 - loads torch

            raise _CannotTry(f"the trial's task is a command; start it yourself: {shlex.join(command_line(grant))}")
        case TaskKind.TRAIN | TaskKind.ESTIMATOR | TaskKind.FUNCTION:
            pass


def _teacher(client: Client, grant: Grant, path: Path) -> Path | None:
    """Download the teacher's checkpoint; None if the trial has no teacher trial."""
    if grant.teacher is None:
        return None
    if not client.save_blob(grant.teacher.sha256, path):
        raise _CannotTry("checksum mismatch in its teacher's checkpoint; retry")
    return path


def _execute(console: Console, grant: Grant, args: argparse.Namespace, device: str, teacher: Path | None) -> Outcome:
    try:
        import torch  # noqa: PLC0415 - slow to load, and the device is set only now
    except ImportError as error:
        raise _CannotTry(f"torch cannot be imported ({error}); pip install 'assayer[worker]'") from None

    from worker.trial.classify import failure_outcome  # noqa: PLC0415
    from worker.trial.foreground import execute_in_foreground  # noqa: PLC0415
    from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415

    try:
        register(args.register)
    except RegistrationFailed as error:
        raise _CannotTry(str(error)) from None

    def show(step: int, metrics: Mapping[str, float]) -> None:
        values = "  ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        console.print(f"{grant.resource} {step}: {values}")

    torch.set_num_threads(args.threads)
    try:
        return execute_in_foreground(
            grant,
            device=device,
            threads=args.threads,
            num_steps=args.steps,
            show=show,
            teacher=teacher,
            readable=data_folders(args.data),
        )
    except (Exception, SystemExit) as error:
        outcome = failure_outcome(error)
        if outcome.traceback is not None or args.pdb:
            traceback.print_exc()
        if args.pdb:
            pdb.post_mortem(error.__traceback__)
        return outcome
