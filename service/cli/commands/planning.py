"""Commands before a study runs: look, init, plan, create, and replay of a finished one."""

from __future__ import annotations

import argparse
from pathlib import Path

from pydantic import ValidationError

from service.cli import inspect_data, recipe_steps, scaffold
from service.cli.column_texts import NumberRules
from service.cli.commands.output import file_to_write, note, print_answer, progress_bar, write_page
from service.cli.commands.studies import watch_study
from service.cli.data_files import Table
from service.cli.look.report import LEFT_OUT, Finding, Report
from service.cli.render import formatting, look_pages, plan_pages
from service.client import spec, study_file
from service.client.client import Client
from service.client.errors import Invalid, InvalidStudy, invalid_study
from service.contract.plan import ReplayRequest
from service.contract.validation_errors import field_errors


def _examine(arguments: argparse.Namespace, table: Table | None) -> Report | None:
    """Examine the data of `study init`. None, with a note, if that is not possible here, as without Pillow."""
    from service.cli.look.look import look  # noqa: PLC0415 - NumPy is slow to load

    try:
        with progress_bar() as notice:
            return look(arguments.data, _inspect_options(arguments), notice=notice, table=table)
    except InvalidStudy as reason:
        note(f"the data were not examined: {reason}")
        return None


def look_at_data(client: Client, arguments: argparse.Namespace) -> None:
    del client  # the data lie on this machine
    from service.cli.look.look import look  # noqa: PLC0415 - NumPy is slow to load
    from service.cli.render import look_html  # noqa: PLC0415

    page = file_to_write("--html", arguments.html, ".html", ".htm")
    with progress_bar() as notice:
        report = look(arguments.data, _inspect_options(arguments), arguments.seed, notice)
    if page is not None:
        write_page(page, look_html.html_page(report))
    print_answer(arguments, report, look_pages.look_page(report))


def _inspect_options(arguments: argparse.Namespace) -> inspect_data.InspectOptions:
    rules = NumberRules(na_values=arguments.na_value, categorical=arguments.categorical)
    return inspect_data.InspectOptions(arguments.target, arguments.task, arguments.encoding, rules)


def init_study(client: Client, arguments: argparse.Namespace) -> None:
    del client  # the study is checked later, when it is planned or created
    data = inspect_data.inspect_data(arguments.data, _inspect_options(arguments))
    name = arguments.name or scaffold.name_for(arguments.data)
    path = Path(arguments.out or f"{name}.yaml")
    report = _examine(arguments, data.table) if "path" in data.data else None
    all_columns = set(data.columns)
    data = data.without_columns({} if report is None else _unlearnable_columns(report))
    if report is not None and not arguments.json:
        formatting.console().print("\n".join([*look_pages.summary_lines(report), ""]), soft_wrap=True)
    left_out = all_columns - set(data.columns)
    findings = [] if report is None else [each.sentence for each in report.findings if _is_open(each, left_out)]
    write = recipe_steps.write_steps if arguments.recipe == "steps" else scaffold.write
    text = write(data.relative_to(path.parent), name, str(path), findings)
    study = spec.parse(study_file.read(text, source=str(path)), source=str(path))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise invalid_study(path, "already exists; choose another file with --out, or remove it") from None
    except OSError as error:
        raise invalid_study(path, f"cannot be written: {error.strerror}") from None
    page = [f"wrote {path}; read it, then: study plan {path}"]
    # The summary of an examined file names its encoding.
    page += [*([] if report is not None else scaffold.about_encoding(data)), *scaffold.about_data(data)]
    print_answer(arguments, study, "\n".join(page))


def _unlearnable_columns(report: Report) -> dict[str, str]:
    """Return the columns that `study look` proposes to leave out, each with its finding."""
    return {
        name: finding.message for finding in report.findings if finding.rule in LEFT_OUT for name in finding.columns
    }


def _is_open(finding: Finding, left_out: set[str]) -> bool:
    """Return whether the study file names a finding: it matters, and leaving out its columns has not settled it."""
    return finding.level != "note" and not (finding.rule in LEFT_OUT and left_out.issuperset(finding.columns))


def create_study(client: Client, arguments: argparse.Namespace) -> None:
    study = study_file.load(arguments.file, note)
    if arguments.name is not None:
        study = spec.parse(study.model_dump() | {"name": arguments.name}, source="--name")
    try:
        view = client.create_study(study)
    except Invalid as refused:
        raise InvalidStudy(arguments.file, refused.errors) from None
    if not arguments.watch:
        budget = f"{view.budget_trials} trials" if view.budget_trials else "no budget"
        print_answer(arguments, view, f"created {view.name} ({budget}); follow it with: study watch {view.name}")
        return
    arguments.name = view.name
    watch_study(client, arguments)


def plan_study(client: Client, arguments: argparse.Namespace) -> None:
    study = study_file.load(arguments.file, note)
    try:
        plan = client.post_plan(study, arguments.like)
    except Invalid as refused:
        raise InvalidStudy(arguments.file, refused.errors) from None
    print_answer(arguments, plan, plan_pages.plan_page(plan, arguments.step_seconds))


def replay_study(client: Client, arguments: argparse.Namespace) -> None:
    pruner = study_file.read(arguments.pruner, source="--pruner")
    try:
        request = ReplayRequest.model_validate({"pruner": pruner, "workers": arguments.workers})
    except ValidationError as error:
        raise InvalidStudy("study replay", field_errors(error.errors(), {"pruner": pruner}, ReplayRequest)) from None
    replay = client.replay(arguments.name, request)
    print_answer(arguments, replay, plan_pages.replay_page(replay, request.pruner.name))
