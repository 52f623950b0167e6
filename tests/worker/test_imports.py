"""The agent process stays small: importing it loads neither torch nor a web framework."""

from __future__ import annotations

import subprocess
import sys

PROBE = """
import sys, pkgutil, importlib, worker.agent
for module in pkgutil.iter_modules(worker.agent.__path__, "worker.agent."):
    importlib.import_module(module.name)
import worker.cli
sys.exit(",".join(sorted({"torch", "fastapi", "sqlalchemy", "optuna", "numpy", "sklearn"} & set(sys.modules))) or 0)
"""


def test_the_agent_loads_neither_torch_nor_fastapi() -> None:
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert (probe.returncode, probe.stderr) == (0, "")
