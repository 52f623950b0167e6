"""The command-line parser of `study`: its commands, their arguments and their help texts."""

from __future__ import annotations

import argparse
from importlib.metadata import version

from service.cli.analysis_parser import AddCommand, add_analysis_commands, count

EXAMPLES = """
examples:
  study look houses.csv --target price          what the data hold and what is wrong with them
  study init houses.csv --target price          write a study file for this data; read and edit it
  study plan examples/digits.yaml               how many trials and steps it will train
  study create examples/digits.yaml --watch     create a study and follow it
  study list                                    all studies, newest first
  study show digits-mlp                         its state, best trial and latest trials
  study show digits-mlp --trial 12              one trial: parameters, metrics, attempts
  study trials digits-mlp --sort value --limit 100 --columns number,value,optimizer.lr
  study trials digits-mlp --filter state=completed --filter 'optimizer.lr>1e-3' --csv > trials.csv
  study logs digits-mlp 12 --follow             follow what the trial prints
  study confusion digits-mlp 12                 the confusion matrix of the trial's model
  study predictions digits-mlp 12 --out 12.parquet
  study curves tumours 12 --positive malignant --choose cost --cost-false-negative 10
  study diagnose digits-mlp                     what its results and learning curves show, and what to do
  study errors digits-mlp --html errors.html     which examples its best model gets wrong, and likely label errors
  study best digits-mlp --json | jq .parameters
  study checkpoint digits-mlp best --out best.pt     download the best trial's model
  study export-model digits-mlp --out digits.zip     the best trial's model, which predicts without the data
  study predict digits-mlp --data new.npz --out predictions.csv
  study predict --bundle digits.zip --data new.npz --out predictions.csv
  study pause digits-mlp --reason "need the GPU"
  study extend digits-mlp --trials 100          raise the budget to 100 trials in total
  study extend digits-mlp --hours 24            raise the budget to 24 hours in total
  study release digits-mlp 12 --reason "its host hangs"
  study delete digits-mlp                       delete a stopped study with all its data
  study replay digits-mlp --pruner asha         how many steps ASHA would have saved
  study edit digits-mlp --set space.optimizer.lr.high=1
  study accept digits-mlp --box 'optimizer.lr=[1e-3, 1e-2]' 'optimizer.name=[adamw]'
  study preflight digits.yaml                   check a study file on a worker before its search begins
  study preflight digits-mlp                    the results of the checks, and what to do
  study overfit digits.yaml                     overfit one batch on this machine, with a plot
  study lr-range digits.yaml --svg rates.svg    find the useful learning rates on this machine, with a plot
  study diagnose digits-mlp                     what the results show, and what to do
  study data-curve digits.yaml                  train on 10, 30 and 100 % of the data: would more data help?
  study importance digits-mlp                   which parameters affect the result most
  study apply digits-mlp diverged --trial 7     apply the first remedy of a finding
  study next digits-mlp --out next.yaml         draft the follow-up study that the findings suggest
  study workers                                 all workers, and why some get no trials
  study catalogue model mlp                     the settings of the model `mlp`
  study fork digits-mlp 12 --at 8 --set optimizer.lr=3e-4
  study enqueue digits-mlp optimizer.lr=3e-3 optimizer.name=adamw

The address of the service is --server, else ASSAYER_SERVER, else http://127.0.0.1:8420. If ASSAYER_TOKEN is set, it
is sent to the service.

Exit status:
  0   success; for watch and create --watch: the study and at least one of its trials are completed
  1   error; for watch and create --watch: the study paused because of failures, was stopped, or completed without a
      completed trial
  2   invalid command line
  130 interrupted (Ctrl-C); for watch and logs --follow, Ctrl-C exits with 0, and the study keeps running
"""

