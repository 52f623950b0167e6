"""The worker's settings from its command line and environment, as one frozen value that is passed down."""

from __future__ import annotations

import argparse
import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from service.contract.base import TaskKind

DEFAULT_SERVER = "http://127.0.0.1:8420"


@dataclass(frozen=True)
class Settings:
    """The settings of one worker.

    Attributes:
        gpus: GPU numbers, counted from 0; empty: train on the CPU.
        server: The service's address.
        slots: Number of trials at a time on each device.
        devices_per_trial: Number of devices that train one trial together.
        threads: CPU threads per slot; None divides the cores among the slots.
        studies: Names of the studies to work for; empty: all.
        name: The worker's name; None derives one from the host's name.
        state_dir: The directory of outbox, logs and attempts of this user's workers.
        until_done: Whether the worker ends when its studies are done.
        checkpoint_seconds: The shortest time between two checkpoints of a training.
        labels: Labels that studies may require.
        work_seconds: How long the worker works; None: until it is stopped.
        share: Whether to train on a GPU that other processes use.
        disk_gib: Disk budget for checkpoints in GiB; only checkpoints of ended attempts are deleted to meet it.
        shared_directory: Where checkpoints are kept; None uploads them to the service.
        tensorboard: Where TensorBoard event files are written; None writes none.
        tasks: The kinds of task that the worker executes.
        functions: Modules whose functions the worker may call; None: any module, if `tasks` allows functions.
        modules: Custom modules to register.
    """

    gpus: tuple[int, ...]
    server: str
    slots: int
    devices_per_trial: int
    threads: int | None
    studies: tuple[str, ...]
    name: str | None
    state_dir: Path
    until_done: bool
    checkpoint_seconds: float
    labels: Mapping[str, str]
    work_seconds: float | None
    share: bool
    disk_gib: float
    shared_directory: Path | None
    tensorboard: Path | None
    tasks: tuple[TaskKind, ...]
    functions: tuple[str, ...] | None
    modules: tuple[str, ...]
    pass_env: tuple[str, ...]
    """Environment variables that training processes see beside the default ones."""
    data: tuple[Path, ...]
    """The real paths of the folders below which the paths in a training configuration must lie."""


def default_server(environment: Mapping[str, str] = os.environ) -> str:
    """Return the service's address to use if the command line gives none."""
    return environment.get("ASSAYER_SERVER") or DEFAULT_SERVER


def checkpoint_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """Return the shortest time between two checkpoints of a training, in seconds.

    Raises:
        ValueError: ASSAYER_CHECKPOINT_SECONDS is not a number of seconds.
    """
    text = environment.get("ASSAYER_CHECKPOINT_SECONDS") or "60"
    seconds = float(text)
    if not seconds >= 0:
        raise ValueError(text)
    return seconds


def default_state_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the directory for state that outlives this user's workers (XDG base directory specification)."""
    state_home = environment.get("XDG_STATE_HOME")
    return (Path(state_home) if state_home else Path.home() / ".local" / "state") / "assayer" / "worker"


def host_name() -> str:
    """Return this host's name as an identifier, the default name of a worker."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("._-")[:60] or "worker"


def data_folder(text: str) -> Path:
    """Return the real path of a folder named by `--data`.

    Raises:
        ArgumentTypeError: There is no such folder.
    """
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"the folder {text} does not exist ({folder.absolute()})")
    return folder.resolve()


def data_folders(folders: Sequence[Path]) -> tuple[Path, ...]:
    """Return the readable folders: these ones, or the working directory if there are none."""
    return tuple(folders) or (Path.cwd().resolve(),)


def module_name(text: str) -> str:
    """Check the name of a module to register, without importing it, because that would load torch first.

    Only the top-level package is looked up, because a deeper look-up would import that package.

    Raises:
        ArgumentTypeError: The text is not a module name, or no such module or package can be found.
    """
    if not all(part.isidentifier() for part in text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a module; write it as in an import: my_models, or my.losses")
    package, directory = text.partition(".")[0], Path.cwd()
    # The training process finds modules in the working directory, even if it is not on this program's own path.
    if not (package in sys.modules or find_spec(package) or PathFinder.find_spec(package, [str(directory)])):
        raise argparse.ArgumentTypeError(
            f"cannot register {text}: there is no module {package!r} in {directory} or on PYTHONPATH"
        )
    return text


def positive_count(text: str) -> int:
    """Return a whole number above 0.

    Raises:
        ArgumentTypeError: The text is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def positive_seconds(text: str) -> float:
    """Return a finite number of seconds above 0.

    Raises:
        ArgumentTypeError: The text is none.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def add_code_and_data_options(parser: argparse.ArgumentParser) -> None:
    """Add --register and --data to a command that executes a study's task in the foreground."""
    parser.add_argument(
        "--register", action="append", default=[], type=module_name, metavar="MODULE", help="same as for worker"
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=data_folder,
        metavar="DIR",
        help="same as for worker (default: the working directory)",
    )
