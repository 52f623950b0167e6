"""Commands about trials: list, best, enqueue, fork, release, and their logs, checkpoints and predictions."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from rich.console import Group
from rich.text import Text

from service.cli import predictions, watch
from service.cli.commands.output import note_damaged, print_answer
from service.cli.render import formatting, study_pages, trial_pages
from service.cli.trial_table import TrialTable
from service.client import study_file
from service.client.client import Client
from service.client.errors import invalid_study
from service.contract.attempt import BLOB
from service.contract.base import Value
from service.contract.claim import ResumePoint
from service.contract.log import Stream
from service.contract.predictions import MAX_CLASSES
from service.contract.trial import TrialState, TrialView

MAX_TRIALS_SHOWN = 30


PAGE_TRIALS = 5_000
"""Number of trials per request."""


def list_trials(client: Client, arguments: argparse.Namespace) -> None:
    study = client.study(arguments.name)
    table = TrialTable(study.spec, _trials(client, study.id))
    chosen = [each.strip() for each in arguments.columns.split(",")] if arguments.columns else None
    columns = table.usual if chosen is None else [table.column(each, "--columns") for each in chosen]
    table.filter(arguments.filter)
    if arguments.sort is not None:
        table.sort(arguments.sort, reverse=arguments.reverse)
    is_page = not (arguments.json or arguments.csv or arguments.parquet)
    most = arguments.limit or (MAX_TRIALS_SHOWN if is_page and not arguments.all else None)
    left_out = 0 if most is None else table.limit(most)
    if arguments.json:
        sys.stdout.write(json.dumps(table.views() if chosen is None else table.mappings(columns), indent=2) + "\n")
    elif arguments.csv:
        sys.stdout.write(table.csv(columns))
    elif arguments.parquet is not None:
        table.write_parquet(arguments.parquet, columns)
    else:
        console = formatting.console()
        console.print(table.page(columns))
        if left_out:
            console.print(f"({left_out} more; print all with --all, or N with --limit N)", soft_wrap=True)


def show_best(client: Client, arguments: argparse.Namespace) -> None:
    study = client.study(arguments.name)
    if len(study.spec.objectives) > 1:
        front = client.front(arguments.name)
        print_answer(arguments, front, study_pages.pareto_page(front))
        return
    trial = client.best(arguments.name)
    findings = [Text(each, style="yellow") for each in study_pages.findings(study)]
    compared = Text(f"\nbest: {study_pages.reference_summary(study)}")
    print_answer(arguments, trial, Group(trial_pages.trial_page(trial), compared, *findings))


def download_checkpoint(client: Client, arguments: argparse.Namespace) -> None:
    named = named_trial(client, arguments.name, arguments.trial)
    path = Path(arguments.out or f"{arguments.name}-{arguments.trial}.pt")
    if path.exists():
        raise invalid_study(path, "already exists; choose another file with --out, or remove it")
    saved = save_checkpoint(client, arguments.name, named, path)
    print_answer(arguments, saved, f"wrote {path}: trial {named} of {arguments.name} after step {saved.step}")


def named_trial(client: Client, study: str, trial: str) -> str:
    """Return the number of a trial, or the id of a fork; the word `best` means the study's best trial."""
    if trial != "best":
        return trial
    best = client.best(study)
    return best.id if best.number is None else str(best.number)


def save_checkpoint(client: Client, study: str, trial: str, path: Path) -> ResumePoint:
    """Download a trial's newest checkpoint to a file.

    Raises:
        ClientError: there is none, it is not on the service, or the file can't be written.
    """
    saved = client.newest_checkpoint(study, trial)
    if not saved.uri.startswith(BLOB):
        raise invalid_study(
            "study checkpoint", f"the checkpoint is in a directory that the workers share; copy it from {saved.uri}"
        )
    try:
        if not client.save_blob(saved.sha256, path):
            raise invalid_study("study checkpoint", "the downloaded file does not match its checksum; try again")
    except OSError as error:
        raise invalid_study(path, f"cannot be written: {error.strerror}") from None
    return saved