LOOK_EXAMPLES = """
examples:
  study look houses.csv --target price                      a page for the terminal
  study look houses.csv --target price --html houses.html   a page to keep: one file, with plots and examples
  study look houses.csv --target price --json | jq '.findings[] | select(.level == "error")'
  study look sales.parquet --target sold --na-value '?' --categorical shop
  study look pets --html pets.html                          a folder of images with a folder per class

Each finding has a figure and a remedy in the words of the study file. Its level says how bad it is:
  error     training refuses the data as they are
  warning   the result will be worse, or better than it should be
  note      worth a look

A column's association with the target is Pearson's r and Spearman's rho between numbers, Cramer's V between
categories, and the correlation ratio eta between numbers and categories. The score says how much of a constant guess's
error a rule of this column alone removes, on the half of the rows that the rule was not learned on: a column with a
score near 1 may be a leak, written down after the target was known.

A file of more than 50,000 rows, or a folder of more than 4,000 images, is sampled at random; the page says so. The same
--seed gives the same page.
"""

DATA_CURVE_EXAMPLES = """
examples:
  study data-curve digits.yaml
  study data-curve digits.yaml --seeds 5 --html curve.html

Trains the middle of the study's space on 10, 30 and 100 % of the training examples, with three seeds each. Validation
examples stay the same. Every training makes as many steps, so a tenth of the data trains ten times as many epochs, and
each is measured in its best epoch. A power law through the errors says what twice and four times the data would give.
"""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    In the parsed arguments, `command` is the command's name. `server` and `json` exist for every command.
    """
    whole = argparse.ArgumentParser(
        prog="study",
        description="Create, watch and control hyperparameter studies on an Assayer service.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"assayer {version('assayer')}")
    common = argparse.ArgumentParser(add_help=False)
    whole.set_defaults(server=None, json=False)
    for options in (whole, common):  # valid before and after the command
        options.add_argument(
            "--server",
            metavar="URL",
            default=argparse.SUPPRESS,
            help="address of the service (default: ASSAYER_SERVER, else http://127.0.0.1:8420)",
        )
        options.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON on standard output"
        )
    verbs = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])

    def of_study(name: str, text: str) -> argparse.ArgumentParser:
        named = verb(name, text)
        named.add_argument("name", metavar="NAME", help="name or id of the study")
        return named

    _add_create_commands(verb)
    _add_preflight_command(verb)
    _add_local_checks(verb)
    _add_data_curve_command(verb)
    _add_view_commands(verb, of_study)
    add_analysis_commands(of_study)
    _add_remedy_commands(of_study)
    _add_control_commands(verb, of_study)
    _add_trial_commands(of_study)
    return whole


def _add_create_commands(verb: AddCommand) -> None:
    _add_look_command(verb)
    init = verb("init", "write a study file for your data, with a model, ranges and a budget that usually work")
    init.add_argument(
        "data",
        metavar="DATA",
        help="a CSV, Parquet, NPZ or text file, a folder of images, or the name of a built-in dataset",
    )
    _add_data_options(init)
    init.add_argument("--name", help="name of the study (default: the name of the data)")
    init.add_argument("--out", metavar="FILE", help="file to write (default: NAME.yaml)")
    init.add_argument(
        "--recipe",
        choices=("search", "steps"),
        default="search",
        help="search: all parameters that usually matter, at once; steps: rates, then decays, then longer trainings, "
        "from a small problem to the whole (default: search)",
    )
    plan = verb("plan", "estimate how many trials and steps a study file will train, without creating the study")
    plan.add_argument("file", metavar="FILE", help="study file (YAML)")
    timing = plan.add_mutually_exclusive_group()
    timing.add_argument(
        "--like", metavar="STUDY", help="also estimate device-hours, from the seconds per step in this study"
    )
    timing.add_argument(
        "--step-seconds",
        type=float,
        metavar="S",
        help="also estimate device-hours, from these seconds per step (per trial if the study has no resource)",
    )
    create = verb("create", "create a study from a study file (YAML)")
    create.add_argument("file", metavar="FILE", help="study file (YAML)")
    create.add_argument("--name", help="name of the study (default: the name in the file)")
    create.add_argument("--watch", action="store_true", help="follow the study until it is finished, like study watch")


def _add_look_command(verb: AddCommand) -> None:
    look = verb("look", "examine a data file before training: columns, target, leaks, duplicates, and what to do")
    look.epilog, look.formatter_class = LOOK_EXAMPLES, argparse.RawDescriptionHelpFormatter
    look.add_argument("data", metavar="DATA", help="a CSV, Parquet, NPZ or text file, or a folder of images")
    _add_data_options(look)
    look.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the examples and of a large file's sample (default: 0)",
    )
    look.add_argument("--html", metavar="FILE", help="write the page to this HTML file, with plots and examples")


def _add_data_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--target", metavar="COLUMN", help="the column to predict")
    command.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="kind of task (default: derived from the target column)",
    )
    command.add_argument("--encoding", help="encoding of a CSV file, such as cp949 (default: detected)")
    command.add_argument(
        "--na-value", action="append", default=[], metavar="TEXT", help="text that marks a missing value; repeatable"
    )
    command.add_argument(
        "--categorical",
        action="append",
        default=[],
        metavar="COLUMN",
        help="column to read as categories, not numbers; repeatable",
    )


def _add_preflight_command(verb: AddCommand) -> None:
    preflight = verb("preflight", "check a study before it spends its budget, and show what the checks found")
    preflight.add_argument(
        "name",
        metavar="NAME|FILE",
        help="name or id of a study, or a study file: then the study is created, and its search waits for study resume",
    )
    preflight.add_argument("--again", action="store_true", help="check the study again, by its current spec")
    preflight.add_argument("--no-wait", action="store_true", help="do not wait for a preflight that has not ended")


def _add_local_checks(verb: AddCommand) -> None:
    for name, text in (
        ("overfit", "overfit one batch of a study file's data on this machine, which every working model can"),
        ("lr-range", "find the learning rates at which the loss of a study file's model falls, on this machine"),
    ):
        check = verb(name, text)
        check.add_argument("file", metavar="FILE", help="study file (YAML) with a train task; no service is needed")
        check.add_argument("--svg", metavar="FILE", help="write the plot to this SVG file")
        check.add_argument("--html", metavar="FILE", help="write the result with its plot to this HTML file")
        check.add_argument("--seconds", metavar="N", help="time that the check may take (default: 60)")
        check.add_argument("--seed", metavar="N", help="seed of all draws (default: 0)")
        _add_training_options(check)


def _add_data_curve_command(verb: AddCommand) -> None:
    curve = verb(
        "data-curve", "train on parts of a study file's data on this machine, to see what more data would give"
    )
    curve.epilog, curve.formatter_class = DATA_CURVE_EXAMPLES, argparse.RawDescriptionHelpFormatter
    curve.add_argument("file", metavar="FILE", help="study file (YAML) with a train task; no service is needed")
    curve.add_argument("--seeds", type=count, default=3, metavar="N", help="trainings on each part (default: 3)")
    curve.add_argument("--html", metavar="FILE", help="write the result with its plot to this HTML file")
    _add_training_options(curve)


def _add_training_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--gpu", metavar="N", help="train on this GPU (default: on the CPU)")
    command.add_argument("--threads", metavar="N", help="CPU threads (default: all cores)")
    command.add_argument(
        "--register", action="append", metavar="MODULE", help="import this module's custom entries; repeatable"
    )
    command.add_argument(
        "--data",
        action="append",
        metavar="DIR",
        help="folder below which the study may name files; repeatable (default: the working directory)",
    )


def _add_view_commands(verb: AddCommand, of_study: AddCommand) -> None:
    verb("list", "list all studies, newest first")
    show = of_study("show", "show a study's state, budget, best trial and latest trials")
    page = show.add_mutually_exclusive_group()
    page.add_argument("--spec", action="store_true", help="print the study's spec as a study file, for study edit")
    page.add_argument(
        "--trial",
        metavar="N",
        help="show one trial: parameters, metrics and attempts (number of the trial, or id of a fork)",
    )
    _add_trials_command(of_study)
    of_study("best", "show the best completed trial, or the Pareto front of a study with several objectives")
    of_study("watch", "follow a study until it is finished; Ctrl-C stops watching, and the study keeps running")
    logs = of_study("logs", "print the output of a trial's training process")
    logs.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    logs.add_argument("--attempt", type=int, metavar="N", help="number of the attempt (default: the newest)")
    logs.add_argument("--stderr", action="store_true", help="print standard error instead of standard output")
    logs.add_argument("--follow", action="store_true", help="keep printing new output until the attempt ends")
    checkpoint = of_study("checkpoint", "download a trial's newest checkpoint with its model")
    checkpoint.add_argument("trial", metavar="TRIAL", help="number of the trial, id of a fork, or the word best")
    checkpoint.add_argument("--out", metavar="FILE", help="file to write (default: NAME-TRIAL.pt)")
    _add_model_commands(verb, of_study)
    verb("workers", "list the workers with their devices, running trials and quarantine")
    catalogue = verb(
        "catalogue", "list the models, losses, optimizers and other entries that a study can use, custom ones included"
    )
    catalogue.add_argument(
        "section",
        metavar="SECTION",
        nargs="?",
        help="list this section only: model, loss, … or settings (default: all)",
    )
    catalogue.add_argument("entry", metavar="NAME", nargs="?", help="show the settings of this entry")


def _add_model_commands(verb: AddCommand, of_study: AddCommand) -> None:
    export = of_study("export-model", "write the model of a trial to one file that predicts without the data")
    export.add_argument(
        "--format",
        choices=("bundle", "safetensors", "onnx", "torch-export"),
        default="bundle",
        help="bundle: predicts on new examples; the others: for other programs (default: bundle)",
    )
    export.add_argument("--out", metavar="FILE", help="file to write (default: NAME-TRIAL with the format's ending)")
    predict = verb("predict", "predict on a file of new examples by a trial's model, or by a bundle without a service")
    predict.add_argument("name", metavar="NAME", nargs="?", help="name or id of the study (left out with --bundle)")
    predict.add_argument("--bundle", metavar="FILE", help="predict by this bundle; no service is needed")
    predict.add_argument("--data", required=True, metavar="FILE", help="file or folder of new examples")
    predict.add_argument("--out", required=True, metavar="FILE", help="file to write, .csv or .parquet")
    predict.add_argument(
        "--submission", metavar="SAMPLE", help="fill the columns and rows of a competition's sample file (CSV)"
    )
    predict.add_argument("--encoding", help="encoding of a CSV or text file, such as cp949 (default: detected)")
    predict.add_argument("--impute-columns", action="store_true", help="treat missing columns as missing values")
    for command in (export, predict):
        command.add_argument(
            "--trial",
            default="best",
            metavar="N",
            help="number of the trial, id of a fork, or the word best (default: best)",
        )
        command.add_argument(
            "--register", action="append", metavar="MODULE", help="import this module's custom entries; repeatable"
        )


def _add_trials_command(of_study: AddCommand) -> None:
    trials = of_study("trials", "list a study's trials, filtered and sorted, as a table, CSV or Parquet")
    trials.add_argument("--columns", metavar="A,B", help="columns to show: number, state, …, parameters and metrics")
    trials.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="EXPR",
        help="keep only matching trials: state=completed, 'optimizer.lr>1e-3'; operators = != > >= < <=; repeatable",
    )
    trials.add_argument(
        "--sort",
        metavar="COLUMN",
        help="sort by this column: value from best to worst, others ascending (default: number)",
    )
    trials.add_argument("--reverse", action="store_true", help="reverse the order of --sort")
    num = trials.add_mutually_exclusive_group()
    num.add_argument(
        "--limit",
        type=count,
        metavar="N",
        help="print at most N trials (default: 30 in the table, all in JSON, CSV and Parquet)",
    )
    num.add_argument("--all", action="store_true", help="print all trials")
    form = trials.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV instead of a table")
    form.add_argument("--parquet", metavar="FILE", help="write the trials to this Parquet file instead")


def conflict(arguments: argparse.Namespace) -> str | None:
    """Describe a contradiction between flags that argparse cannot detect. None if there is none."""
    options = vars(arguments)
    command = options["command"]
    if options["json"]:
        for name, flag in (
            ("show", "spec"),
            ("trials", "csv"),
            ("trials", "parquet"),
            ("predictions", "out"),
            ("next", "out"),
        ):
            if command == name and options.get(flag):
                return f"argument --{flag}: not allowed with argument --json"
    if command == "predictions" and options["trial"] is None:
        for flag in ("split", "out"):
            if options[flag] is not None:
                return f"argument --{flag}: needs a TRIAL, as in: study predictions {options['name']} 12 --{flag} …"
    if command == "predict" and (options["name"] is None) == (options["bundle"] is None):
        return "argument --bundle: give the NAME of a study, or --bundle FILE"
    if command == "trials" and options["reverse"] and options["sort"] is None:
        return "argument --reverse: needs --sort COLUMN"
    return None


def _add_remedy_commands(of_study: AddCommand) -> None:
    apply = of_study("apply", "apply a remedy of a finding: show what would change, and carry it out")
    apply.add_argument("rule", metavar="RULE", help="rule of the finding, such as diverged")
    apply.add_argument(
        "--trial",
        type=int,
        metavar="N",
        help="the finding about this trial (default: about the study)",
    )
    apply.add_argument(
        "--remedy", type=int, metavar="K", help="the finding's K-th remedy (default: the first one with an action)"
    )
    apply.add_argument("--dry-run", action="store_true", help="only show what would change")
    apply.add_argument("--yes", action="store_true", help="carry it out without asking")
    following = of_study("next", "draft the follow-up study that the findings suggest, each change with its reason")
    following.add_argument("--out", metavar="FILE", help="write the study file here (default: print it)")


def _add_control_commands(verb: AddCommand, of_study: AddCommand) -> None:
    for name, text in (
        ("pause", "pause a study: no trial starts until it is resumed; running trials continue"),
        ("resume", "resume a paused study, so that its trials start again"),
        ("stop", "stop a study: running trials stop, waiting trials are cancelled"),
    ):
        of_study(name, text).add_argument("--reason", default="", help="reason to record in the study's journal")
    extend = of_study("extend", "raise a study's budgets; a finished study becomes active again")
    extend.add_argument("--trials", type=int, metavar="N", help="new limit of trials in total")
    extend.add_argument(
        "--hours", type=float, metavar="H", help="new limit of hours since the first trial; paused time does not count"
    )
    extend.add_argument("--device-hours", type=float, metavar="H", help="new limit of hours of all attempts together")
    extend.add_argument("--resource", type=int, metavar="N", help="new limit of steps of all trials together")
    extend.add_argument("--failures", type=int, metavar="N", help="new limit of failed trials")
    extend.add_argument(
        "--target", type=float, metavar="VALUE", help="value of the objective at which the study completes"
    )
    extend.add_argument(
        "--no-improvement", type=int, metavar="N", help="new limit of consecutive trials without improvement"
    )
    edit = of_study("edit", "change a study's space, sampler, pruner or budget; its trials so far remain observations")
    edit.add_argument(
        "file", metavar="FILE", nargs="?", help="edited study file (print the present one with study show NAME --spec)"
    )
    edit.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="PATH=VALUE",
        help="change one setting, such as budget.trials=100; repeatable",
    )
    accept = of_study("accept", "accept the next box that a coarse-to-fine study proposes, and resume the study")
    accept.add_argument(
        "--box",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=[LOW, HIGH]",
        help="search this range, or these choices, instead of the proposed ones; repeatable",
    )
    release = of_study(
        "release",
        "take a running trial from its worker, so that another worker continues it; this does not count as a failure",
    )
    release.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    release.add_argument("--reason", default="", help="reason to record in the study's journal")
    delete = of_study("delete", "delete a study and all its data; none of its trials may be running")
    delete.add_argument("--yes", action="store_true", help="delete without asking for confirmation")
    readmit = verb("readmit", "lift the quarantine of a host, and its exclusions from studies")
    readmit.add_argument("worker", metavar="WORKER", help="name of the host, or of a worker on it")


def _add_trial_commands(of_study: AddCommand) -> None:
    enqueue = of_study("enqueue", "queue a configuration to run before those of the sampler")
    enqueue.add_argument(
        "parameters", nargs="+", metavar="KEY=VALUE", help="value of a parameter, such as optimizer.lr=3e-3"
    )
    fork = of_study("fork", "continue training from a trial's checkpoint with changed settings, outside the search")
    fork.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    fork.add_argument("--at", type=int, metavar="STEP", help="step of the checkpoint (default: the newest)")
    fork.add_argument(
        "--set",
        action="extend",
        nargs="+",
        required=True,
        metavar="KEY=VALUE",
        help="setting to change, such as optimizer.lr=3e-4; repeatable",
    )
