"""The command `worker doctor`: checks this machine and its connection to the service, with a remedy per problem."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pynvml
from rich.console import Console

from service.client import ApiError, Client, ClientError
from service.contract.base import PROTOCOL_VERSION
from service.contract.command_line import parse
from worker.agent import DeviceError, cpu, gpus, in_use, num_cores
from worker.settings import default_server, default_state_dir

_GIB = 1024**3

_MIN_DISK_GIB = 5.0
"""Space for a few checkpoints and their uploads."""
_MIN_MEMORY_GIB = 2.0
"""Memory that torch and a small model need."""
_MIN_SHARED_GIB = 0.5
"""Shared memory that data loaders and NCCL need; Docker's default is 0.06 GiB."""
_MAX_SKEW_SECONDS = 5.0
"""Leases tolerate any skew, since only the database's clock counts; people compare the logs of several machines."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check: what was checked, what was seen, and the remedy (None if nothing is wrong)."""

    what: str
    seen: str
    remedy: str | None = None


def main(arguments: Sequence[str], token: str | None = None) -> int:
    """Print the result of each check.

    Args:
        arguments: The command line after `worker doctor`.
        token: The service's token; None uses ASSAYER_TOKEN, if it is set.

    Returns:
        The exit status: 0 when every check passed, else 1.
    """
    parser = argparse.ArgumentParser(
        prog="worker doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", default=default_server(), metavar="URL", help="the service (default: %(default)s)")
    parser.add_argument(
        "--state-dir",
        type=Path,
        default=default_state_dir(),
        metavar="DIR",
        help="same as for `worker` (default: %(default)s)",
    )
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        type=Path,
        metavar="DIR",
        help="same as for `worker` (default: the working directory)",
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    args = parse(parser, arguments)
    results: list[CheckResult] = []
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for result in run_checks(args.server, args.state_dir, args.data or [Path.cwd()], token):
        results.append(result)
        if not args.json:
            mark = "ok  " if result.remedy is None else "FIX "
            console.print(f"{mark}{result.what}: {result.seen}{f'; {result.remedy}' if result.remedy else ''}")
    if args.json:
        sys.stdout.write(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return int(any(result.remedy for result in results))


def run_checks(server: str, state_dir: Path, data: Sequence[Path], token: str | None = None) -> Iterator[CheckResult]:
    """Check this machine and its connection to the service.

    Args:
        server: The service's address.
        state_dir: The directory in which workers keep their outbox and logs.
        data: The folders below which studies may name files.
        token: The service's token; None uses ASSAYER_TOKEN, if it is set.

    Yields:
        The result of each check, as soon as it is known.
    """
    yield _cpu()
    yield _memory()
    yield _shared_memory(Path("/dev/shm"))  # noqa: S108 - this mount is what the check is about
    yield _disk(state_dir)
    for folder in data:
        yield _data(folder)
    yield _torch()
    yield from _devices()
    yield from _service(server, token)


def _cpu() -> CheckResult:
    return CheckResult("processor", f"{num_cores()} cores")


def _memory() -> CheckResult:
    total = cpu().device.memory_gib
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024 / _GIB
    except (OSError, KeyError):  # not Linux
        return CheckResult("memory", f"{total:g} GiB")
    remedy = "end other programs, or use fewer --slots" if free < _MIN_MEMORY_GIB else None
    return CheckResult("memory", f"{free:.1f} GiB of {total:g} free", remedy)


def _shared_memory(mount: Path) -> CheckResult:
    if not mount.is_dir():
        return CheckResult("shared memory", f"{mount} does not exist", "mount a tmpfs there")
    total = shutil.disk_usage(mount).total
    is_small = total < _MIN_SHARED_GIB * _GIB
    remedy = "enlarge it: docker run --shm-size 1g, or shm_size in docker-compose.yml" if is_small else None
    return CheckResult("shared memory", f"{total / _GIB:.2f} GiB", remedy)


def _disk(state_dir: Path) -> CheckResult:
    existing = next(path for path in (state_dir.absolute(), *state_dir.absolute().parents) if path.exists())
    if not os.access(existing, os.W_OK | os.X_OK):
        return CheckResult("disk", f"{existing} is not writable", "name another directory with --state-dir")
    free = shutil.disk_usage(existing).free
    remedy = "free some space, or name another directory with --state-dir" if free < _MIN_DISK_GIB * _GIB else None
    return CheckResult("disk", f"{free / _GIB:.0f} GiB free for {state_dir}", remedy)


def _data(folder: Path) -> CheckResult:
    """Check that a data folder is readable and does not expose the user's home directory."""
    path = folder.resolve()
    if not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        return CheckResult("data", f"{path} is not a readable folder", "name another one with --data")
    contains_home = Path.home().resolve().is_relative_to(path)
    remedy = "it contains your home directory with keys and passwords; name the folder of your data with --data"
    return CheckResult("data", f"studies may read files below {path}", remedy if contains_home else None)


def _torch() -> CheckResult:
    try:
        import torch  # noqa: PLC0415 - takes seconds, and may not be installed
    except ImportError as error:
        return CheckResult("torch", f"cannot be imported ({error})", "pip install 'assayer[worker]'")
    build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
    seen = f"{torch.__version__}, {build}"
    if torch.version.cuda is None and _num_gpus():
        return CheckResult("torch", seen, "install torch's CUDA build to train on this GPU")
    if torch.version.cuda is not None and _num_gpus() and not torch.cuda.is_available():
        return CheckResult(
            "torch",
            f"{seen}, but torch finds no GPU",
            "update the NVIDIA driver for this CUDA version",
        )
    return CheckResult("torch", seen)


def _devices() -> Iterator[CheckResult]:
    """Report the NVIDIA driver and each GPU, or one line where the driver finds no GPU."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield CheckResult("GPU", "the NVIDIA driver lists none; train with --cpu")
        return
    try:
        yield CheckResult("driver", f"NVIDIA {pynvml.nvmlSystemGetDriverVersion()}")
    finally:
        pynvml.nvmlShutdown()
    try:
        devices = gpus(range(_num_gpus()))
    except DeviceError as error:
        yield CheckResult("GPU", str(error), "run nvidia-smi")
        return
    for gpu in devices:
        use = in_use(gpu)
        remedy = "wait until that process ends, or share the GPU with --share" if use else None
        memory = f"{gpu.device.memory_gib:g} GiB"
        yield CheckResult(gpu.label, f"{gpu.device.name}, {memory}{f'; {use}' if use else ''}", remedy)


def _num_gpus() -> int:
    """Return the number of GPUs that this process may use."""
    if (allowed := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return len([name for name in allowed.split(",") if name.strip()])
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return 0
    try:
        return int(pynvml.nvmlDeviceGetCount())
    finally:
        pynvml.nvmlShutdown()


def _service(server: str, token: str | None) -> Iterator[CheckResult]:
    """Check that the service answers, speaks this protocol and accepts the token, and that the clocks agree."""
    try:
        with Client(server, token) as client:
            began, sent_at = time.monotonic(), datetime.now(UTC)
            health = client.health()
            seconds = time.monotonic() - began
            seen = f"{client.server} answers in {seconds * 1000:.0f} ms, version {health.version}, on {health.database}"
            is_same = health.protocol == PROTOCOL_VERSION
            remedy = f"it uses protocol {health.protocol}, this worker {PROTOCOL_VERSION}; install the same version"
            yield CheckResult("service", seen, None if is_same else remedy)
            yield _clock((sent_at - health.now).total_seconds() + seconds / 2)
            yield _token(client, token)
    except ClientError as error:
        yield CheckResult("service", "cannot be reached", str(error))


def _clock(ahead_seconds: float) -> CheckResult:
    seen = f"{abs(ahead_seconds):.1f} s {'ahead of' if ahead_seconds > 0 else 'behind'} the service's database"
    is_skewed = abs(ahead_seconds) > _MAX_SKEW_SECONDS
    return CheckResult(
        "clock", seen, "synchronise this machine's clock by NTP: timedatectl set-ntp true" if is_skewed else None
    )


def _token(client: Client, token: str | None) -> CheckResult:
    try:
        client.workers()
    except ApiError as error:
        return CheckResult("token", "refused", str(error))
    is_set = token or os.environ.get("ASSAYER_TOKEN")
    return CheckResult("token", "accepted by the service" if is_set else "not set; the service requires none")
