"""What a worker is told by its command line and its environment, as one frozen value passed down."""

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
    """One worker's settings.

    `gpus` empty means the CPU; `threads` None divides the cores among the slots; `name` None derives one from the host;
    `work_seconds` None works without end; `shared_directory` None uploads checkpoints to the service;
    `functions` None calls those of any module, where `tasks` has them; `tensorboard` None shows nothing there.
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
    """Environment variables that training processes see beside the usual ones."""
    data: tuple[Path, ...]
    """The folders below which the paths of a training's configuration must lie, by their real paths."""


def default_server(environment: Mapping[str, str] = os.environ) -> str:
    """The service's address where none is given."""
    return environment.get("ASSAYER_SERVER") or DEFAULT_SERVER


def checkpoint_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """The shortest time between two checkpoints of a training.

    Raises:
        ValueError: the environment says something else than a number of seconds.
    """
    given = environment.get("ASSAYER_CHECKPOINT_SECONDS") or "60"
    seconds = float(given)
    if not seconds >= 0:
        raise ValueError(given)
    return seconds


def default_state_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this user's workers keep what must outlive them (XDG base directory specification)."""
    state_home = environment.get("XDG_STATE_HOME")
    return (Path(state_home) if state_home else Path.home() / ".local" / "state") / "assayer" / "worker"


def host_name() -> str:
    """This host's name as an identifier: what a worker is called unless told otherwise."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname()).strip("._-")[:60] or "worker"


def data_folder(text: str) -> Path:
    """A folder of `--data`, by its real path; raises ArgumentTypeError where there is none."""
    folder = Path(text)
    if not folder.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text} (looked for {folder.absolute()})")
    return folder.resolve()


def data_folders(given: Sequence[Path]) -> tuple[Path, ...]:
    """The folders that may be read: those that are given, else the working directory."""
    return tuple(given) or (Path.cwd().resolve(),)


def module_name(text: str) -> str:
    """Check the name of a module to register; it is looked up but not imported, which would load torch first.

    Only its top-level package is looked up: to look further would import the package.

    Raises:
        ArgumentTypeError: this is not the name of a module, or no such module or package can be found.
    """
    if not all(part.isidentifier() for part in text.split(".")):
        raise argparse.ArgumentTypeError(f"{text!r} is no module; write it as import does: my_models, or my.losses")
    top, here = text.partition(".")[0], Path.cwd()
    # The training process finds modules in the working folder, also where this program's own path does not have it.
    if not (top in sys.modules or find_spec(top) or PathFinder.find_spec(top, [str(here)])):
        raise argparse.ArgumentTypeError(
            f"cannot register {text}: there is no module {top!r} in {here} or on PYTHONPATH"
        )
    return text
