"""The task kind `command`: starts a custom program, forwards its reports, and turns its exit into an outcome."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from service.contract.attempt import Outcome
from service.contract.claim import Grant
from service.contract.task import PARAMETERS_FILE, PLACEHOLDER, Command
from worker.protocol import Provenance, Start
from worker.trial.channel import CONTINUE, Channel
from worker.trial.classify import command_exit_outcome
from worker.trial.outcome import end_by_signal, outcome_of_return
from worker.trial.provenance import environment, fingerprint_of
from worker.trial.script_server import ScriptServer
from worker.trial.sdk import CHANNEL, PARAMETER, TRIAL
from worker.trial.stdout_metrics import MetricParser, Tail
from worker.trial.trial import Trial, TrialInfo

_ROUND_SECONDS = 0.1
_GRACE_SECONDS = 10.0
"""How long a program that receives no orders has to end after SIGTERM."""


def run(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Start the program, wait for its exit and return the outcome.

    If a signal ended the program, this process ends itself by the same signal, so that the agent treats both alike.

    Raises:
        OSError: The program or its working directory does not exist.
        ConfigError: A pattern matched something other than a number.
    """
    command = Command.model_validate(grant.task)
    channel.send_provenance(Provenance(None, environment(start.threads), fingerprint_of(_files(command))))
    info = TrialInfo.of(grant, start)
    trial = Trial(info, channel)
    tails = [Tail(Path(path)) for path in (start.stdout, start.stderr)]
    # A folder with a short path, because the path of a socket is limited to about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="assayer-") as name:
        folder = Path(name)
        (folder / "trial.json").write_text(json.dumps(asdict(info)), encoding="utf-8")
        (folder / "parameters.json").write_text(json.dumps(info.parameters), encoding="utf-8")
        with (
            ScriptServer(folder / "channel", trial, channel) as server,
            _running(command, info.parameters, folder) as process,
        ):
            metrics = MetricParser(command.metrics, command.step, trial.metric, trial.step)
            was_terminated = _supervise(process, trial, server, tails, metrics)
    if process.returncode < 0 and not was_terminated:
        end_by_signal(-process.returncode)
    if process.returncode and not was_terminated:
        return command_exit_outcome(
            process.returncode, Path(start.stderr).read_text(encoding="utf-8", errors="replace")
        )
    return outcome_of_return(trial, {})


def command_line(grant: Grant) -> list[str]:
    """Return the command line to start the program by hand with a trial's parameters.

    It refers to `parameters.json` if the command takes the parameters as a file; the caller must write that file.
    """
    return arguments(Command.model_validate(grant.task).argv, grant.parameters, Path("parameters.json"))


def arguments(argv: Sequence[str], parameters: Mapping[str, Any], file: Path) -> list[str]:
    """Return the program and its arguments, with the parameters filled in.

    `{name}` is replaced by the parameter's value. An argument with a parameter that the trial does not have is left
    out. All other parameters are appended as `--name=value`, unless an argument contains `{parameters}`, the path of
    the file with all parameters.

    Args:
        argv: The command of the study file.
        parameters: The trial's parameters.
        file: The JSON file with all parameters.
    """
    values = {name: value_text(value) for name, value in parameters.items()} | {PARAMETERS_FILE: str(file)}
    named = {name for argument in argv for name in PLACEHOLDER.findall(argument)}
    words = [
        PLACEHOLDER.sub(lambda match: values[match[1]], argument)
        for argument in argv
        if all(name in values for name in PLACEHOLDER.findall(argument))
    ]
    if PARAMETERS_FILE in named:
        return words
    return [*words, *(f"--{name}={values[name]}" for name in parameters if name not in named)]


def value_text(value: Any) -> str:
    """Return a parameter as text: a string as it is, any other value as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def variables(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters as environment variables, named `PARAMETER` plus, for example, OPTIMIZER_LR."""
    variable_names = {name: re.sub(r"\W", "_", name).upper() for name in parameters}
    return {f"{PARAMETER}{variable_names[name]}": value_text(value) for name, value in parameters.items()}


def _files(command: Command) -> dict[str, Path]:
    """Return the files that the words of the command name, as the program's own code."""
    files = {}
    for word in command.argv:
        path = Path(command.directory or ".") / word
        with suppress(OSError, ValueError):  # a long inline program is not a path
            if path.is_file():
                files[word] = path
    return files


@contextmanager
def _running(command: Command, parameters: Mapping[str, Any], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program in this process's group, so that both are killed together; kill it at the end of the block."""
    process = subprocess.Popen(  # noqa: S603 - the custom program is the task, and the worker allows commands
        arguments(command.argv, parameters, folder / "parameters.json"),
        cwd=command.directory,
        env={
            **os.environ,
            # `python` is the worker's own interpreter, as in an activated virtual environment.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",  # so that lines can be read as soon as they are printed
            **variables(parameters),
            **command.environment,
            TRIAL: str(folder / "trial.json"),
            CHANNEL: str(folder / "channel"),
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _supervise(
    process: subprocess.Popen[bytes], trial: Trial, server: ScriptServer, tails: Sequence[Tail], metrics: MetricParser
) -> bool:
    """Forward what the program reports and prints until it exits; return whether it was terminated."""
    terminated_at: float | None = None
    is_over = False
    while not is_over:
        is_over = process.poll() is not None
        order = server.forward(0.0 if is_over else _ROUND_SECONDS)
        for line in [line for tail in tails for line in tail.lines(is_over=is_over)]:
            for step, values in metrics.read(line):
                order = trial.report(step, values)
        if order.action == CONTINUE.action or server.was_used or is_over:
            continue
        if terminated_at is None:
            process.terminate()
            terminated_at = time.monotonic()
        elif time.monotonic() > terminated_at + _GRACE_SECONDS:
            process.kill()
    return terminated_at is not None
