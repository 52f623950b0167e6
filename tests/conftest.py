"""Fixtures for all tests. In CI a skipped test fails, except tests for a GPU."""

from __future__ import annotations

import gc
import os
import re
import signal
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

from service.numeric_threads import use_one_thread

# As the service does: a second thread of a numerical library would only spin beside the other test process.
use_one_thread()

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


ON_ONE_DATABASE = ("tests/usecases/", "tests/api/")
"""The tests that `make test` runs on one database each, about half of every file on either; `make prove` on both.

The tests of `tests/storage` run on both: they are those of what differs between the databases.
"""

PROOF_SECONDS = 1_200
"""How long a proof may take before it counts as hanging; other tests have the limit of pyproject.toml."""


_ALL_PROVE = re.compile(r"^pytestmark = \[?pytest\.mark\.prove\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no test file of which `-m` would deselect every test: each process of a run would pay for its imports."""
    chosen: str = config.option.markexpr
    if "or other_database" in chosen:
        return None
    if not collection_path.match("test_*.py") or "prove" not in chosen:
        return None
    source = collection_path.read_text(encoding="utf-8")
    has_nothing = _ALL_PROVE.search(source) if "not prove" in chosen else "mark.prove" not in source
    return True if has_nothing else None


def _is_on_other_database(item: pytest.Item) -> bool:
    """Return whether a test runs on the database that its name does not choose."""
    chosen = getattr(item, "callspec", None)
    dialect = None if chosen is None else chosen.params.get("database_url")
    if dialect is None or not item.nodeid.startswith(ON_ONE_DATABASE):
        return False
    name = item.nodeid.replace(dialect, "")
    return (dialect == "sqlite") != (zlib.crc32(name.encode()) % 2 == 0)


@pytest.hookimpl(tryfirst=True)  # before the tests are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the second database of each test of use cases and API, and give the long proofs a longer limit of time."""
    for item in items:
        if _is_on_other_database(item):
            item.add_marker(pytest.mark.other_database)
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
