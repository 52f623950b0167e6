"""Commands about a study: list, show, watch, pause, resume, stop, edit, accept, extend, delete, importance."""

from __future__ import annotations

import argparse
import sys

from pydantic import ValidationError

from service.cli import edit, watch, watch_result
from service.cli.commands.output import note_damaged, print_answer, print_state
from service.cli.commands.trials import MAX_TRIALS_SHOWN, _trials
from service.cli.render import formatting, study_pages, trial_pages
from service.client.client import Client
from service.client.errors import InvalidStudy, invalid_study
from service.contract.study import ExtendRequest, StudyView
from service.contract.validation_errors import field_errors


def show_importance(client: Client, arguments: argparse.Namespace) -> None:
    importance = client.importance(arguments.name)
    print_answer(arguments, importance, study_pages.importance_page(importance))


def list_studies(client: Client, arguments: argparse.Namespace) -> None:
    answer = client.studies()
    print_answer(arguments, answer, study_pages.studies_table(answer.studies))
    note_damaged("study", answer.damaged)


def show_study(client: Client, arguments: argparse.Namespace) -> None:
    if arguments.trial is not None:
        trial = client.trial(arguments.name, arguments.trial)
        print_answer(arguments, trial, trial_pages.trial_page(trial))
        return
    study = client.study(arguments.name)
    if arguments.spec:
        sys.stdout.write(edit.spec_page(study))
        return
    if arguments.json:
        print_answer(arguments, study, "")
        return
    trials, forks = _trials(client, arguments.name), client.forks(arguments.name)
    edits = client.events(arguments.name, kind="study_edited")
    note_damaged("fork", forks.damaged)
    note_damaged("event", edits.damaged)
    page = study_pages.study_page(
        study,
        trials[-MAX_TRIALS_SHOWN:],
        forks=forks.trials,
        trail=client.stages(arguments.name),
        edits=edits.events,
    )
    print_answer(arguments, study, page)
    if len(trials) > MAX_TRIALS_SHOWN:
        hidden = len(trials) - MAX_TRIALS_SHOWN
        print_answer(arguments, study, f"({hidden} earlier trials not shown; see: study trials {study.name} --all)")


def watch_study(client: Client, arguments: argparse.Namespace) -> None:
    try:
        if arguments.json:
            watch.watch_json(client, arguments.name)
        else:
            watch.watch(client, arguments.name, formatting.console())
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nstopped watching; {arguments.name} keeps running (stop it with: study stop {arguments.name})\n"
        )
        return
    study = client.study(arguments.name)
    if not arguments.json:
        print_answer(
            arguments,
            study,
            f"{study.name} is {study.state}: {study_pages.counts(study)}; best: {study_pages.reference_summary(study)}",
        )
        for finding in study_pages.findings(study):
            print_answer(arguments, study, finding)
    watch_result.require_result(client, study)


def pause_study(client: Client, arguments: argparse.Namespace) -> None:
    print_state(arguments, client.pause(arguments.name, arguments.reason))


def resume_study(client: Client, arguments: argparse.Namespace) -> None:
    print_state(arguments, client.resume(arguments.name, arguments.reason))


def edit_study(client: Client, arguments: argparse.Namespace) -> None:
    if arguments.file is None and not arguments.set:
        raise invalid_study(
            "study edit", "name a study file, or write --set PATH=VALUE, such as --set budget.trials=100"
        )
    before = client.study(arguments.name).spec_version
    study = edit.edit(client, arguments.name, arguments.file, arguments.set)
    changed = (
        "nothing changed" if study.spec_version == before else f"now uses version {study.spec_version} of its spec"
    )
    print_answer(arguments, study, f"{study.name}: {changed}")


def accept_box(client: Client, arguments: argparse.Namespace) -> None:
    print_state(arguments, edit.accept(client, arguments.name, arguments.box))


def stop_study(client: Client, arguments: argparse.Namespace) -> None:
    print_state(arguments, client.stop(arguments.name, arguments.reason))


def extend_study(client: Client, arguments: argparse.Namespace) -> None:
    given = {name: vars(arguments)[name] for name in ExtendRequest.model_fields if vars(arguments)[name] is not None}
    try:
        view = client.extend(arguments.name, **given)
    except ValidationError as error:
        raise InvalidStudy("study extend", field_errors(error.errors(), given, ExtendRequest)) from None
    print_state(arguments, view)


def delete_study(client: Client, arguments: argparse.Namespace) -> None:
    study = client.study(arguments.name)
    if not arguments.yes:
        _confirm_deletion(study)
    deleted = client.delete(study.id)
    print_answer(arguments, deleted, f"deleted {deleted.name}")


def _confirm_deletion(study: StudyView) -> None:
    """Ask the user to type the study's name."""
    if not sys.stdin.isatty():
        raise invalid_study("study delete", f"deletes {study.name} permanently; in a script, add --yes")
    sys.stderr.write(
        f"This deletes {study.name} with its {study_pages.counts(study)}, their values, checkpoints and logs "
        "permanently.\n"
        "Type the name of the study to delete it: "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip() != study.name:
        raise invalid_study("study delete", "the name does not match; nothing was deleted")
