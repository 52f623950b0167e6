"""The command-line parser of `study`: its commands, their arguments and their help texts."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.metadata import version

EXAMPLES = """
examples:
  study init houses.csv --target price          write a first study file, to be read and edited
  study plan examples/digits.yaml               what it will cost, before it begins
  study create examples/digits.yaml --watch     create a study and follow it
  study list                                    all studies, newest first
  study show digits-mlp                         where a study stands, and its trials
  study show digits-mlp --trial 12              one trial: parameters, metrics, attempts
  study trials digits-mlp --sort value --limit 100 --columns number,value,optimizer.lr
  study trials digits-mlp --filter state=completed --filter 'optimizer.lr>1e-3' --csv > trials.csv
  study logs digits-mlp 12 --follow             what the trial prints, while it does
  study confusion digits-mlp 12                 what the trial's model takes for what
  study predictions digits-mlp 12 --out 12.parquet
  study best digits-mlp --json | jq .parameters
  study checkpoint digits-mlp best --out best.pt     the model of its best trial
  study pause digits-mlp --reason "need the GPU"
  study extend digits-mlp --trials 100          100 trials in all, those already made included
  study extend digits-mlp --hours 24            and so for any budget that the study has
  study release digits-mlp 12 --reason "its host hangs"
  study delete digits-mlp                       for good, after it was stopped
  study replay digits-mlp --pruner asha         what ASHA would have saved
  study edit digits-mlp --set space.optimizer.lr.high=1
  study accept digits-mlp --box 'optimizer.lr=[1e-3, 1e-2]' 'optimizer.name=[adamw]'
  study importance digits-mlp                   which parameters mattered
  study workers                                 the workers, and which get no trials
  study catalogue model mlp                     the options of a model; without words, all there is
  study fork digits-mlp 12 --at 8 --set optimizer.lr=3e-4
  study enqueue digits-mlp optimizer.lr=3e-3 optimizer.name=adamw

The service is found at --server, else ASSAYER_SERVER, else http://127.0.0.1:8420; ASSAYER_TOKEN is sent if set.

Exit status:
  0   done; after watch and create --watch: the study is completed, and at least one of its trials is
  1   refused or failed; after watch and create --watch: the study was paused for its failures, was stopped, or is
      completed without any completed trial
  2   the command line was not understood
  130 interrupted (Ctrl-C); Ctrl-C ends watch and logs --follow with 0, as the study goes on
"""

SPLITS = ("val", "test", "test_val")
"""The held-out splits of a trial's data."""

AddCommand = Callable[[str, str], argparse.ArgumentParser]
"""A function that adds a command, given its name and help text."""


