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
    Agent,
    DeviceError,
    LocalDevice,
    RegistrationRefused,
    SlotPlan,
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
)

log = logging.getLogger("worker")

_DESCRIPTION = """\
Train trials for an Assayer service. A worker asks the service for a trial, trains it on its device, reports every
epoch, and asks for the next. Start one per machine; start and stop them whenever you like: what a worker was
training when it stopped goes back to the service, and what it could not yet tell is told by the next one."""

_EPILOG = """\
examples:
  worker --cpu                                     on the processor, for a service on this machine
  worker --gpu 0 --server http://tower:8420        on the first GPU, for a service elsewhere
  worker --gpu 0,1 --slots 2                       two trials at a time on each of two GPUs
  worker --gpu 0,1,2,3 --devices-per-trial 2       two trials at a time, each on two GPUs together
  worker --cpu --study digits-mlp --until-done     until that study is done
  worker --cpu --allow-functions                   also studies that call functions from this directory
  worker --cpu --register my_models                also studies whose models, losses, … my_models.py adds
  worker --cpu --data /srv/data --data .           for studies whose data lie there, or below this directory
  worker --gpu 0 --for 11h30m --label room=cellar  for so long; for studies that require this label
  worker try digits-mlp --trial 7 --steps 20       one trial in the foreground, recorded nowhere
  worker doctor                                    is all well on this machine, and the service in reach

environment:
  ASSAYER_SERVER   the service's address, where --server is not given
  ASSAYER_CHECKPOINT_SECONDS   the shortest time between two checkpoints of a training (60)
  ASSAYER_TOKEN    the token that a service on another machine asks for; hidden from training processes

Ctrl-C (or SIGTERM) gives the running trials back and ends; a second one ends at once."""


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
        studies=settings.studies,
        until_done=settings.until_done,
        directory=directory,
        checkpoint_seconds=settings.checkpoint_seconds,
        labels=settings.labels,
        work_seconds=settings.work_seconds,
        disk_bytes=int(settings.disk_gib * 2**30),
        shared_directory=settings.shared_directory,
        tensorboard=settings.tensorboard,
        tasks=settings.tasks,
        functions=settings.functions,
        modules=settings.modules,
        pass_env=settings.pass_env,
        umask=umask,
        readable=settings.data,
    )
    _stop_on_signals(agent)
    log.info("worker %s for %s: %s; logs in %s", name, client.server, _places(slots), directory)
    log.info("studies may name files below %s", ", ".join(map(str, settings.data)))
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
        raise _UsageError(f"{message} (worker --help explains)")


def _parse(arguments: Sequence[str] | None) -> Settings:
    parser = _Parser(
        prog="worker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    place = parser.add_mutually_exclusive_group()
    parser.add_argument("--version", action="version", version=f"assayer {version('assayer')}")
    place.add_argument("--gpu", type=_gpu_numbers, metavar="N[,N…]", help="train on these GPUs, counted from 0")
    place.add_argument("--cpu", action="store_true", help="train on the processor")
    parser.add_argument("--server", default=default_server(), metavar="URL", help="the service (default: %(default)s)")
    parser.add_argument("--slots", type=_positive, default=1, metavar="N", help="trials at a time on each device (1)")
    parser.add_argument(
        "--devices-per-trial",
        type=_positive,
        default=1,
        metavar="N",
        help="train each trial on so many of the GPUs together; with --cpu, in so many processes (1)",
    )
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads per slot (default: cores / slots)")
    parser.add_argument("--study", action="append", default=[], metavar="NAME", help="only this study; may be repeated")
    parser.add_argument("--until-done", action="store_true", help="end when the studies named by --study are done")
    parser.add_argument("--for", dest="work_seconds", type=_duration, metavar="11h30m", help="work so long, then end")
    parser.add_argument(
        "--label", action="append", default=[], type=_label, metavar="K=V", help="what studies may require; repeatable"
    )
    parser.add_argument("--share", action="store_true", help="train on a GPU that other processes use already, too")
    parser.add_argument("--name", type=_name, help="what the service calls this worker (default: the host's name)")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default_state_dir(),
        metavar="DIR",
        help="where unsent results and logs are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--disk-gib",
        type=_gib,
        default=20.0,
        metavar="N",
        help="what checkpoints of ended attempts may take here; the oldest go first (default: %(default)g)",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        metavar="DIR",
        help="keep checkpoints in this directory, which all workers see at this path, and upload none",
    )
    parser.add_argument(
        "--register",
        action="append",
        default=[],
        type=module_name,
        metavar="MODULE",
        help="import this module, as from this directory: it adds models, losses, … of your own; may be repeated",
    )
    parser.add_argument(
        "--pass-env",
        action="append",
        default=[],
        type=_variable,
        metavar="NAME",
        help="let training processes see this environment variable, with PREFIX_* all that begin so; may be "
        "repeated (without it: PATH, HOME, LANG, PYTHON…, CUDA_…, and so on, and nothing that looks like a secret)",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=data_folder,
        metavar="DIR",
        help="read data, tokenizers, models and teachers that a study names by path only below this folder; may be "
        "repeated (default: the working directory)",
    )
    parser.add_argument(
        "--tensorboard",
        type=_event_directory,
        metavar="DIR",
        help="write event files for TensorBoard there: DIR/STUDY/trial-0007/attempt-1",
    )
    parser.add_argument(
        "--allow-functions",
        nargs="?",
        const=(),
        type=_modules,
        metavar="MODULE[,…]",
        help="execute studies whose task is a Python function (of these modules and packages only, if any are named); "
        "it is imported as from this directory",
    )
    parser.add_argument(
        "--allow-commands",
        action="store_true",
        help="execute studies whose task is a command; it starts here",
    )
    given = parse(parser, arguments)
    if given.gpu is None and not given.cpu:
        raise _UsageError("say where to train: --gpu 0 for the first GPU, or --cpu")
    if given.cpu and given.share:
        raise _UsageError("--share is for GPUs that others use, and --cpu trains on none; leave one of the two out")
    labels: dict[str, str] = {}
    for key, value in given.label:
        if labels.setdefault(key, value) != value:
            raise _UsageError(f"--label {key}={labels[key]} and --label {key}={value} contradict; keep one")
    if given.until_done and not given.study:
        raise _UsageError("--until-done needs to know which studies: name them with --study NAME")
    if given.checkpoints is not None and not os.access(given.checkpoints, os.W_OK | os.X_OK):
        raise _UsageError(
            f"cannot write to --checkpoints {given.checkpoints}; mount it here, or leave --checkpoints out"
        )
    try:
        seconds = checkpoint_seconds()
    except ValueError as error:
        raise _UsageError(f"ASSAYER_CHECKPOINT_SECONDS must be a number of seconds ({error})") from None
    return Settings(
        gpus=given.gpu or (),
        server=given.server,
        slots=given.slots,
        devices_per_trial=given.devices_per_trial,
        threads=given.threads,
        studies=tuple(given.study),
        name=given.name,
        state_dir=given.state_dir.absolute(),
        until_done=given.until_done,
        checkpoint_seconds=seconds,
        labels=labels,
        work_seconds=given.work_seconds,
        share=given.share,
        disk_gib=given.disk_gib,
        shared_directory=given.checkpoints.absolute() if given.checkpoints is not None else None,
        tensorboard=given.tensorboard,
        tasks=(
            TaskKind.TRAIN,
            *([TaskKind.FUNCTION] if given.allow_functions is not None else []),
            *([TaskKind.COMMAND] if given.allow_commands else []),
        ),
        functions=given.allow_functions or None,
        modules=tuple(given.register),
        pass_env=tuple(given.pass_env),
        data=data_folders(given.data),
    )


