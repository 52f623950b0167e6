"""A pytest plugin that records how many processor seconds each test takes, its processes included."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import pytest

PROPERTY = "processor_seconds"
NUM_SHOWN = 15


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--processor-seconds",
        metavar="FILE",
        type=Path,
        help="write the processor seconds of each test to this JSON file, and print the most expensive tests",
    )


def used_seconds() -> float:
    """Return the processor seconds of this process and of its ended children, as waited for so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Measure a test with its fixtures: what a shared fixture costs is charged to the test that first asks for it."""
    item.stash[_BEGAN] = used_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if call.when == "teardown":
        report.user_properties.append((PROPERTY, used_seconds() - item.stash[_BEGAN]))
    return report


_BEGAN = pytest.StashKey[float]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the most expensive tests and write all of them to the file."""
    path: Path | None = config.getoption("--processor-seconds")
    if path is None:
        return
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    seconds = {
        report.nodeid: value
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "teardown"
        for name, value in report.user_properties
        if name == PROPERTY
    }
    ordered = dict(sorted(seconds.items(), key=lambda each: -each[1]))
    path.write_text(json.dumps(ordered, indent=1), encoding="utf-8")
    terminalreporter.section(f"{sum(ordered.values()):.0f} processor seconds; the most expensive {NUM_SHOWN} tests")
    for name, value in list(ordered.items())[:NUM_SHOWN]:
        terminalreporter.write_line(f"{value:8.1f} s  {name}")
