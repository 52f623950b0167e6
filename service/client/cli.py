"""The `study` command: words in, a command's function called, every failure one sentence and an exit status."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from service.client.errors import ClientError

EXAMPLES = """
examples:
  study init houses.csv --target price          write a first study file, to be read and edited
  study create examples/digits.yaml --watch     create a study and follow it
  study plan examples/digits.yaml               what it will cost, before it begins
  study plan examples/digits.yaml --like digits-mlp    in hours too, by what a step took there
  study list                                    all studies, newest first
  study show digits-mlp                         where a study stands, and its trials
  study show digits-mlp --trial 12              one trial: parameters, metrics, attempts
  study logs digits-mlp 12 --follow             what the trial prints, while it does
  study best digits-mlp --json | jq .parameters
  study pause digits-mlp --reason "need the GPU"
  study extend digits-mlp --trials 100          100 trials in all, those already made included
  study extend digits-mlp --hours 24            and so for any budget that the study has
  study replay digits-mlp --pruner asha         what ASHA would have saved
  study edit digits-mlp --set space.optimizer.lr.high=1
  study accept digits-mlp --box 'optimizer.lr=[1e-3, 1e-2]'
  study importance digits-mlp                   which parameters mattered
  study workers                                 the workers, and which are in quarantine
  study fork digits-mlp 12 --at 8 --set optimizer.lr=3e-4
  study enqueue digits-mlp optimizer.lr=3e-3 optimizer.name=adamw

The service is found at --server, else ASSAYER_SERVER, else http://127.0.0.1:8420; ASSAYER_TOKEN is sent if set.
Exit status: 0 done, 1 refused or failed, 2 not understood.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line and return its exit status."""
    arguments = _parser().parse_args(argv)
    from service.client.client import Client  # noqa: PLC0415 - `study --help` waits for neither httpx nor rich
    from service.client.commands import COMMANDS  # noqa: PLC0415

    try:
        with Client(arguments.server) as client:
            COMMANDS[arguments.command](client, arguments)
    except ClientError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="study",
        description="Create, follow and steer hyperparameter studies.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    common = argparse.ArgumentParser(add_help=False)
    parser.set_defaults(server=None, json=False)
    for options in (parser, common):  # valid before and after the command
        options.add_argument("--server", metavar="URL", default=argparse.SUPPRESS, help="address of the service")
        options.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print JSON on standard output"
        )
    verbs = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[common])

    _tell_data(verb("init", "write a first study file for your data, with ranges that are known to be good"))
    create = verb("create", "create a study from a study file (YAML)")
    create.add_argument("file", metavar="FILE")
    create.add_argument("--name", help="name it so instead of as the file says")
    create.add_argument("--watch", action="store_true", help="follow it until it is finished")
    plan = verb("plan", "say what a study file will cost, and begin nothing")
    plan.add_argument("file", metavar="FILE")
    plan.add_argument("--like", metavar="STUDY", help="tell hours too, by how long a step took in that study")
    plan.add_argument("--step-seconds", type=float, metavar="S", help="how long a step takes, to tell hours too")
    replay = verb("replay", "say what another pruner would have saved and lost, by the curves that were recorded")
    replay.add_argument("--pruner", required=True, metavar="PRUNER", help="its name, or {name: asha, eta: 4}")
    replay.add_argument("--workers", type=int, default=1, metavar="N", help="played by so many workers (default: 1)")
    importance = verb("importance", "say which parameters tell the best trials from the others")
    verb("list", "list all studies, newest first")
    show = verb("show", "show where a study stands, and its trials")
    show.add_argument("--spec", action="store_true", help="print its spec as a study file, to be edited")
    show.add_argument("--trial", metavar="N", help="show this trial in full (a fork by its id)")
    best = verb("best", "show the best completed trial, or of several objectives the front")
    logs = verb("logs", "print what a trial's training process printed")
    watch = verb("watch", "follow a study until it is finished; Ctrl-C leaves it going")
    pause = verb("pause", "hand out no more trials until it is resumed; running ones go on")
    resume = verb("resume", "go on with a paused study")
    edit = verb("edit", "go on with another space, sampler, pruner or budget; the trials made stay as evidence")
    accept = verb("accept", "accept the box that a coarse-to-fine study proposes; it goes on")
    accept.add_argument(
        "--box", action="append", default=[], metavar="NAME=[LOW, HIGH]", help="search this range instead; repeatable"
    )
    stop = verb("stop", "end a study: running trials stop, waiting ones are cancelled")
    extend = verb("extend", "raise budgets; a finished study goes on")
    enqueue = verb("enqueue", "try a configuration before the sampler's own")
    fork = verb("fork", "go on from a trial's checkpoint with changed settings, beside the search")
    verb("workers", "list the workers: devices, trials held, quarantine")
    readmit = verb("readmit", "lift the quarantine of a worker's host")
    readmit.add_argument("worker", metavar="WORKER", help="name of the worker")
    of_a_study = (show, best, importance, replay, logs, watch, pause, resume, edit, accept, stop, extend, enqueue, fork)
    for named in of_a_study:
        named.add_argument("name", metavar="NAME", help="name or id of the study")
    for addressed in (fork, logs):
        addressed.add_argument("trial", metavar="TRIAL", help="number of the trial, or id of a fork")
    logs.add_argument("--attempt", type=int, metavar="N", help="this attempt (default: the newest)")
    logs.add_argument("--stderr", action="store_true", help="its standard error instead of its standard output")
    logs.add_argument("--follow", action="store_true", help="go on as more comes, until the attempt has ended")
    for steered in (pause, resume, stop):
        steered.add_argument("--reason", default="", help="why, for the study's journal")
    edit.add_argument("file", metavar="FILE", nargs="?", help="the study as it is to be")
    edit.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="change one setting of it; repeatable"
    )
    extend.add_argument("--trials", type=int, metavar="N", help="trials in all, those made included")
    extend.add_argument("--hours", type=float, metavar="H", help="hours since the first trial, while it is active")
    extend.add_argument("--device-hours", type=float, metavar="H", help="hours of all attempts together")
    extend.add_argument("--failures", type=int, metavar="N", help="trials that may fail")
    extend.add_argument("--target", type=float, metavar="VALUE", help="value of the objective at which it is over")
    extend.add_argument("--no-improvement", type=int, metavar="N", help="trials in a row that improve nothing")
    enqueue.add_argument("parameters", nargs="+", metavar="KEY=VALUE", help="a parameter, such as optimizer.lr=3e-3")
    fork.add_argument("--at", type=int, metavar="STEP", help="step of the checkpoint (default: the newest)")
    fork.add_argument(
        "--set", nargs="+", required=True, metavar="KEY=VALUE", help="a setting, such as optimizer.lr=3e-4"
    )
    return parser


def _tell_data(init: argparse.ArgumentParser) -> None:
    init.add_argument(
        "data", metavar="DATA", help="a CSV, Parquet, NPZ or text file, a folder of images, or a built-in set"
    )
    init.add_argument("--target", metavar="COLUMN", help="the column to predict")
    init.add_argument("--task", choices=("classification", "regression"), help="default: as the target's values say")
    init.add_argument("--name", help="name of the study (default: that of the data)")
    init.add_argument("--out", metavar="FILE", help="where to write it (default: NAME.yaml)")


if __name__ == "__main__":
    sys.exit(main())
