"""The planted faults of functions and commands: the number of the check that must warn or fail, and the task."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

TASKS = "tests.worker.trial.preflight.broken_tasks"
SCRIPT = str(Path(__file__).with_name("broken_script.py"))


def function(name: str) -> dict[str, Any]:
    return {"function": f"{TASKS}:{name}"}


def command(fault: str) -> dict[str, Any]:
    return {
        "command": {
            "argv": [sys.executable, SCRIPT, fault],
            "metrics": {"loss": r"loss (\S+)"},
            "step": r"step (\d+)",
        }
    }


FAULTS: dict[str, tuple[int, dict[str, Any]]] = {
    "function raises": (10, function("raises")),
    "function reports another name": (10, function("reports_another_name")),
    "function reports nothing": (10, function("reports_nothing")),
    "function's objective is no number": (10, function("no_number")),
    "function hangs": (10, function("hangs")),
    "function begins anew": (10, function("begins_anew")),
    "function forgets its state": (10, function("forgets_its_state")),
    "function cannot read its checkpoint": (10, function("cannot_read_its_checkpoint")),
    "function never stops": (10, function("never_stops")),
    "function does not exist": (10, function("nowhere")),
    "function draws without the seed": (7, function("draws_without_the_seed")),
    "function ignores a parameter": (9, function("ignores_its_rate")),
    "command raises": (10, command("raises")),
    "command reports another name": (10, command("other name")),
    "command draws without a seed": (7, command("unseeded")),
    "command ignores a parameter": (9, command("ignores")),
}

SOUND: dict[str, dict[str, Any]] = {
    "function": function("sound"),
    "function of one value": function("returns_a_number"),
    "command": command("none"),
}
