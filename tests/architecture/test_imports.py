"""Imports: import-linter's contracts hold, and the modules that must start fast import nothing heavy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.house_rules import ROOT

LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache"], cwd=directory, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_contracts_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def copied_house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of service and worker somewhere else, to be spoilt."""
    house = tmp_path_factory.mktemp("house")
    shutil.copy(ROOT / "pyproject.toml", house)
    for package in ("service", "worker"):
        not_python = shutil.ignore_patterns("web", "static", "__pycache__")
        shutil.copytree(ROOT / package, house / package, ignore=not_python)
    return house


def test_wrong_imports_break_the_contracts_they_should(copied_house: Path) -> None:
    wrong = {
        "service/domain/space.py": ("import sqlalchemy", "only storage speaks SQL"),
        "service/domain/objective.py": ("import service.usecases.dispatch.claim", "service: edges -> usecases"),
        "service/search/space/transform.py": ("import service.clock", "the pure rooms know no clock"),
        "service/search/seeds.py": ("import optuna", "only the bridge speaks Optuna"),
        "service/api/trials.py": ("import service.storage.tables", "edges reach storage"),
        "service/usecases/attempts/finish.py": ("import fastapi", "only the edges speak HTTP"),
        "worker/agent/attempts.py": ("import torch", "the agent process never loads torch"),
        "worker/trial/classify.py": ("import service.domain.states", "the worker sees nothing of the service"),
    }
    for path, (statement, _) in wrong.items():
        file = copied_house / path
        file.write_text(file.read_text(encoding="utf-8") + f"\n{statement}\n", encoding="utf-8")
    done = lint(copied_house)
    assert done.returncode == 1, done.stderr
    broken = [line for line in done.stdout.splitlines() if " BROKEN" in line]
    for _, contract in wrong.values():
        assert any(line.startswith(contract) for line in broken), f"{contract!r} holds in spite of a wrong import"


HEAVY = {"torch", "fastapi", "sqlalchemy", "optuna", "numpy", "scipy", "sklearn"}

PROBE = """
import importlib, pkgutil, sys
for name in sys.argv[1].split():
    package = importlib.import_module(name)
    for module in pkgutil.iter_modules(package.__path__, name + "."):
        importlib.import_module(module.name)
print(*sys.modules, sep="\\n")
"""


@pytest.mark.parametrize("light", ["service.contract", "service.client", "service.domain", "worker.agent"])
def test_a_light_room_loads_no_heavy_library(light: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, light], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not HEAVY & set(done.stdout.split()), f"import {light} takes long; import it where it is used"
