"""The figures of one result as a table, as JSON and as Markdown."""

from __future__ import annotations

import json
import os
import platform
import re
import textwrap
from contextlib import suppress
from pathlib import Path

from rich.table import Table

from tests.chaos.chaos import Result
from tests.chaos.cluster import HEARTBEAT_SECONDS, LEASE_SECONDS, NUM_AGENTS, NUM_REPLICAS
from tests.chaos.training import CHECKPOINT_STEPS, NUM_STEPS, STEP_SECONDS

Rows = list[tuple[str, str]]


def table(result: Result) -> Table:
    """What happened and what it cost; then what broke, if anything did."""
    shown = Table(title=f"chaos: {result.num_trials:,} trials, seed {result.seed}", show_header=False)
    for section in (_outcome(result), _faults(result), _attempts(result)):
        for what, how_much in section:
            shown.add_row(what, how_much)
        shown.add_section()
    for sentence, found in result.violations.items():
        shown.add_row(sentence, "\n".join([f"BROKEN {len(found)} times", *found[:5]]) if found else "kept")
    return shown


def as_json(result: Result) -> str:
    """Everything by name."""
    figures = {
        "trials": result.num_trials,
        "seed": result.seed,
        "seconds": round(result.seconds, 1),
        "trials_per_second": round(result.num_trials / result.seconds, 2),
        "steps_trained": result.steps_trained,
        "steps_counted": result.steps_counted,
        "waste": round(result.waste, 4),
        "faults": result.faults,
        "messages": result.messages,
        "refusals": result.refusals,
        "attempts": result.attempts,
        "violations": result.violations,
    }
    return json.dumps(figures, indent=2)


def as_markdown(result: Result) -> str:
    """A page that says how it was measured, too."""
    promises = [
        (sentence, f"**broken {len(found)} times**" if found else "kept")
        for sentence, found in result.violations.items()
    ]
    sections = {
        "The figures": _outcome(result),
        "What went wrong": _faults(result),
        "What became of attempts": _attempts(result),
        "What was promised": promises,
    }
    setting = (
        f"Machine: {_machine()}. {NUM_REPLICAS} replicas on one Postgres, which syncs every commit, behind a proxy "
        f"that drops and doubles messages; {NUM_AGENTS} agents with one slot each. A trial is {NUM_STEPS} steps, "
        f"{STEP_SECONDS * 1000:.0f} ms each, with a checkpoint every {CHECKPOINT_STEPS}. Leases last "
        f"{LEASE_SECONDS:g} s, heartbeats come every {HEARTBEAT_SECONDS:g} s."
    )
    lines = ["# Chaos, measured", "", *textwrap.wrap(setting, 120)]
    for title, rows in sections.items():
        lines += ["", f"## {title}", "", "| | |", "| --- | --- |", *(f"| {what} | {how} |" for what, how in rows)]
    lines += ["", f"    make chaos TRIALS={result.num_trials} SEED={result.seed}"]
    return "\n".join(lines) + "\n"


def _outcome(result: Result) -> Rows:
    return [
        ("trials", f"{result.num_trials:,}"),
        ("seed", str(result.seed)),
        ("time", f"{result.seconds:,.0f} s"),
        ("trials per second", f"{result.num_trials / result.seconds:.1f}"),
        ("steps trained / that count", f"{result.steps_trained:,} / {result.steps_counted:,}"),
        ("wasted steps", f"{result.waste:.1%}"),
        ("violations", f"{result.num_violations}"),
    ]


def _faults(result: Result) -> Rows:
    refused = {f"answers {code}": count for code, count in result.refusals.items()}
    counted = {**result.faults, **result.messages, **refused}
    return [(what, f"{count:,}") for what, count in counted.items()]


def _attempts(result: Result) -> Rows:
    return [(how, f"{count:,}") for how, count in result.attempts.items()]


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    with suppress(OSError):
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        cpu = names[0] if names else cpu
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {cpu}, {system}"