def _gpu_numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0 or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of GPU numbers such as 0 or 0,1")
    return numbers


def _modules(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise argparse.ArgumentTypeError(f"{name!r} is not a module such as my_project or my_project.training")
    return names


def _free(devices: Sequence[LocalDevice], *, share: bool) -> list[LocalDevice]:
    """Return the devices that no other process uses; with `share`, return all devices."""
    taken = {} if share else {device.label: use for device in devices if (use := in_use(device))}
    told = "; ".join(f"{label} is left alone: {use}" for label, use in taken.items())
    if len(taken) == len(devices):
        raise DeviceError(f"{told}; name another GPU, or share it with --share")
    if taken:
        log.warning("%s (--share takes it all the same)", told)
    return [device for device in devices if device.label not in taken]


def _duration(text: str) -> float:
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    seconds = (
        sum(int(part or 0) * size for part, size in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0
    )
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 11h30m, 45m or 90s")
    return float(seconds)


def _label(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not a label such as room=cellar")
    return key, value


def _variable(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*\*?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a variable's name such as HF_TOKEN, or a beginning: AWS_*")
    if text == "ASSAYER_TOKEN":
        raise argparse.ArgumentTypeError("training processes never see the service's token; leave it out")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _event_directory(text: str) -> Path:
    if find_spec("tensorboard") is None:
        raise argparse.ArgumentTypeError("tensorboard is not installed here; pip install 'assayer[tensorboard]'")
    directory = Path(text).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot make this directory: {error}") from None
    return directory


def _gib(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of GiB such as 20")
    return number


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} cannot be a worker's name: use up to 64 letters, digits, '.', '_', '-', a letter or digit first"
        )
    return text


def _plan(devices: Sequence[LocalDevice], settings: Settings) -> list[SlotPlan]:
    """Group the devices into slots; with --cpu, the processor is one group."""
    num = settings.devices_per_trial
    # With --cpu, the list repeats the processor once for each process of a trial.
    each = list(devices) if settings.gpus else [*devices] * num
    groups = [each[first : first + num] for first in range(0, len(each), num)]
    if len(groups[-1]) < num:
        names = ", ".join(device.label for device in each)
        raise _UsageError(
            f"--devices-per-trial {num} does not divide the {len(each)} GPUs there are to train on: {names}"
        )
    threads = settings.threads or max(1, num_cores() // (settings.slots * len(groups)))
    labels = [
        ".".join([group[0].label, *(str(gpu.device.index) for gpu in group[1:] if settings.gpus)]) for group in groups
    ]
    return [
        SlotPlan(label if number == 0 else f"{label}-{number + 1}", group, threads)
        for label, group in zip(labels, groups, strict=True)
        for number in range(settings.slots)
    ]


def _places(slots: Sequence[SlotPlan]) -> str:
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
    told = False

    def on_signal(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature that `signal` requires
        nonlocal told
        if told:
            agent.abandon()
            # Nothing is lost: the outbox is on disk, and the zygotes end their training processes when this one exits.
            os._exit(128 + signum)
        told = True
        log.info("stopping: running trials go back to the service")
        agent.stop()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
