"""The command `study curves`: ROC and precision-recall curves, and a decision threshold chosen on validation."""

from __future__ import annotations

import argparse

from service.cli.commands.output import print_answer
from service.cli.curves.decisions import Costs
from service.cli.curves.report import curves_page, curves_report
from service.cli.predictions import PredictionTable
from service.client.client import Client


def show_curves(client: Client, arguments: argparse.Namespace) -> None:
    trial = arguments.trial
    if trial is None:
        best = client.best(arguments.name)
        trial = best.id if best.number is None else str(best.number)
    source = f"trial {trial}"
    rows = PredictionTable(client.predictions(arguments.name, trial), None, source).columns()
    costs = Costs(arguments.cost_false_positive, arguments.cost_false_negative)
    report = curves_report(rows, source, arguments.positive, arguments.choose, costs)
    print_answer(arguments, report, curves_page(report, source))
