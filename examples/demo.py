"""The demo: runs a service, two workers and the digits study as real processes, and follows the study to its result.

All files are in a temporary directory and are deleted at the end. With `--exit`, the demo ends after the result; its
exit status is 0 if the study completed with a best validation accuracy of at least 0.97.
"""

from __future__ import annotations

import argparse
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console

from service.cli.render import formatting, study_pages
from service.cli.watch import watch
from service.client import Client, ClientError, ServiceUnreachable, study_file
from service.contract.report import from_wire
from service.contract.study import StudyState

ROOT = Path(__file__).resolve().parents[1]
STUDY_FILE = ROOT / "examples" / "digits.yaml"
GOOD_ACCURACY = 0.97
START_SECONDS = 30.0
STOP_SECONDS = 15.0
USUAL_PORT = 8420


class DemoError(Exception):
    """The demo cannot continue; the message says why."""


class Processes:
    """The demo's processes, started by name and ended by handle; interrupts the demo when one dies by itself."""

    def __init__(self, directory: Path) -> None:
        self.dead: str | None = None
        self._directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._leaving = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def start(self, name: str, *arguments: str) -> None:
        """Start a Python module; its output goes to a log file named after it."""
        with self._log(name).open("wb") as log:
            # In its own process group, so that only the demo gets a Ctrl-C and ends the workers before the service.
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=0,
            )

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
        self._leaving.set()
        self._watcher.join()
        self.dead = self.dead or self._find_dead()
        for process in reversed(self._running.values()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _watch(self) -> None:
        while self.dead is None and not self._leaving.wait(0.2):
            self.dead = self._find_dead()
            if self.dead is not None:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _find_dead(self) -> str | None:
        for name, process in list(self._running.items()):
            if process.poll() is not None:
                said = self._log(name).read_text(errors="replace").splitlines()[-20:]
                return "\n".join([f"{name} ended with status {process.returncode}; it said:", *said])
        return None

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def main() -> int:
    parser = argparse.ArgumentParser(description="Search hyperparameters for handwritten digits on this machine.")
    parser.add_argument("--exit", action="store_true", help="end after the result instead of leaving the dashboard up")
    arguments = parser.parse_args()
    for ending in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: shells start background processes with SIGINT ignored
        signal.signal(ending, signal.default_int_handler)
    console = formatting.console()
    with tempfile.TemporaryDirectory(prefix="assayer-demo-") as directory:
        processes = Processes(Path(directory))
        try:
            with processes:
                return demonstrate(processes, Path(directory), console, stay=not arguments.exit)
        except KeyboardInterrupt:
            console.print(processes.dead or "\nthe demo was interrupted", soft_wrap=True)
            return 1
        except (ClientError, DemoError) as error:
            console.print(processes.dead or str(error), soft_wrap=True)
            return 1


def demonstrate(processes: Processes, directory: Path, console: Console, *, stay: bool) -> int:
    """Run the demo and return its exit status."""
    port = free_port()
    server = f"http://127.0.0.1:{port}"
    processes.start("service", "service", "serve", "--port", str(port), "--database", str(directory / "assayer.db"))
    with Client(server) as client:
        wait_for(client)
        for name in ("worker-1", "worker-2"):
            options = ["--server", server, "--name", name, "--state-dir", str(directory / name)]
            processes.start(name, "worker", "--cpu", "--threads", "1", *options)
        study = client.create_study(study_file.load(STUDY_FILE))
        console.print(f"dashboard: {server}\n")
        watch(client, study.name, console)
        is_good = tell_result(client, study.name, console)
        if stay:
            console.print(f"\nThe dashboard stays up at {server}; Ctrl-C ends the demo.")
            wait_for_interrupt(processes)
    return 0 if is_good else 1


def tell_result(client: Client, name: str, console: Console) -> bool:
    """Print the study's result; return whether its best accuracy reaches `GOOD_ACCURACY`."""
    study, best = client.study(name), client.best(name)
    accuracy = best.values[0] if best.values else 0.0
    console.print(f"\n{study_pages.counts(study)}; the best is trial {best.number}, with parameters")
    for parameter, value in best.parameters.items():
        console.print(f"  {parameter}: {value:.4g}" if isinstance(value, float) else f"  {parameter}: {value}")
    console.print(
        f"validation accuracy {accuracy:.4f}" + (f": {study.reference_summary}" if study.reference_summary else ""),
        soft_wrap=True,
    )
    console.print(f"test accuracy       {from_wire(best.metrics['test/accuracy']):.4f}")
    if study.state is not StudyState.COMPLETED:
        raise DemoError(f"the study is {study.state}: {study.state_reason}")
    if accuracy < GOOD_ACCURACY:
        console.print(f"the best validation accuracy should reach {GOOD_ACCURACY}: something is wrong")
    return accuracy >= GOOD_ACCURACY


def wait_for(client: Client) -> None:
    """Wait until the service answers."""
    give_up_at = time.monotonic() + START_SECONDS
    while True:
        try:
            client.health()
        except ServiceUnreachable:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.1)
        else:
            return


def wait_for_interrupt(processes: Processes) -> None:
    """Wait for Ctrl-C; re-raise the interrupt if a process has died."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        if processes.dead:
            raise


def free_port() -> int:
    """Return the usual port if it is free, else any free port."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("no loopback port is free")


if __name__ == "__main__":
    sys.exit(main())
