"""The command `worker`: reads the command line, selects the devices, and runs an agent until it is stopped."""

from __future__ import annotations

import argparse
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.logging import RichHandler

from service.client import Client, InvalidToken, ServiceUnreachable
from service.contract.base import TaskKind
from service.contract.command_line import parse
from worker.agent import (
    AcceptedWork,
    Agent,
    DeviceError,
    LocalDevice,
    ProcessSettings,
    RegistrationRefused,
    SlotPlan,
    StorageSettings,
    WorkerRefused,
    ZygoteFailed,
    cpu,
    gpus,
    in_use,
    num_cores,
)
from worker.agent.state_dir import DirectoryError, acquire
from worker.settings import (
    Settings,
    checkpoint_seconds,
    data_folder,
    data_folders,
    default_server,
    default_state_dir,
    host_name,
    module_name,
    positive_count,
)

log = logging.getLogger("worker")

_DESCRIPTION = """\
Train trials for an Assayer service. A worker claims a trial, trains it on its device, reports every epoch, and claims
the next one. Start one worker per machine. You may start and stop workers at any time: a stopped worker gives its
running trials back to the service, and the next worker on the machine sends the reports that it could not send."""

_EPILOG = """\
examples:
  worker --cpu                                     train on the CPU, for a service on this machine
  worker --gpu 0 --server http://tower:8420        train on the first GPU, for a service on another machine
  worker --gpu 0,1 --slots 2                       train two trials at a time on each of two GPUs
  worker --gpu 0,1,2,3 --devices-per-trial 2       train two trials at a time, each on two GPUs
  worker --cpu --study digits-mlp --until-done     end when this study is done
  worker --cpu --allow-functions                   also execute studies that call functions in this directory
  worker --cpu --register my_models                add the models, losses, … of my_models.py
  worker --cpu --data /srv/data --data .           let studies read data in these two folders
  worker --gpu 0 --for 11h30m --label room=cellar  end after 11.5 hours; offer a label to studies that require it
  worker try digits-mlp --trial 7 --steps 20       run one trial in the foreground and record nothing
  worker preflight study.yaml                      check a study file in seconds, before a search
  worker baselines study.yaml                      fit simple models on its data, to compare the search with
  worker export-model best.pt --out best.zip       write a checkpoint's model as a file that predicts
  worker predict best.zip --data new.csv --out predictions.csv
  worker doctor                                    check this machine and its connection to the service

environment:
  ASSAYER_SERVER   the service's address, if --server is not given
  ASSAYER_CHECKPOINT_SECONDS   the shortest time between two checkpoints of a training, in seconds (60)
  ASSAYER_TOKEN    the service's token, which training processes do not see

On Ctrl-C (or SIGTERM) the worker gives the running trials back and ends; on a second one it ends at once."""


def main(arguments: Sequence[str] | None = None, token: str | None = None) -> int:
    """Run a worker.

    Args:
        arguments: The command line without the program's name; None reads `sys.argv`.
        token: The service's token; None uses ASSAYER_TOKEN, if it is set.

    Returns:
        The exit status: 0 when the worker was stopped or its studies are done, 1 when the service refused the worker or
            training processes cannot start, 2 when the command line or the registered modules are unusable.
    """
    _configure_logging()
    try:
        settings = _parse(arguments)
        slots = _plan(_free(gpus(settings.gpus), share=settings.share) if settings.gpus else [cpu()], settings)
        client = Client(settings.server, token)
        umask = os.umask(0o077)  # only this user may read the agent's files; training processes get the old umask
        name, directory = acquire(settings.state_dir, settings.name or host_name(), exactly=settings.name is not None)
    except (_UsageError, DeviceError, InvalidToken, ServiceUnreachable, DirectoryError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False, markup=False).print(f"worker: {error}")
        return 2
    agent = Agent(
        client,
        name=name,
        slots=slots,
        work=AcceptedWork(
            studies=settings.studies,
            until_done=settings.until_done,
            tasks=settings.tasks,
            functions=settings.functions,
            labels=settings.labels,
        ),
        processes=ProcessSettings(
            checkpoint_seconds=settings.checkpoint_seconds,
            modules=settings.modules,
            pass_env=settings.pass_env,
            umask=umask,
            readable=settings.data,
            tensorboard=settings.tensorboard,
        ),
        storage=StorageSettings(
            directory=directory,
            disk_bytes=int(settings.disk_gib * 2**30),
            shared_directory=settings.shared_directory,
        ),
        work_seconds=settings.work_seconds,
    )
    _stop_on_signals(agent)
    log.info("worker %s for %s: %s; logs in %s", name, client.server, _describe_slots(slots), directory)
    log.info("studies may read files below %s", ", ".join(map(str, settings.data)))
    try:
        agent.work()
    except RegistrationRefused as error:
        log.error("%s", error)
        return 2
    except (WorkerRefused, ZygoteFailed) as error:
        log.error("%s", error)
        return 1
    return 0


