"""The build of the dashboard: when it runs, with which Node, and what it reports on failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.dashboard.build import WEB, fingerprint, is_new_enough


@pytest.mark.parametrize(
    ("version", "enough"),
    [
        ("v18.20.0", False),
        ("v20.18.3", False),
        ("v20.19.0", True),
        ("v21.9.0", False),
        ("v22.11.0", False),
        ("v22.12.0", True),
        ("v24.0.1", True),
        ("", False),
    ],
)
def test_node_must_be_one_that_vite_accepts(version: str, enough: bool) -> None:
    assert is_new_enough(version) is enough


def test_the_fingerprint_follows_contents_and_names_but_no_times_and_no_packages(tmp_path: Path) -> None:
    (tmp_path / "main.ts").write_text("one")
    before = fingerprint(tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "package.js").write_text("x")
    (tmp_path / "main.ts").touch()
    assert fingerprint(tmp_path) == before
    (tmp_path / "main.ts").write_text("two")
    changed = fingerprint(tmp_path)
    assert changed != before
    (tmp_path / "main.ts").rename(tmp_path / "other.ts")
    assert fingerprint(tmp_path) != changed


def test_an_unreachable_npm_registry_is_one_sentence(tmp_path: Path) -> None:
    web = tmp_path / "dashboard" / "web"
    web.mkdir(parents=True)
    (tmp_path / "dashboard" / "build.py").write_bytes((WEB.parent / "build.py").read_bytes())
    for name in ("package.json", "package-lock.json"):
        (web / name).write_bytes((WEB / name).read_bytes())
    # An address that refuses at once, and an empty cache.
    settings = "registry=http://127.0.0.1:9/\nfetch-retries=0\n"
    (web / ".npmrc").write_text(f"{settings}cache={tmp_path / 'cache'}\n")
    built = subprocess.run(
        [sys.executable, tmp_path / "dashboard" / "build.py"], capture_output=True, text=True, check=False, timeout=60
    )
    assert built.returncode == 1
    assert built.stderr.startswith("dashboard: cannot fetch the dashboard's packages; is npm's registry reachable?")
    assert "Traceback" not in built.stderr
    assert not (tmp_path / "dashboard" / "static").exists()
