"""`python -m tests.chaos`: real processes under real faults; prints the result as a table."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.chaos.chaos import ChaosError, play
from tests.chaos.report import as_json, as_markdown, table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, help="trials of the study (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what goes wrong (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave logs and ledgers in this new folder")
    given = parser.parse_args()
    if given.trials < 1:
        parser.error("--trials needs at least one")
    if given.keep is not None and given.keep.exists():
        parser.error(f"{given.keep} exists; name a folder that does not")
    # Told to stop, it ends as by Ctrl-C, and everything that it started before it.
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background processes deaf to it
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    console = Console(stderr=True)
    columns = TextColumn("trials"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True) as temporary:
        directory = given.keep or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)  # the temporary one is there
        try:
            with Progress(*columns, console=console) as bar:
                shown = bar.add_task("trials", total=given.trials)
                result = asyncio.run(
                    play(directory, given.trials, given.seed, lambda done: bar.update(shown, completed=done))
                )
        except ChaosError as error:
            console.print(f"chaos: {error}", markup=False, highlight=False)
            return 1
        except KeyboardInterrupt:
            return 130
    if given.json:
        sys.stdout.write(as_json(result) + "\n")
    else:
        Console().print(table(result))
    if given.out is not None:
        given.out.write_text(as_markdown(result), encoding="utf-8")
    return int(result.num_violations > 0)


if __name__ == "__main__":
    raise SystemExit(main())
