"""Commands of `study` that analyse what was recorded: importance, diagnosis, predictions, errors, curves, replay."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

SPLITS = ("val", "test", "test_val")
"""The held-out splits of a trial's data."""

AddCommand = Callable[[str, str], argparse.ArgumentParser]
"""A function that adds a command, given its name and help text."""

ERRORS_EXAMPLES = """
examples:
  study errors digits-mlp                                   the best trial: what it gets wrong, and what to fix first
  study errors digits-mlp 12 --html errors.html             with a picture of each example, in one file
  study errors houses --data houses.csv --by district       the error in each district
  study errors pets --by categories.csv                     by hand-made categories: a file with the columns id,category
  study errors digits-mlp --json | jq '.label_errors.suspects[].id'

Each group of examples has a ceiling: the metric if every example of the group were right. Fixing the group can gain no
more than that. A label is suspect if the good trials agree on another class against it. Only held-out examples are
examined; with `folds: 5` in the task every example outside the test set is held out once.
"""


def add_analysis_commands(of_study: AddCommand) -> None:
    """Add the commands to the parser of `study`.

    Args:
        of_study: adds a command whose first argument is a study.
    """
    of_study("importance", "rank the parameters by how much they distinguish the best trials from the others")
    diagnose = of_study("diagnose", "say what the results and the learning curves of a study show, and what to do")
    diagnose.add_argument("--trial", metavar="N", help="show the findings about one trial, beside its learning curves")
    diagnose.add_argument("--rule", metavar="RULE", help="show only what this rule found, such as overfitting")
    diagnose.add_argument(
        "--confidence", choices=("high", "medium", "low"), metavar="LEVEL", help="show only findings of this confidence"
    )
    diagnose.add_argument(
        "--wait", action="store_true", help="wait until the service has judged the study as it is now"
    )
    predicted = of_study(
        "predictions", "print a trial's predictions on held-out examples as CSV, or list the trials that have any"
    )
    predicted.add_argument(
        "trial",
        metavar="TRIAL",
        nargs="?",
        help="number of the trial, or id of a fork (default: list trials with predictions)",
    )
    which = predicted.add_mutually_exclusive_group()
    which.add_argument("--split", choices=SPLITS, help="print this split only (default: all)")
    which.add_argument("--out", metavar="FILE", help="write the predictions of all splits to this Parquet file instead")
    confusion = of_study("confusion", "show the confusion matrix of a trial's model")
    confusion.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    confusion.add_argument(
        "--split", choices=SPLITS, default="val", help="split that the matrix is about (default: val)"
    )
    _add_curves_command(of_study)
    _add_errors_command(of_study)
    replay = of_study(
        "replay", "estimate from recorded learning curves which steps another pruner would have saved, at what loss"
    )
    replay.add_argument(
        "--pruner",
        required=True,
        metavar="PRUNER",
        help="name of the pruner, or its settings, such as {name: asha, eta: 4}",
    )
    replay.add_argument(
        "--workers", type=int, default=1, metavar="N", help="number of workers to simulate (default: 1)"
    )


def _add_curves_command(of_study: AddCommand) -> None:
    curves = of_study(
        "curves", "show ROC and precision-recall curves of a trial's model, and a threshold chosen on validation"
    )
    curves.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="number of the trial, or id of a fork (default: the best trial)"
    )
    curves.add_argument(
        "--positive", metavar="CLASS", help="class that counts as positive (default: the rarer of two classes)"
    )
    curves.add_argument(
        "--choose",
        choices=("f1", "balanced_accuracy", "cost"),
        default="f1",
        help="choose the threshold with the largest F1 or balanced accuracy, or the smallest cost (default: f1)",
    )
    for mistake in ("positive", "negative"):
        curves.add_argument(
            f"--cost-false-{mistake}",
            type=_cost,
            default=1.0,
            metavar="COST",
            help=f"cost of a false {mistake}, for --choose cost (default: 1)",
        )


def _add_errors_command(of_study: AddCommand) -> None:
    errors = of_study(
        "errors", "show which examples a trial's model gets wrong, what fixing them gains, and likely label errors"
    )
    errors.epilog, errors.formatter_class = ERRORS_EXAMPLES, argparse.RawDescriptionHelpFormatter
    errors.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="number of the trial, or id of a fork (default: the best trial)"
    )
    errors.add_argument(
        "--split",
        choices=SPLITS,
        default="val",
        help="split that is analysed; test consults the test set (default: val)",
    )
    errors.add_argument(
        "--data", metavar="PATH", help="file or folder with the examples (default: the path in the study's spec)"
    )
    errors.add_argument(
        "--by",
        action="append",
        default=[],
        metavar="COLUMN|FILE.csv",
        help="show the error by this column, or by a file with the columns id and category; repeatable",
    )
    errors.add_argument(
        "--top", type=count, default=10, metavar="N", help="number of examples in each list (default: 10)"
    )
    errors.add_argument("--html", metavar="FILE", help="write the report to this HTML file, with pictures")


def count(text: str) -> int:
    """Parse a number of things to list. argparse converts the error to a sentence."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return number


def _cost(text: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = math.nan
    if not 0 <= cost < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of at least 0, got {text!r}")
    return cost
