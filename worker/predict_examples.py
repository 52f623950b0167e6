"""The command `worker predict`: predicts on a file of new examples by a bundle or a checkpoint, without a service."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from service.contract.command_line import parse
from worker.agent import num_cores
from worker.settings import module_name, positive_count

if TYPE_CHECKING:
    from worker.training.bundle.predict_file import Summary

_EPILOG = """\
examples:
  worker predict model.zip --data new.csv --out predictions.csv
  worker predict best.pt --data test.csv --submission sample.csv --out submission.csv"""

_NUM_CLASSES_SHOWN = 10


def main(arguments: Sequence[str]) -> int:
    """Predict on a file.

    Args:
        arguments: The command line after `worker predict`.

    Returns:
        The exit status: 0 when the predictions are written, 2 when the model cannot predict on this file, 130 after
            Ctrl-C.
    """
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    args = _parse(arguments)
    sys.path.insert(0, str(Path.cwd()))  # as a worker that is started here
    try:
        import torch  # noqa: PLC0415 - slow to load

        from worker.training import TrainingError  # noqa: PLC0415
        from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415
    except ImportError as error:
        console.print(f"worker predict: torch cannot be imported ({error}); pip install 'assayer[worker]'")
        return 2
    torch.set_num_threads(args.threads)
    try:
        register(args.register)
        summary = _predict(args, console)
    except KeyboardInterrupt:
        return 130
    except (RegistrationFailed, TrainingError) as error:
        console.print(f"worker predict: {error}")
        return 2
    except OSError as error:
        console.print(f"worker predict: {error.filename or args.out}: {error.strerror}")
        return 2
    sys.stdout.write(json.dumps(asdict(summary), ensure_ascii=False) + "\n" if args.json else _page(summary))
    return 0


def _predict(args: argparse.Namespace, console: Console) -> Summary:
    from worker.training.bundle import bundle_of_checkpoint, load_bundle  # noqa: PLC0415
    from worker.training.bundle.predict_file import predict_file  # noqa: PLC0415

    is_checkpoint = args.model.suffix == ".pt"
    bundle = bundle_of_checkpoint(args.model) if is_checkpoint else load_bundle(args.model)
    columns = (TextColumn("{task.completed:.0%} {task.fields[rows]:,} rows"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("predicting", total=1.0, rows=0)
        return predict_file(
            bundle,
            args.data,
            args.out,
            encoding=args.encoding,
            impute_columns=args.impute_columns,
            submission=args.submission,
            on_progress=lambda rows, share: progress.update(task, completed=share, rows=rows),
            on_note=lambda note: console.print(f"note: {note}"),
        )


def _page(summary: Summary) -> str:
    lines = [f"wrote {summary.out}: {summary.rows:,} predictions"]
    if summary.classes:
        most = sorted(summary.classes.items(), key=lambda each: -each[1])[:_NUM_CLASSES_SHOWN]
        lines += [f"  {name}: {count:,} ({count / summary.rows:.1%})" for name, count in most]
    elif summary.mean is not None:
        lines.append(f"  mean: {summary.mean:.6g}")
    return "\n".join(lines) + "\n"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker predict", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help="a bundle, or a checkpoint (.pt)")
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="file or folder of new examples")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write, .csv or .parquet")
    parser.add_argument("--submission", type=Path, metavar="SAMPLE", help="fill the columns and rows of this CSV file")
    parser.add_argument("--encoding", help="encoding of a CSV or text file, such as cp949 (default: detected)")
    parser.add_argument("--impute-columns", action="store_true", help="treat missing columns as missing values")
    parser.add_argument(
        "--threads", type=positive_count, default=num_cores(), metavar="N", help="CPU threads (%(default)s)"
    )
    parser.add_argument(
        "--register", action="append", default=[], type=module_name, metavar="MODULE", help="same as for worker"
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    return parse(parser, arguments)
