"""The command `study diagnose`: what a study's results and its trials' learning curves show, and what to do."""

from __future__ import annotations

import argparse
import time

from service.cli.commands.output import print_answer
from service.cli.render.diagnosis_pages import diagnosis_page, trial_diagnosis_page
from service.client.client import Client
from service.contract.diagnosis import StudyDiagnosis, TrialDiagnosis
from service.contract.finding import Confidence

_POLL_SECONDS = 1.0


def show_diagnosis(client: Client, arguments: argparse.Namespace) -> None:
    confidence = None if arguments.confidence is None else Confidence(arguments.confidence)

    def ask() -> StudyDiagnosis | TrialDiagnosis:
        if arguments.trial is None:
            return client.diagnosis(arguments.name, arguments.rule, confidence)
        return client.trial_diagnosis(arguments.name, arguments.trial, arguments.rule, confidence)

    answer = ask()
    # A study that trains changes all the time, so wait for the revision that it has now.
    wanted = answer.revision
    while arguments.wait and answer.lags and (answer.judged_revision or 0) < wanted:
        time.sleep(_POLL_SECONDS)
        answer = ask()
    is_filtered = arguments.rule is not None or confidence is not None
    if isinstance(answer, StudyDiagnosis):
        print_answer(arguments, answer, diagnosis_page(answer, is_filtered=is_filtered))
    else:
        trial = client.trial(arguments.name, arguments.trial)
        print_answer(arguments, answer, trial_diagnosis_page(answer, trial, is_filtered=is_filtered))