def parser() -> argparse.ArgumentParser:
    """Build the parser of the whole command line.

    In the parsed arguments, `command` is the command's name. `server` and `json` exist for every command.
    """
    whole = argparse.ArgumentParser(
        prog="study",
        description="Create, follow and steer hyperparameter studies.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    whole.add_argument("--version", action="version", version=f"assayer {version('assayer')}")
    common = argparse.ArgumentParser(add_help=False)
    whole.set_defaults(server=None, json=False)
    for options in (whole, common):  # valid before and after the command
        options.add_argument("--server", metavar="URL", default=argparse.SUPPRESS, help="address of the service")
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
    _add_view_commands(verb, of_study)
    _add_analysis_commands(of_study)
    _add_control_commands(verb, of_study)
    _add_trial_commands(of_study)
    return whole


def _add_create_commands(verb: AddCommand) -> None:
    init = verb("init", "write a first study file for your data, with ranges that are known to be good")
    init.add_argument(
        "data", metavar="DATA", help="a CSV, Parquet, NPZ or text file, a folder of images, or a built-in set"
    )
    init.add_argument("--target", metavar="COLUMN", help="the column to predict")
    init.add_argument("--task", choices=("classification", "regression"), help="default: as the target's values say")
    init.add_argument("--encoding", help="of a CSV file, such as cp949 (default: the one that its beginning shows)")
    init.add_argument(
        "--na-value", action="append", default=[], metavar="TEXT", help="a text that means a missing value; repeatable"
    )
    init.add_argument(
        "--categorical", action="append", default=[], metavar="COLUMN", help="a column of categories; repeatable"
    )
    init.add_argument("--name", help="name of the study (default: that of the data)")
    init.add_argument("--out", metavar="FILE", help="where to write it (default: NAME.yaml)")
    plan = verb("plan", "say what a study file will cost, and begin nothing")
    plan.add_argument("file", metavar="FILE")
    known = plan.add_mutually_exclusive_group()
    known.add_argument("--like", metavar="STUDY", help="tell hours too, by how long a step took in that study")
    known.add_argument(
        "--step-seconds",
        type=float,
        metavar="S",
        help="tell hours too: how long a step of one training takes, or a whole trial where the study has no resource",
    )
    create = verb("create", "create a study from a study file (YAML)")
    create.add_argument("file", metavar="FILE")
    create.add_argument("--name", help="name it so instead of as the file says")
    create.add_argument("--watch", action="store_true", help="follow it until it is finished")


def _add_view_commands(verb: AddCommand, of_study: AddCommand) -> None:
    verb("list", "list all studies, newest first")
    show = of_study("show", "show where a study stands, and its trials")
    part = show.add_mutually_exclusive_group()
    part.add_argument("--spec", action="store_true", help="print its spec as a study file, to be edited")
    part.add_argument("--trial", metavar="N", help="show this trial in full (a fork by its id)")
    _add_trials_command(of_study)
    of_study("best", "show the best completed trial, or of several objectives the front")
    of_study("watch", "follow a study until it is finished; Ctrl-C leaves it going")
    logs = of_study("logs", "print what a trial's training process printed")
    logs.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    logs.add_argument("--attempt", type=int, metavar="N", help="this attempt (default: the newest)")
    logs.add_argument("--stderr", action="store_true", help="its standard error instead of its standard output")
    logs.add_argument("--follow", action="store_true", help="go on as more comes, until the attempt has ended")
    checkpoint = of_study("checkpoint", "download a trial's newest checkpoint: what it has learned")
    checkpoint.add_argument("trial", metavar="TRIAL", help="number of the trial, id of a fork, or best")
    checkpoint.add_argument("--out", metavar="FILE", help="where to write it (default: NAME-TRIAL.pt)")
    verb("workers", "list the workers: devices, trials held, quarantine")
    catalogue = verb("catalogue", "list what the built-in training can be set to, entries of your own included")
    catalogue.add_argument("section", metavar="SECTION", nargs="?", help="a section of it: model, loss, … or settings")
    catalogue.add_argument("entry", metavar="NAME", nargs="?", help="an entry of the section, with its options")


def _add_trials_command(of_study: AddCommand) -> None:
    trials = of_study("trials", "list a study's trials: choose, filter and sort, or write them to a file")
    trials.add_argument("--columns", metavar="A,B", help="these columns: a fact, a parameter or a metric")
    trials.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="EXPR",
        help="only trials that meet it: state=completed, 'optimizer.lr>1e-3'; operators = != > >= < <=; repeatable",
    )
    trials.add_argument(
        "--sort", metavar="COLUMN", help="sort by it: value from the best on, others ascending (default: number)"
    )
    trials.add_argument("--reverse", action="store_true", help="sort the other way round")
    num = trials.add_mutually_exclusive_group()
    num.add_argument("--limit", type=_count, metavar="N", help="so many (default: 30 in a terminal's table, else all)")
    num.add_argument("--all", action="store_true", help="all of them")
    form = trials.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="print CSV on standard output")
    form.add_argument("--parquet", metavar="FILE", help="write a Parquet file")


