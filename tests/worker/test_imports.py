"""Importing the agent loads neither torch nor a web framework."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PROBE = """
import sys, pkgutil, importlib, worker.agent
for module in pkgutil.walk_packages(worker.agent.__path__, "worker.agent."):
    importlib.import_module(module.name)
import worker.cli
sys.exit(",".join(sorted({"torch", "fastapi", "sqlalchemy", "optuna", "numpy", "sklearn"} & set(sys.modules))) or 0)
"""


def test_the_agent_loads_neither_torch_nor_fastapi() -> None:
    probe = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=False)
    assert (probe.returncode, probe.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "library", "extra"),
    [("lightning", "pytorch_lightning", "lightning"), ("transformers", "transformers", "transformers")],
)
def test_a_callback_without_its_library_names_the_extra(
    module: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"worker.integrations.{module}", raising=False)
    with pytest.raises(ImportError, match=rf"pip install 'assayer\[{extra}\]'"):
        importlib.import_module(f"worker.integrations.{module}")
