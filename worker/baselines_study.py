"""The command `worker baselines`: fits simple models on a study file's data on this machine, and records nothing."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from service.client import ClientError
from service.client.study_file import load
from service.contract.command_line import parse
from service.contract.study import StudySpec
from worker.agent import num_cores
from worker.settings import add_code_and_data_options, data_folders, positive_count, positive_seconds

if TYPE_CHECKING:
    from worker.training.baselines import Baseline

_EPILOG = """\
examples:
  worker baselines study.yaml               a table of the study's objectives and the plain loss
  worker baselines study.yaml --json        all metrics, as a training reports them
  worker baselines study.yaml --seconds 60  more time for large data"""

_PLAIN_LOSSES = ("val/cross_entropy", "val/mse", "val/ndcg")
"""The metrics that show how good a model of each kind of task is, whatever the objective is."""


def main(arguments: Sequence[str]) -> int:
    """Fit the baselines of a study file.

    Args:
        arguments: The command line after `worker baselines`.

    Returns:
        The exit status: 0 when at least one baseline has a result, 1 when none has, 2 when there can be none of the
            study here, 130 after Ctrl-C.
    """
    args = _parse(arguments)
    notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        spec = load(args.file, note=notes.print)
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # torch reads it when it is loaded; baselines compute on the CPU
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as a worker that is started here
        return _fit(spec, args)
    except KeyboardInterrupt:
        return 130
    except (ClientError, _CannotFit) as error:
        notes.print(f"worker baselines: {error}")
        return 2


class _CannotFit(Exception):
    """There can be no baselines of the study on this machine; the message says why."""


def _fit(spec: StudySpec, args: argparse.Namespace) -> int:
    import torch  # noqa: PLC0415 - slow to load, and the device is set only now

    from worker.training import TrainingError  # noqa: PLC0415
    from worker.trial.baselines import baselines_of  # noqa: PLC0415
    from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415

    torch.set_num_threads(args.threads)
    try:
        register(args.register)
        found = baselines_of(spec, seconds=args.seconds, seed=args.seed, readable=data_folders(args.data))
    except (RegistrationFailed, TrainingError) as error:
        raise _CannotFit(str(error)) from None
    if args.json:
        sys.stdout.write(json.dumps([_plain(each) for each in found], indent=2, ensure_ascii=False) + "\n")
    else:
        Console(soft_wrap=True, highlight=False).print(_table(spec, found))
    return int(not any(each.metrics for each in found))


def _plain(baseline: Baseline) -> dict[str, object]:
    metrics = {name: value if math.isfinite(value) else None for name, value in baseline.metrics.items()}
    return {**asdict(baseline), "metrics": metrics}


def _table(spec: StudySpec, found: Sequence[Baseline]) -> Table:
    """Return a row per baseline: the objectives and the plain loss, the model, and what to know about the values."""
    reported = {name for each in found for name in each.metrics}
    wanted = [*(objective.metric for objective in spec.objectives), *_PLAIN_LOSSES]
    columns = [name for name in dict.fromkeys(wanted) if name in reported]
    table = Table("baseline", *columns, "seconds", "model", box=None, pad_edge=False)
    for each in found:
        values = [f"{each.metrics[name]:.4g}" if name in each.metrics else "" for name in columns]
        words = "; ".join(part for part in (each.model, each.note) if part)
        table.add_row(each.name, *values, f"{each.seconds:.1f}", words)
    return table


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker baselines",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the study file")
    parser.add_argument(
        "--seconds", type=positive_seconds, default=30.0, metavar="N", help="time limit of all baselines (%(default)g)"
    )
    parser.add_argument("--json", action="store_true", help="print all metrics as JSON")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of all draws (%(default)s)")
    parser.add_argument(
        "--threads", type=positive_count, default=num_cores(), metavar="N", help="CPU threads (%(default)s)"
    )
    add_code_and_data_options(parser)
    return parse(parser, arguments)