def print_logs(client: Client, arguments: argparse.Namespace) -> None:
    stream = Stream.STDERR if arguments.stderr else Stream.STDOUT
    following = watch.follow_log if arguments.follow else watch.read_log
    with contextlib.suppress(KeyboardInterrupt):
        page = None
        for page in following(client, arguments.name, arguments.trial, arguments.attempt, stream):
            sys.stdout.write(page.model_dump_json() + "\n" if arguments.json else page.text)
            sys.stdout.flush()
        if page is not None and not arguments.json:
            if not page.ended:  # the attempt ended without further output
                page = client.log(arguments.name, arguments.trial, attempt=page.attempt, stream=stream, after=page.next)
            sys.stdout.write(trial_pages.outcome(page))


def print_predictions(client: Client, arguments: argparse.Namespace) -> None:
    if arguments.trial is None:
        answer = client.list_predictions(arguments.name)
        print_answer(arguments, answer, predictions.list_page(answer))
        return
    content = client.predictions(arguments.name, arguments.trial)
    if arguments.out is not None:
        try:
            Path(arguments.out).write_bytes(content)
        except OSError as error:
            raise invalid_study(arguments.out, f"cannot be written: {error.strerror}") from None
        return
    rows = predictions.PredictionTable(content, arguments.split, f"trial {arguments.trial}")
    sys.stdout.write(json.dumps(rows.mappings()) + "\n" if arguments.json else rows.csv())


def show_confusion(client: Client, arguments: argparse.Namespace) -> None:
    trial, source = client.trial(arguments.name, arguments.trial), f"trial {arguments.trial}"
    if trial.confusion is None:
        message = (
            f"has no confusion matrix (it is {trial.state}); classifications of up to {MAX_CLASSES} classes have one "
            "once they are trained to their end"
        )
        raise invalid_study(source, message)
    print_answer(arguments, trial.confusion, predictions.confusion_page(trial.confusion, arguments.split, source))


def release_trial(client: Client, arguments: argparse.Namespace) -> None:
    trial = client.trial(arguments.name, arguments.trial)
    # Name the attempt, so that a repeated call cannot take the trial from its next worker.
    attempt = trial.attempts[-1].number if trial.state is TrialState.RUNNING and trial.attempts else None
    released = client.release(arguments.name, arguments.trial, arguments.reason, attempt)
    print_answer(arguments, released, f"trial {arguments.trial} of {arguments.name} is {released.state}")


def enqueue_trial(client: Client, arguments: argparse.Namespace) -> None:
    reply = client.enqueue(arguments.name, _values(arguments.parameters))
    print_answer(arguments, reply, f"queued; {reply.num_ahead} ahead of it")


def fork_trial(client: Client, arguments: argparse.Namespace) -> None:
    fork = client.fork(arguments.name, arguments.trial, _values(arguments.set), arguments.at)
    message = f"{fork.suggestion_reason}; it waits as {fork.id} (study show {arguments.name} --trial {fork.id})"
    print_answer(arguments, fork, message)


def _values(words: Sequence[str]) -> dict[str, Value]:
    """Parse arguments of the form KEY=VALUE."""
    parameters: dict[str, Value] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise invalid_study(word, "write KEY=VALUE, such as optimizer.lr=3e-3")
        try:
            parameters[key] = TypeAdapter[Value](Value).validate_python(study_file.read(text, source=word))
        except ValidationError:
            raise invalid_study(word, "the value must be a number, a word, true, false or a list of these") from None
    return parameters


def _trials(client: Client, study: str) -> list[TrialView]:
    trials: dict[str, TrialView] = {}
    page = client.trials(study, limit=PAGE_TRIALS)
    while page.trials or page.damaged:
        trials |= {trial.id: trial for trial in page.trials}
        note_damaged("trial", page.damaged)
        page = client.trials(study, since=page.revision, limit=PAGE_TRIALS)
    return sorted(trials.values(), key=lambda trial: trial.number or 0)
