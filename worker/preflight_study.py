"""The command `worker preflight`: checks a study file on this machine in seconds, and records nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from service.client import ClientError
from service.client.study_file import load
from service.contract.base import TaskKind
from service.contract.command_line import parse
from service.contract.study import StudySpec
from worker.agent import DeviceError, cpu, gpus, num_cores
from worker.settings import add_code_and_data_options, data_folders, positive_count, positive_seconds

if TYPE_CHECKING:
    from worker.training.preflight import Check, PreflightResult

_EPILOG = """\
examples:
  worker preflight study.yaml                      all checks, in the order of docs/preflight.md
  worker preflight study.yaml --only 3             overfit one batch
  worker preflight study.yaml --only 4 --json      the learning-rate range, with its curve
  worker preflight study.yaml --gpu 0 --seconds 60"""

_MARKS = {"passed": "[green]✓[/]", "warned": "[yellow]![/]", "failed": "[red]✗[/]", "not_run": "[dim]·[/]"}
_NUM_CHECKS = 10


def main(arguments: Sequence[str]) -> int:
    """Check a study file.

    Args:
        arguments: The command line after `worker preflight`.

    Returns:
        The exit status: 0 when no check failed (warnings included), 1 when one failed, 2 when the study cannot be
            checked here, 130 after Ctrl-C.
    """
    args = _parse(arguments)
    notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        spec = load(args.file, note=notes.print)
        if spec.task_kind is TaskKind.COMMAND and not args.allow_commands:
            raise _CannotCheck("the study's task is a command, which this would start; allow it with --allow-commands")
        device = gpus([args.gpu])[0] if args.gpu is not None else cpu()
        os.environ["CUDA_VISIBLE_DEVICES"] = device.visible  # torch reads it when it is loaded
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as a worker that is started here
        return _check(spec, args, device.device.kind)
    except KeyboardInterrupt:
        return 130
    except (ClientError, DeviceError, _CannotCheck) as error:
        notes.print(f"worker preflight: {error}")
        return 2


class _CannotCheck(Exception):
    """The study cannot be checked on this machine; the message says what to do instead."""


def _check(spec: StudySpec, args: argparse.Namespace, device: str) -> int:
    try:
        import torch  # noqa: PLC0415 - slow to load, and the device is set only now
    except ImportError as error:
        raise _CannotCheck(f"torch cannot be imported ({error}); pip install 'assayer[worker]'") from None

    from worker.training import TrainingError  # noqa: PLC0415
    from worker.training.preflight import Status  # noqa: PLC0415
    from worker.trial.preflight import preflight_study  # noqa: PLC0415
    from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415

    console = Console(soft_wrap=True, highlight=False)
    torch.set_num_threads(args.threads)
    try:
        register(args.register)
        result = preflight_study(
            spec,
            seconds=args.seconds,
            seed=args.seed,
            device=device,
            readable=data_folders(args.data),
            numbers=args.only or range(1, _NUM_CHECKS + 1),
            threads=args.threads,
            on_check=None if args.json else lambda check: _print(console, check),
        )
    except (RegistrationFailed, TrainingError) as error:
        raise _CannotCheck(str(error)) from None
    if args.json:
        sys.stdout.write(json.dumps(result.to_mapping(), indent=2, ensure_ascii=False) + "\n")
    else:
        console.print(_summary(result))
    return int(result.status is Status.FAILED)


def _print(console: Console, check: Check) -> None:
    """Print a check as a line, and its remedy below it."""
    console.print(f"{_MARKS[check.status]} {check.number:>2} {check.name:<20} ", end="")
    console.print(check.sentence, markup=False)
    if check.remedy is not None:
        console.print(f"{'':<26}→ {check.remedy}", markup=False)


def _summary(result: PreflightResult) -> str:
    counts = {status: sum(check.status == status for check in result.checks) for status in _MARKS}
    numbers = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count)
    return f"{numbers}; {result.seconds:.1f} s"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker preflight",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the study file")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=60.0,
        metavar="N",
        help="begin no check after this time (%(default)g)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        type=int,
        choices=range(1, _NUM_CHECKS + 1),
        metavar="NUMBER",
        help="only the checks of this number; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON, with all figures and curves")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws (%(default)s)")
    parser.add_argument("--gpu", type=int, metavar="N", help="check on this GPU (default: on the CPU)")
    parser.add_argument(
        "--threads", type=positive_count, default=num_cores(), metavar="N", help="CPU threads (%(default)s)"
    )
    add_code_and_data_options(parser)
    parser.add_argument("--allow-commands", action="store_true", help="start the program of a task of the kind command")
    return parse(parser, arguments)
