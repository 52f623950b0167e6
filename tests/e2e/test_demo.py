"""The demo as `make demo ARGS=--exit` starts it: real processes, a live search, a good result."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.support.service import ROOT

pytestmark = pytest.mark.prove


def test_the_demo_searches_and_ends_well() -> None:
    demo = subprocess.run(
        [sys.executable, "examples/demo.py", "--exit"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert "60/60" in demo.stdout
    assert "pruned" in demo.stdout
    assert "optimizer.lr: " in demo.stdout
    assert re.search(r"dashboard: http://127\.0\.0\.1:\d+", demo.stdout)
    validation = re.search(r"validation accuracy (0\.\d+)", demo.stdout)
    test = re.search(r"test accuracy +(0\.\d+)", demo.stdout)
    assert validation is not None
    assert test is not None
    assert float(validation[1]) >= 0.97
    assert float(test[1]) >= 0.9
