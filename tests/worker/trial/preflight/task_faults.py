"""The planted faults of functions and commands: number and name of the check that must warn or fail, and the task."""

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


FAULTS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "function raises": (10, "starts", function("raises")),
    "function reports another name": (10, "reports_objective", function("reports_another_name")),
    "function reports nothing": (10, "reports_objective", function("reports_nothing")),
    "function's objective is no number": (10, "reports_objective", function("no_number")),
    "function hangs": (10, "starts", function("hangs")),
    "function begins anew": (10, "resumes", function("begins_anew")),
    "function forgets its state": (10, "resumes", function("forgets_its_state")),
    "function cannot read its checkpoint": (10, "resumes", function("cannot_read_its_checkpoint")),
    "function never stops": (10, "follows_orders", function("never_stops")),
    "function does not exist": (10, "starts", function("nowhere")),
    "function draws without the seed": (7, "same_seed", function("draws_without_the_seed")),
    "function ignores a parameter": (9, "parameters", function("ignores_its_rate")),
    "command raises": (10, "starts", command("raises")),
    "command reports another name": (10, "reports_objective", command("other name")),
    "command draws without a seed": (7, "same_seed", command("unseeded")),
    "command ignores a parameter": (9, "parameters", command("ignores")),
}

SOUND: dict[str, dict[str, Any]] = {
    "function": function("sound"),
    "function of one value": function("returns_a_number"),
    "command": command("none"),
}
