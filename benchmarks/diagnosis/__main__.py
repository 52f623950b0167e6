"""Measures the rules of one trial on recorded curves; other commands train anew and store the curves."""

from __future__ import annotations

import argparse
from pathlib import Path


def main() -> None:
    """Run one of the commands; only `record` and `record-published` load torch."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.diagnosis", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure", help="print recall, false alarms and confusion of the recorded curves")
    measure.add_argument("--out", type=Path, help="page of results, whose generated part is replaced")
    commands.add_parser("record-published", help="train the published faults and store their curves")
    for name, text in (("record", "train what FILE lacks"), ("pack", "label the trainings of FILE and store them")):
        commands.add_parser(name, help=text).add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "record":
        from benchmarks.diagnosis.record import record  # noqa: PLC0415 - loads torch, which replaying does not need

        record(arguments.file)
    elif arguments.command == "record-published":
        from benchmarks.diagnosis import published  # noqa: PLC0415

        published.record()
    elif arguments.command == "pack":
        from benchmarks.diagnosis.measure import pack  # noqa: PLC0415

        pack(arguments.file)
    else:
        from benchmarks.diagnosis import report  # noqa: PLC0415

        if arguments.out is None:
            print(report.page())
        else:
            report.write(arguments.out)


if __name__ == "__main__":
    main()
