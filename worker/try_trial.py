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
from worker.settings import data_folder, data_folders, default_server, module_name

_EPILOG = """\
examples:
  worker try digits-mlp --trial 7                  train trial 7 again, to its end
  worker try digits-mlp --trial 7 --steps 20       20 steps of the optimizer, or 20 reports of your own function
  worker try mine --trial 0 --pdb                  and look around where it raises

The service is asked for the trial and told nothing: its study does not change."""


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
        given = _parse(arguments)
        device = gpus([given.gpu])[0] if given.gpu is not None else cpu()
        with Client(given.server, token) as client:
            grant = client.grant(given.study, given.trial)
            _check(grant)
            teacher = _teacher(client, grant, folder / "teacher.pt")
    except (ClientError, DeviceError, _CannotTry) as error:
        return _refused(error)
    os.environ["CUDA_VISIBLE_DEVICES"] = device.visible  # torch reads it when it is loaded
    # Like a worker that is started here, find the modules of functions in the working directory.
    sys.path.insert(0, str(Path.cwd()))
    console.print(f"trial {grant.number} of {grant.study_name}, seed {grant.seed}, on {device.device.name}")
    for name, value in grant.parameters.items():
        console.print(f"  {name} = {value}")
    began = time.perf_counter()
    try:
        outcome = _carry_out(console, grant, given, device.device.kind, teacher)
    except _CannotTry as error:
        return _refused(error)
    except KeyboardInterrupt:
        return 130
    how = "failed" if outcome.has_failed else "ended"
    console.print(f"{how}: {outcome.message or 'trained to its end'}, after {time.perf_counter() - began:.1f} s")
    return int(outcome.has_failed)


class _CannotTry(Exception):
    """The trial cannot run in the foreground; the message says what to do instead."""


def _refused(error: Exception) -> int:
    Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"worker try: {error}")
    return 2


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker try", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", metavar="STUDY", help="name or id of the study")
    parser.add_argument("--trial", required=True, metavar="N", help="number of the trial")
    parser.add_argument("--steps", type=int, metavar="N", help="end after so many steps (default: train to the end)")
    parser.add_argument("--pdb", action="store_true", help="where it raises, begin Python's debugger")
    parser.add_argument("--gpu", type=int, metavar="N", help="on this GPU (default: on the processor)")
    parser.add_argument("--threads", type=int, default=num_cores(), metavar="N", help="CPU threads (%(default)s)")
    parser.add_argument("--server", default=default_server(), metavar="URL", help="the service (default: %(default)s)")
    parser.add_argument(
        "--register", action="append", default=[], type=module_name, metavar="MODULE", help="as of the worker"
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=data_folder,
        metavar="DIR",
        help="as of the worker (default: this directory)",
    )
    given = parse(parser, arguments)
    for name in ("steps", "threads"):
        if (value := getattr(given, name)) is not None and value < 1:
            raise _CannotTry(f"--{name} {value} is not a whole number above 0")
    return given


def _check(grant: Grant) -> None:
    if grant.fork_at is not None:
        raise _CannotTry("a fork begins from a checkpoint of its parent, which is not here; try the parent")
    match grant.task_kind:
        case TaskKind.EXTERNAL:
            raise _CannotTry("a study without a task is driven by a caller of the service; there is nothing to try")
        case TaskKind.COMMAND:
            from worker.trial.tasks.command import command_line  # noqa: PLC0415 - loads torch

            raise _CannotTry(f"a command is tried by starting it: {shlex.join(command_line(grant))}")
        case TaskKind.TRAIN | TaskKind.FUNCTION:
            pass


def _teacher(client: Client, grant: Grant, path: Path) -> Path | None:
    """Download the teacher's checkpoint; None if the trial has no teacher trial."""
    if grant.teacher is None:
        return None
    if not client.save_blob(grant.teacher.sha256, path):
        raise _CannotTry("its teacher's checkpoint came damaged; try again")
    return path


def _carry_out(console: Console, grant: Grant, given: argparse.Namespace, device: str, teacher: Path | None) -> Outcome:
    import torch  # noqa: PLC0415 - slow to load, and the device is set only now

    from worker.trial.classify import failed  # noqa: PLC0415
    from worker.trial.foreground import carry_out  # noqa: PLC0415
    from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415

    try:
        register(given.register)
    except RegistrationFailed as error:
        raise _CannotTry(str(error)) from None

    def say(step: int, metrics: Mapping[str, float]) -> None:
        told = "  ".join(f"{name} {value:.5g}" for name, value in metrics.items())
        console.print(f"{grant.resource} {step}: {told}")

    torch.set_num_threads(given.threads)
    try:
        return carry_out(
            grant,
            device=device,
            threads=given.threads,
            num_steps=given.steps,
            say=say,
            teacher=teacher,
            readable=data_folders(given.data),
        )
    except (Exception, SystemExit) as error:
        outcome = failed(error)
        if outcome.traceback is not None or given.pdb:
            traceback.print_exc()
        if given.pdb:
            pdb.post_mortem(error.__traceback__)
        return outcome