def _count(text: str) -> int:
    """Parse a number of trials. argparse converts the error to a sentence."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return number


def conflict(arguments: argparse.Namespace) -> str | None:
    """Describe a contradiction between flags that argparse cannot detect. None if there is none."""
    given = vars(arguments)
    command = given["command"]
    if given["json"]:
        for words, flag in (("show", "spec"), ("trials", "csv"), ("trials", "parquet"), ("predictions", "out")):
            if command == words and given.get(flag):
                return f"argument --{flag}: not allowed with argument --json"
    if command == "predictions" and given["trial"] is None:
        for flag in ("split", "out"):
            if given[flag] is not None:
                return f"argument --{flag}: needs a TRIAL, as in: study predictions {given['name']} 12 --{flag} …"
    if command == "trials" and given["reverse"] and given["sort"] is None:
        return "argument --reverse: needs --sort COLUMN"
    return None


def _add_analysis_commands(of_study: AddCommand) -> None:
    of_study("importance", "say which parameters tell the best trials from the others")
    predicted = of_study("predictions", "print what a trial's model says of held-out examples, as CSV")
    predicted.add_argument(
        "trial", metavar="TRIAL", nargs="?", help="number of the trial, or id of a fork (default: list those with any)"
    )
    which = predicted.add_mutually_exclusive_group()
    which.add_argument("--split", choices=SPLITS, help="of this split only")
    which.add_argument("--out", metavar="FILE", help="write them all to a Parquet file instead")
    confusion = of_study("confusion", "show which classes a trial's model takes for which")
    confusion.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    confusion.add_argument("--split", choices=SPLITS, default="val", help="of this split (default: val)")
    replay = of_study("replay", "say what another pruner would have saved and lost, by the curves that were recorded")
    replay.add_argument("--pruner", required=True, metavar="PRUNER", help="its name, or {name: asha, eta: 4}")
    replay.add_argument("--workers", type=int, default=1, metavar="N", help="played by so many workers (default: 1)")


def _add_control_commands(verb: AddCommand, of_study: AddCommand) -> None:
    for name, text in (
        ("pause", "hand out no more trials until it is resumed; running ones go on"),
        ("resume", "go on with a paused study"),
        ("stop", "end a study: running trials stop, waiting ones are cancelled"),
    ):
        of_study(name, text).add_argument("--reason", default="", help="why, for the study's journal")
    extend = of_study("extend", "raise budgets; a finished study goes on")
    extend.add_argument("--trials", type=int, metavar="N", help="trials in all, those made included")
    extend.add_argument("--hours", type=float, metavar="H", help="hours since the first trial, while it is active")
    extend.add_argument("--device-hours", type=float, metavar="H", help="hours of all attempts together")
    extend.add_argument("--failures", type=int, metavar="N", help="trials that may fail")
    extend.add_argument("--target", type=float, metavar="VALUE", help="value of the objective at which it is over")
    extend.add_argument("--no-improvement", type=int, metavar="N", help="trials in a row that improve nothing")
    edit = of_study("edit", "go on with another space, sampler, pruner or budget; the trials made stay as evidence")
    edit.add_argument("file", metavar="FILE", nargs="?", help="the study as it is to be")
    edit.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change one setting of it; repeatable"
    )
    accept = of_study("accept", "accept the box that a coarse-to-fine study proposes; it goes on")
    accept.add_argument(
        "--box",
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=[LOW, HIGH]",
        help="search this range instead, or these choices; takes several",
    )
    release = of_study("release", "take a running trial from its worker; it waits for another, at nobody's charge")
    release.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    release.add_argument("--reason", default="", help="why, for the study's journal")
    delete = of_study("delete", "delete a study with all that belongs to it; none of its trials may run")
    delete.add_argument("--yes", action="store_true", help="do not ask for its name")
    readmit = verb("readmit", "give a host trials again after quarantine or exclusion from a study")
    readmit.add_argument("worker", metavar="WORKER", help="name of a worker on the host, or of the host")


def _add_trial_commands(of_study: AddCommand) -> None:
    enqueue = of_study("enqueue", "try a configuration before the sampler's own")
    enqueue.add_argument("parameters", nargs="+", metavar="KEY=VALUE", help="a parameter, such as optimizer.lr=3e-3")
    fork = of_study("fork", "go on from a trial's checkpoint with changed settings, beside the search")
    fork.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    fork.add_argument("--at", type=int, metavar="STEP", help="step of the checkpoint (default: the newest)")
    fork.add_argument(
        "--set", action="extend", nargs="+", required=True, metavar="KEY=VALUE", help="a setting; repeatable"
    )
