"""The task kind `command`: starts a program of the user's own, relays what it reports, and tells how it ended."""

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

from service.contract.lease import Grant, Outcome
from service.contract.task import PARAMETERS_FILE, PLACEHOLDER, Command
from worker.protocol import Provenance, Start
from worker.trial.channel import CONTINUE, Channel
from worker.trial.classify import exited
from worker.trial.conclusion import conclude
from worker.trial.ending import end_by
from worker.trial.printed import Printed, Tail
from worker.trial.provenance import environment, fingerprint_of
from worker.trial.relay import Relay
from worker.trial.script import CHANNEL, PARAMETER, TRIAL
from worker.trial.trial import Told, Trial

_ROUND_SECONDS = 0.1
_GRACE_SECONDS = 10.0
"""How long a program that cannot hear orders has to end after SIGTERM."""


def run(grant: Grant, start: Start, channel: Channel) -> Outcome:
    """Start the program and see it through to its exit.

    A program that a signal has ended takes this process along, so that the agent judges both alike.

    Raises:
        OSError: there is no such program, or no such directory.
        ConfigError: a pattern found something else than a number.
    """
    command = Command.model_validate(grant.task)
    channel.provenance(Provenance(None, environment(start.threads), fingerprint_of(_files(command))))
    told = Told.of(grant, start)
    trial = Trial(told, channel)
    printed = [Tail(Path(path)) for path in (start.stdout, start.stderr)]
    # A folder with a short path: that of a socket may not be longer than some hundred characters.
    with tempfile.TemporaryDirectory(prefix="assayer-") as folder:
        place = Path(folder)
        (place / "trial.json").write_text(json.dumps(asdict(told)), encoding="utf-8")
        (place / "parameters.json").write_text(json.dumps(told.parameters), encoding="utf-8")
        with Relay(place / "channel", trial, channel) as relay, _started(command, told.parameters, place) as process:
            metrics = Printed(command.metrics, command.step, trial.metric, trial.step)
            was_asked = _see_through(process, trial, relay, printed, metrics)
    if process.returncode < 0 and not was_asked:
        end_by(-process.returncode)
    if process.returncode and not was_asked:
        return exited(process.returncode, Path(start.stderr).read_text(encoding="utf-8", errors="replace"))
    return conclude(trial, {})


def command_line(grant: Grant) -> list[str]:
    """The words to start the program by hand with a trial's parameters, which must not want them as a file."""
    return arguments(Command.model_validate(grant.task).argv, grant.parameters, Path("parameters.json"))


def arguments(argv: Sequence[str], parameters: Mapping[str, Any], file: Path) -> list[str]:
    """The program and its arguments, with the parameters.

    `{name}` is replaced by the parameter, and an argument that names one which the trial does not have is left out.
    What is not named so is appended as `--name=value`, unless the file with all parameters, `{parameters}`, is named.
    """
    values = {name: value_text(value) for name, value in parameters.items()} | {PARAMETERS_FILE: str(file)}
    named = {name for argument in argv for name in PLACEHOLDER.findall(argument)}
    words = [
        PLACEHOLDER.sub(lambda found: values[found[1]], argument)
        for argument in argv
        if all(name in values for name in PLACEHOLDER.findall(argument))
    ]
    if PARAMETERS_FILE in named:
        return words
    return [*words, *(f"--{name}={values[name]}" for name in parameters if name not in named)]


def value_text(value: Any) -> str:
    """A parameter as text: words as they are, all else as JSON writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def variables(parameters: Mapping[str, Any]) -> dict[str, str]:
    """The parameters as environment variables: `optimizer.lr` is …_OPTIMIZER_LR."""
    plain = {name: re.sub(r"\W", "_", name).upper() for name in parameters}
    return {f"{PARAMETER}{plain[name]}": value_text(value) for name, value in parameters.items()}


def _files(command: Command) -> dict[str, Path]:
    """The files that the words of a command name: the program's own code, as far as that is to be seen."""
    found = {}
    for word in command.argv:
        path = Path(command.directory or ".") / word
        with suppress(OSError, ValueError):  # a program in one long word is no path
            if path.is_file():
                found[word] = path
    return found


@contextmanager
def _started(command: Command, parameters: Mapping[str, Any], place: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The program, in the group of this process, so that it ends with it; over with the block in any case."""
    process = subprocess.Popen(  # noqa: S603 - the user's program is the task, and the worker allows it
        arguments(command.argv, parameters, place / "parameters.json"),
        cwd=command.directory,
        env={
            **os.environ,
            # `python` is the one that the worker runs under, as in an activated environment.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONUNBUFFERED": "1",  # lines are read as they are printed
            **variables(parameters),
            **command.environment,
            TRIAL: str(place / "trial.json"),
            CHANNEL: str(place / "channel"),
        },
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _see_through(
    process: subprocess.Popen[bytes], trial: Trial, relay: Relay, tails: Sequence[Tail], metrics: Printed
) -> bool:
    """Pass on what the program reports and prints until it exits; whether it was asked to end."""
    asked_at: float | None = None
    is_over = False
    while not is_over:
        is_over = process.poll() is not None
        order = relay.pass_on(0.0 if is_over else _ROUND_SECONDS)
        for line in [line for tail in tails for line in tail.lines(is_over=is_over)]:
            for step, found in metrics.read(line):
                order = trial.report(step, found)
        if order.action == CONTINUE.action or relay.was_used or is_over:
            continue
        if asked_at is None:
            process.terminate()
            asked_at = time.monotonic()
        elif time.monotonic() > asked_at + _GRACE_SECONDS:
            process.kill()
    return asked_at is not None
