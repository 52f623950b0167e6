"""Fixtures for all tests. In CI a skipped test fails, except tests for a GPU."""

from __future__ import annotations

import gc
import os
import signal

import pytest
from hypothesis import settings

# Machines are shared: how long an example takes says nothing about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# A shell starts background processes deaf to Ctrl-C, and their children would be, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "tests.support.databases",
    "tests.support.forked_commands",
    "tests.support.processor_seconds",
    "tests.support.service",
]


PROOF_SECONDS = 1_200
"""How long a proof may take before it counts as hanging; other tests have the limit of pyproject.toml."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the long proofs a longer limit of time."""
    for item in items:
        if item.get_closest_marker("prove") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(PROOF_SECONDS))


def pytest_collection_finish() -> None:
    """Spare the garbage collector all imported modules and thousands of tests, which live until the session ends."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the session where CI skipped what it should have tried."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    skipped = [report for report in reporter.stats.get("skipped", []) if "gpu" not in report.keywords]
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        names = ", ".join(sorted({report.nodeid for report in skipped}))
        reporter.write_line(f"skipped in CI, which must try everything: {names}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