class _UsageError(Exception):
    """An unusable command line, described in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        """Raise a one-sentence error instead of printing the usage."""
        raise _UsageError(f"{message} (see worker --help)")


def _parse(arguments: Sequence[str] | None) -> Settings:
    parser = _Parser(
        prog="worker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    devices = parser.add_mutually_exclusive_group()
    parser.add_argument("--version", action="version", version=f"assayer {version('assayer')}")
    devices.add_argument("--gpu", type=_gpu_numbers, metavar="N[,N…]", help="train on these GPUs, counted from 0")
    devices.add_argument("--cpu", action="store_true", help="train on the CPU")
    parser.add_argument("--server", default=default_server(), metavar="URL", help="the service (default: %(default)s)")
    parser.add_argument(
        "--slots", type=positive_count, default=1, metavar="N", help="trials at a time on each device (1)"
    )
    parser.add_argument(
        "--devices-per-trial",
        type=positive_count,
        default=1,
        metavar="N",
        help="number of GPUs that train one trial together; with --cpu, the number of processes (1)",
    )
    parser.add_argument(
        "--threads", type=positive_count, metavar="N", help="CPU threads per slot (default: cores / slots)"
    )
    parser.add_argument("--study", action="append", default=[], metavar="NAME", help="only this study; may be repeated")
    parser.add_argument("--until-done", action="store_true", help="end when the studies named by --study are done")
    parser.add_argument("--for", dest="work_seconds", type=_duration, metavar="11h30m", help="end after this time")
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        type=_label,
        metavar="K=V",
        help="a label that studies may require; may be repeated",
    )
    parser.add_argument("--share", action="store_true", help="also train on GPUs that other processes use")
    parser.add_argument("--name", type=_name, help="the worker's name (default: the host's name)")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default_state_dir(),
        metavar="DIR",
        help="directory of unsent results and logs (default: %(default)s)",
    )
    parser.add_argument(
        "--disk-gib",
        type=_gib,
        default=20.0,
        metavar="N",
        help="disk space for checkpoints of ended attempts; the oldest are deleted first (default: %(default)g)",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="store checkpoints in this directory, which all workers must share at this path; upload none",
    )
    parser.add_argument(
        "--register",
        action="append",
        default=[],
        type=module_name,
        metavar="MODULE",
        help="import this module, which adds custom models, losses, …; it is searched in the working directory first; "
        "may be repeated",
    )
    parser.add_argument(
        "--pass-env",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME",
        help="pass this environment variable to training processes, or with PREFIX_* all with that prefix; may be "
        "repeated (always passed: PATH, HOME, LANG, PYTHON…, CUDA_… and so on, except names that look like secrets)",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=data_folder,
        metavar="DIR",
        help="folder below which studies may name data, tokenizers, models and teachers by path; may be repeated "
        "(default: the working directory)",
    )
    parser.add_argument(
        "--tensorboard",
        type=_event_directory,
        metavar="DIR",
        help="write TensorBoard event files to DIR/STUDY/trial-0007/attempt-1",
    )
    parser.add_argument(
        "--allow-functions",
        nargs="?",
        const=(),
        type=_modules,
        metavar="MODULE[,…]",
        help="execute studies whose task is a Python function (only of these modules and packages, if any are named); "
        "modules are searched in the working directory first",
    )
    parser.add_argument(
        "--allow-commands",
        action="store_true",
        help="execute studies whose task is a command; it is started in the working directory",
    )
    args = parse(parser, arguments)
    if args.gpu is None and not args.cpu:
        raise _UsageError("name the devices to train on: --gpu 0 for the first GPU, or --cpu")
    if args.cpu and args.share:
        raise _UsageError("--share applies only to GPUs, and --cpu uses none; leave out one of them")
    labels: dict[str, str] = {}
    for key, value in args.label:
        if labels.setdefault(key, value) != value:
            raise _UsageError(f"--label {key}={labels[key]} and --label {key}={value} contradict each other; keep one")
    if args.until_done and not args.study:
        raise _UsageError("--until-done requires the studies to wait for; name them with --study NAME")
    if args.checkpoints is not None and not os.access(args.checkpoints, os.W_OK | os.X_OK):
        raise _UsageError(
            f"cannot write to --checkpoints {args.checkpoints}; mount it on this machine, or leave --checkpoints out"
        )
    try:
        seconds = checkpoint_seconds()
    except ValueError as error:
        raise _UsageError(f"ASSAYER_CHECKPOINT_SECONDS must be a number of seconds ({error})") from None
    return Settings(
        gpus=args.gpu or (),
        server=args.server,
        slots=args.slots,
        devices_per_trial=args.devices_per_trial,
        threads=args.threads,
        studies=tuple(args.study),
        name=args.name,
        state_dir=args.state_dir.absolute(),
        until_done=args.until_done,
        checkpoint_seconds=seconds,
        labels=labels,
        work_seconds=args.work_seconds,
        share=args.share,
        disk_gib=args.disk_gib,
        shared_directory=args.checkpoints.absolute() if args.checkpoints is not None else None,
        tensorboard=args.tensorboard,
        tasks=(
            TaskKind.TRAIN,
            TaskKind.ESTIMATOR,
            *([TaskKind.FUNCTION] if args.allow_functions is not None else []),
            *([TaskKind.COMMAND] if args.allow_commands else []),
        ),
        functions=args.allow_functions or None,
        modules=tuple(args.register),
        pass_env=tuple(args.pass_env),
        data=data_folders(args.data),
    )


def _gpu_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU numbers, such as 0 or 0,1")
    return numbers


def _modules(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise argparse.ArgumentTypeError(f"{name!r} is not a module, such as my_project or my_project.training")
    return names


def _free(devices: Sequence[LocalDevice], *, share: bool) -> list[LocalDevice]:
    """Return the devices that no other process uses; with `share`, return all devices."""
    usage = {} if share else {device.label: use for device in devices if (use := in_use(device))}
    reason = "; ".join(f"{label} is not used: {use}" for label, use in usage.items())
    if len(usage) == len(devices):
        raise DeviceError(f"{reason}; name another GPU, or share it with --share")
    if usage:
        log.warning("%s (use it all the same with --share)", reason)
    return [device for device in devices if device.label not in usage]


def _duration(text: str) -> float:
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    parts = match.groups() if match else (0, 0, 0)
    seconds = sum(int(part or 0) * size for part, size in zip(parts, (3600, 60, 1), strict=True))
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration, such as 11h30m, 45m or 90s")
    return float(seconds)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not a label, such as room=cellar")
    return key, value


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\*?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a variable, such as HF_TOKEN, or a prefix, such as AWS_*")
    if text == "ASSAYER_TOKEN":
        raise argparse.ArgumentTypeError("the service's token is never passed to training processes; leave it out")
    return text


def _event_directory(text: str) -> Path:
    if find_spec("tensorboard") is None:
        raise argparse.ArgumentTypeError("tensorboard is not installed; run pip install 'assayer[tensorboard]'")
    directory = Path(text).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot create this directory: {error}") from None
    return directory


def _gib(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GiB, such as 20")
    return number


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a worker name: use up to 64 letters, digits, '.', '_', '-'; begin with a letter or digit"
        )
    return text


def _plan(devices: Sequence[LocalDevice], settings: Settings) -> list[SlotPlan]:
    """Group the devices into slots; with --cpu, the processor is one group."""
    num = settings.devices_per_trial
    # With --cpu, the list repeats the processor once for each process of a trial.
    repeated = list(devices) if settings.gpus else [*devices] * num
    groups = [repeated[first : first + num] for first in range(0, len(repeated), num)]
    if len(groups[-1]) < num:
        names = ", ".join(device.label for device in repeated)
        raise _UsageError(f"--devices-per-trial {num} does not divide the number of GPUs, {len(repeated)}: {names}")
    threads = settings.threads or max(1, num_cores() // (settings.slots * len(groups)))
    labels = [
        ".".join([group[0].label, *(str(gpu.device.index) for gpu in group[1:] if settings.gpus)]) for group in groups
    ]
    return [
        SlotPlan(label if number == 0 else f"{label}-{number + 1}", group, threads)
        for label, group in zip(labels, groups, strict=True)
        for number in range(settings.slots)
    ]


def _describe_slots(slots: Sequence[SlotPlan]) -> str:
    threads = slots[0].threads
    names = ", ".join(f"{slot.name} ({slot.title})" for slot in slots)
    return f"{names}, {threads} thread{'s' if threads > 1 else ''} each"


def _configure_logging() -> None:
    # A terminal gets colours. A file gets whole lines, because Rich would wrap them at a guessed width.
    plain = logging.StreamHandler()
    plain.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    rich = RichHandler(console=Console(stderr=True), show_path=False, log_time_format="%X")
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[rich if sys.stderr.isatty() else plain])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # httpx logs every request at level INFO


def _stop_on_signals(agent: Agent) -> None:
    """Stop the agent on the first SIGINT or SIGTERM; on the second, exit at once."""
    is_stopping = False

    def on_signal(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature that `signal` requires
        nonlocal is_stopping
        if is_stopping:
            agent.abandon()
            # Nothing is lost: the outbox is on disk, and the zygotes end their training processes when this one exits.
            os._exit(128 + signum)
        is_stopping = True
        log.info("stopping: giving the running trials back to the service")
        agent.stop()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
