"""The command `study errors`: what a trial's model gets wrong, what fixing it gains, and likely label errors."""

from __future__ import annotations

import argparse
import contextlib
import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from service.cli.commands.output import file_to_write, print_answer, progress_bar, write_page
from service.cli.errors.analysis import Subject, analyse
from service.cli.errors.categories import read_categories
from service.cli.errors.example_data import ExampleData, NoData, read_examples
from service.cli.errors.predictions import SplitPredictions, read_split
from service.cli.predictions import PredictionTable
from service.cli.render.errors_html import errors_html
from service.cli.render.errors_page import errors_page
from service.client.client import Client
from service.client.errors import InvalidStudy, NotFound, invalid_study
from service.contract.predictions import PredictionsList, PredictionsView
from service.contract.study import StudyView
from service.contract.trial import TrialView


def show_errors(client: Client, arguments: argparse.Namespace) -> None:
    page = file_to_write("--html", arguments.html, ".html", ".htm")
    study = client.study(arguments.name)
    trial, kept = _trial(client, study, arguments.trial)
    predictions, others = _predictions(client, study.id, trial, kept, arguments.split)
    section = _data_section(study, trial)
    notes: list[str] = []
    data: ExampleData | None = None
    try:
        data = read_examples(section, arguments.data, predictions.ids, arguments.split)
    except NoData as reason:
        notes.append(str(reason))
    if "query" in section and data is None:
        raise invalid_study(
            f"trial {_name(trial)}",
            "ranks the rows of each query, and only the data say which rows belong together; give them by --data PATH",
        )
    ids = predictions.ids if data is None or data.query is None else np.array([str(each) for each in data.query])
    subject = Subject(
        study=study.name,
        trial=_name(trial),
        split=arguments.split,
        metric=study.spec.primary_objective.metric.rpartition("/")[2],
        predictions=predictions,
        others=others,
        data=data,
        categories=read_categories(arguments.by, ids, data),
        notes=notes,
    )
    report = analyse(subject, arguments.top)
    if page is not None:
        write_page(page, errors_html(report))
    print_answer(arguments, report, errors_page(report))


def _trial(client: Client, study: StudyView, given: str | None) -> tuple[TrialView, PredictionsList]:
    """Return the trial to analyse, the best one if none is given, and the trials with kept predictions.

    Raises:
        InvalidStudy: the trial's predictions are not kept.
        NotFound: there is no such trial, or no trial is completed.
    """
    kept = client.list_predictions(study.id)
    if not kept.trials:
        raise invalid_study(study.name, _why_none(study))
    if given is not None:
        trial: TrialView = client.trial(study.id, given)
    elif len(study.spec.objectives) > 1:
        raise invalid_study(
            study.name, f"has several objectives, so no trial is the best; name one: {_named(kept.trials)}"
        )
    else:
        trial = client.best(study.id)
    if trial.id not in {each.trial for each in kept.trials}:
        raise invalid_study(
            f"trial {_name(trial)}",
            f"its predictions are not kept (it is {trial.state}); those of these trials are: {_named(kept.trials)}",
        )
    return trial, kept


def _why_none(study: StudyView) -> str:
    """Say why a study has no predictions: its task makes none, or no trial is completed."""
    section = _data_section(study, None)
    if section.get("name") == "text":
        return (
            "is a language model: it predicts every token, and no predictions of single examples are kept; "
            "study errors is for classification, regression and ranking"
        )
    return "has no kept predictions yet; the service keeps those of the ten best completed trials"


def _named(trials: list[PredictionsView]) -> str:
    return ", ".join(each.trial if each.number is None else str(each.number) for each in trials)


def _name(trial: TrialView) -> str:
    return trial.id if trial.number is None else str(trial.number)


def _predictions(
    client: Client, study: str, trial: TrialView, kept: PredictionsList, split: str
) -> tuple[SplitPredictions, Mapping[str, SplitPredictions]]:
    """Download the predictions of the trial and of the others that are kept, and show the progress."""

    def read(of: str, name: str) -> SplitPredictions:
        source = f"trial {name}"
        return read_split(PredictionTable(client.predictions(study, of), None, source).arrays(), split, source)

    predictions = read(trial.id, _name(trial))
    others = {}
    with progress_bar() as notice:
        for place, each in enumerate(kept.trials):
            notice("downloading predictions", place / len(kept.trials))
            name = each.trial if each.number is None else str(each.number)
            # Another trial may have no such split, or have lost its place to a better one.
            with contextlib.suppress(InvalidStudy, NotFound):
                if each.trial != trial.id:
                    others[name] = read(each.trial, name)
    return predictions, others


def _data_section(study: StudyView, trial: TrialView | None) -> dict[str, Any]:
    """Return the `data` section of the study's task, with what the trial's parameters set in it."""
    task = study.spec.task
    sections = None if task is None else task.train if task.train is not None else task.estimator
    data = copy.deepcopy((sections or {}).get("data", {}))
    if not isinstance(data, dict):
        data = {"name": data}
    for path, value in ({} if trial is None else trial.parameters).items():
        if path.startswith("data."):
            data[path.removeprefix("data.")] = value
    return data
