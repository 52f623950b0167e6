"""The commands of `study`, one function each: call the service, then print the answer as text or as JSON."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import RenderableType

from service.cli import catalogue, edit, inspect_data, predictions, render, scaffold, watch, watch_result
from service.cli.column_texts import NumberRules
from service.cli.trial_table import TrialTable
from service.client import spec, study_file
from service.client.client import Client
from service.client.errors import Invalid, InvalidStudy
from service.contract.attempt import BLOB
from service.contract.base import DamagedRow, Value
from service.contract.log import Stream
from service.contract.plan import ReplayRequest
from service.contract.predictions import MAX_CLASSES
from service.contract.problem import FieldError
from service.contract.study import ExtendRequest, StudyView
from service.contract.trial import TrialState, TrialView
from service.contract.validation_errors import field_errors

MAX_TRIALS_SHOWN = 30
PAGE_TRIALS = 5_000
"""Number of trials per request."""


def _init(client: Client, arguments: argparse.Namespace) -> None:
    del client  # the study is checked later, when it is planned or created
    rules = NumberRules(na_values=arguments.na_value, categorical=arguments.categorical)
    asked = inspect_data.InspectOptions(arguments.target, arguments.task, arguments.encoding, rules)
    found = inspect_data.inspect_data(arguments.data, asked)
    name = arguments.name or scaffold.name_for(arguments.data)
    path = Path(arguments.out or f"{name}.yaml")
    text = scaffold.write(found.relative_to(path.parent), name, str(path))
    study = spec.parse(study_file.read(text, source=str(path)), source=str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _wrong(str(path), "is there already; name another by --out, or remove it") from None
    except OSError as error:
        raise _wrong(str(path), f"cannot be written: {error.strerror}") from None
    page = [f"wrote {path}; read it, then: study plan {path}", *scaffold.about_data(found)]
    _print(arguments, study, "\n".join(page))


def _create(client: Client, arguments: argparse.Namespace) -> None:
    study = study_file.load(arguments.file, _note)
    if arguments.name is not None:
        study = spec.parse(study.model_dump() | {"name": arguments.name}, source="--name")
    try:
        view = client.create_study(study)
    except Invalid as refused:
        raise InvalidStudy(arguments.file, refused.errors) from None
    if not arguments.watch:
        budget = f"{view.budget_trials} trials" if view.budget_trials else "no budget"
        _print(arguments, view, f"created {view.name} ({budget}); follow it with: study watch {view.name}")
        return
    arguments.name = view.name
    _watch(client, arguments)


def _plan(client: Client, arguments: argparse.Namespace) -> None:
    study = study_file.load(arguments.file, _note)
    try:
        plan = client.post_plan(study, arguments.like)
    except Invalid as refused:
        raise InvalidStudy(arguments.file, refused.errors) from None
    _print(arguments, plan, render.plan_page(plan, arguments.step_seconds))


def _replay(client: Client, arguments: argparse.Namespace) -> None:
    pruner = study_file.read(arguments.pruner, source="--pruner")
    try:
        request = ReplayRequest.model_validate({"pruner": pruner, "workers": arguments.workers})
    except ValidationError as error:
        raise InvalidStudy("study replay", field_errors(error.errors(), {"pruner": pruner}, ReplayRequest)) from None
    replay = client.replay(arguments.name, request)
    _print(arguments, replay, render.replay_page(replay, request.pruner.name))


def _importance(client: Client, arguments: argparse.Namespace) -> None:
    importance = client.importance(arguments.name)
    _print(arguments, importance, render.importance_page(importance))


def _list(client: Client, arguments: argparse.Namespace) -> None:
    answer = client.studies()
    _print(arguments, answer, render.studies_table(answer.studies))
    _note_damaged("study", answer.damaged)


def _show(client: Client, arguments: argparse.Namespace) -> None:
    if arguments.trial is not None:
        trial = client.trial(arguments.name, arguments.trial)
        _print(arguments, trial, render.trial_page(trial))
        return
    study = client.study(arguments.name)
    if arguments.spec:
        sys.stdout.write(edit.spec_page(study))
        return
    if arguments.json:
        _print(arguments, study, "")
        return
    trials, forks = _trials(client, arguments.name), client.forks(arguments.name)
    edits = client.events(arguments.name, kind="study_edited")
    _note_damaged("fork", forks.damaged)
    _note_damaged("event", edits.damaged)
    page = render.study_page(
        study,
        trials[-MAX_TRIALS_SHOWN:],
        forks=forks.trials,
        trail=client.stages(arguments.name),
        edits=edits.events,
    )
    _print(arguments, study, page)
    if len(trials) > MAX_TRIALS_SHOWN:
        hidden = len(trials) - MAX_TRIALS_SHOWN
        _print(arguments, study, f"({hidden} earlier trials not shown; see: study trials {study.name} --all)")


def _list_trials(client: Client, arguments: argparse.Namespace) -> None:
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
        console = render.console()
        console.print(table.page(columns))
        if left_out:
            console.print(f"({left_out} more; --all shows them, --limit N so many)", soft_wrap=True)


def _best(client: Client, arguments: argparse.Namespace) -> None:
    if len(client.study(arguments.name).spec.objectives) > 1:
        front = client.front(arguments.name)
        _print(arguments, front, render.front_page(front))
        return
    trial = client.best(arguments.name)
    _print(arguments, trial, render.trial_page(trial))


def _checkpoint(client: Client, arguments: argparse.Namespace) -> None:
    named = arguments.trial
    if named == "best":
        best = client.best(arguments.name)
        named = best.id if best.number is None else str(best.number)
    saved = client.newest_checkpoint(arguments.name, named)
    path = Path(arguments.out or f"{arguments.name}-{arguments.trial}.pt")
    if path.exists():
        raise _wrong(str(path), "is there already; name another by --out, or remove it")
    if not saved.uri.startswith(BLOB):
        raise _wrong("study checkpoint", f"it lies in a directory that workers share; copy it from {saved.uri}")
    try:
        if not client.save_blob(saved.sha256, path):
            raise _wrong("study checkpoint", "it came damaged; try again")
    except OSError as error:
        raise _wrong(str(path), f"cannot be written: {error.strerror}") from None
    _print(arguments, saved, f"wrote {path}: trial {named} of {arguments.name} after step {saved.step}")


def _logs(client: Client, arguments: argparse.Namespace) -> None:
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
            sys.stdout.write(render.outcome(page))


def _predictions(client: Client, arguments: argparse.Namespace) -> None:
    if arguments.trial is None:
        answer = client.list_predictions(arguments.name)
        _print(arguments, answer, predictions.list_page(answer))
        return
    content = client.predictions(arguments.name, arguments.trial)
    if arguments.out is not None:
        try:
            Path(arguments.out).write_bytes(content)
        except OSError as error:
            raise _wrong(arguments.out, f"cannot be written: {error.strerror}") from None
        return
    rows = predictions.PredictionTable(content, arguments.split, f"trial {arguments.trial}")
    sys.stdout.write(json.dumps(rows.mappings()) + "\n" if arguments.json else rows.csv())


def _confusion(client: Client, arguments: argparse.Namespace) -> None:
    trial, source = client.trial(arguments.name, arguments.trial), f"trial {arguments.trial}"
    if trial.confusion is None:
        message = (
            f"has no confusion matrix (it is {trial.state}); classifications of up to {MAX_CLASSES} classes have one "
            "once they are trained to their end"
        )
        raise _wrong(source, message)
    _print(arguments, trial.confusion, predictions.confusion_page(trial.confusion, arguments.split, source))


def _watch(client: Client, arguments: argparse.Namespace) -> None:
    try:
        if arguments.json:
            watch.watch_json(client, arguments.name)
        else:
            watch.watch(client, arguments.name, render.console())
    except KeyboardInterrupt:
        sys.stderr.write(f"\nno longer watching; {arguments.name} goes on (end it with: study stop {arguments.name})\n")
        return
    study = client.study(arguments.name)
    if not arguments.json:
        _print(
            arguments, study, f"{study.name} is {study.state}: {render.counts(study)}; best: {render.standing(study)}"
        )
    watch_result.require_result(client, study)


def _pause(client: Client, arguments: argparse.Namespace) -> None:
    _print_state(arguments, client.pause(arguments.name, arguments.reason))


def _resume(client: Client, arguments: argparse.Namespace) -> None:
    _print_state(arguments, client.resume(arguments.name, arguments.reason))


def _edit(client: Client, arguments: argparse.Namespace) -> None:
    if arguments.file is None and not arguments.set:
        raise _wrong("study edit", "name a study file, or write --set PATH=VALUE, such as --set budget.trials=100")
    before = client.study(arguments.name).spec_version
    study = edit.edit(client, arguments.name, arguments.file, arguments.set)
    changed = "nothing changed" if study.spec_version == before else f"goes by version {study.spec_version} of its spec"
    _print(arguments, study, f"{study.name}: {changed}")


def _accept(client: Client, arguments: argparse.Namespace) -> None:
    _print_state(arguments, edit.accept(client, arguments.name, arguments.box))


def _stop(client: Client, arguments: argparse.Namespace) -> None:
    _print_state(arguments, client.stop(arguments.name, arguments.reason))


def _extend(client: Client, arguments: argparse.Namespace) -> None:
    given = {name: vars(arguments)[name] for name in ExtendRequest.model_fields if vars(arguments)[name] is not None}
    try:
        view = client.extend(arguments.name, **given)
    except ValidationError as error:
        raise InvalidStudy("study extend", field_errors(error.errors(), given, ExtendRequest)) from None
    _print_state(arguments, view)


def _release(client: Client, arguments: argparse.Namespace) -> None:
    trial = client.trial(arguments.name, arguments.trial)
    # Name the attempt, so that a repeated call cannot take the trial from its next worker.
    attempt = trial.attempts[-1].number if trial.state is TrialState.RUNNING and trial.attempts else None
    released = client.release(arguments.name, arguments.trial, arguments.reason, attempt)
    _print(arguments, released, f"trial {arguments.trial} of {arguments.name} is {released.state}")


def _delete(client: Client, arguments: argparse.Namespace) -> None:
    study = client.study(arguments.name)
    if not arguments.yes:
        _confirm_deletion(study)
    deleted = client.delete(study.id)
    _print(arguments, deleted, f"deleted {deleted.name}")


def _confirm_deletion(study: StudyView) -> None:
    """Ask the user to type the study's name."""
    if not sys.stdin.isatty():
        raise _wrong("study delete", f"deletes {study.name} for good; in a script, add --yes")
    sys.stderr.write(
        f"This deletes {study.name} with its {render.counts(study)}, their values, checkpoints and logs, for good.\n"
        "Type the name of the study to delete it: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip() != study.name:
        raise _wrong("study delete", "that is not its name; nothing was deleted")


def _enqueue(client: Client, arguments: argparse.Namespace) -> None:
    reply = client.enqueue(arguments.name, _values(arguments.parameters))
    _print(arguments, reply, f"queued; {reply.num_ahead} ahead of it")


def _fork(client: Client, arguments: argparse.Namespace) -> None:
    fork = client.fork(arguments.name, arguments.trial, _values(arguments.set), arguments.at)
    said = f"{fork.suggestion_reason}; it waits as {fork.id} (study show {arguments.name} --trial {fork.id})"
    _print(arguments, fork, said)


def _workers(client: Client, arguments: argparse.Namespace) -> None:
    answer = client.workers()
    _print(arguments, answer, render.workers_table(answer.workers))
    _note_damaged("worker", answer.damaged)


def _catalogue(client: Client, arguments: argparse.Namespace) -> None:
    try:
        found = catalogue.narrowed(client.catalogue(), arguments.section, arguments.entry)
    except catalogue.UnknownEntry as error:
        raise _wrong("study catalogue", str(error)) from None
    _print(arguments, found, catalogue.page(found, arguments.section, arguments.entry))


def _readmit(client: Client, arguments: argparse.Namespace) -> None:
    worker = client.readmit(arguments.worker)
    _print(arguments, worker, f"{worker.name} on {worker.host or 'an unnamed host'} gets trials again")


def _values(words: Sequence[str]) -> dict[str, Value]:
    """Parse arguments of the form KEY=VALUE."""
    parameters: dict[str, Value] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise _wrong(word, "write KEY=VALUE, such as optimizer.lr=3e-3")
        try:
            parameters[key] = TypeAdapter[Value](Value).validate_python(study_file.read(text, source=word))
        except ValidationError:
            raise _wrong(word, "the value must be a number, a word, true, false or a list of these") from None
    return parameters


def _trials(client: Client, study: str) -> list[TrialView]:
    trials: dict[str, TrialView] = {}
    page = client.trials(study, limit=PAGE_TRIALS)
    while page.trials or page.damaged:
        trials |= {trial.id: trial for trial in page.trials}
        _note_damaged("trial", page.damaged)
        page = client.trials(study, since=page.revision, limit=PAGE_TRIALS)
    return sorted(trials.values(), key=lambda trial: trial.number or 0)


def _print_state(arguments: argparse.Namespace, study: StudyView) -> None:
    reason = f": {study.state_reason}" if study.state_reason else ""
    _print(arguments, study, f"{study.name} is {study.state}{reason} ({render.progress(study)} finished)")


def _print(arguments: argparse.Namespace, answer: BaseModel, page: RenderableType) -> None:
    if arguments.json:
        sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    else:
        render.console().print(page, soft_wrap=isinstance(page, str))


def _note_damaged(kind: str, rows: Iterable[DamagedRow]) -> None:
    """List the damaged rows that a listing lacks, on standard error."""
    for row in rows:
        _note(f"damaged: {kind} {row.name} cannot be read: {row.reason} (`service fsck` lists all damage)")


def _note(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _wrong(source: str, message: str) -> InvalidStudy:
    return InvalidStudy(source, [FieldError(path="", message=message)])


COMMANDS: dict[str, Callable[[Client, argparse.Namespace], None]] = {
    "init": _init,
    "create": _create,
    "plan": _plan,
    "replay": _replay,
    "importance": _importance,
    "list": _list,
    "show": _show,
    "trials": _list_trials,
    "best": _best,
    "checkpoint": _checkpoint,
    "logs": _logs,
    "predictions": _predictions,
    "confusion": _confusion,
    "watch": _watch,
    "pause": _pause,
    "resume": _resume,
    "edit": _edit,
    "accept": _accept,
    "stop": _stop,
    "extend": _extend,
    "release": _release,
    "delete": _delete,
    "enqueue": _enqueue,
    "fork": _fork,
    "workers": _workers,
    "catalogue": _catalogue,
    "readmit": _readmit,
}
