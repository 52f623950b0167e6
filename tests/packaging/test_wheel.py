"""The built wheel in an empty environment serves without a checkout, Node or torch."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.service import ROOT, free_port

pytestmark = pytest.mark.prove

INSTALL_SECONDS = 300
START_SECONDS = 20


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(place), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    assert built.returncode == 0, built.stdout + built.stderr
    return next(place.glob("*.whl"))


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds the wheel and its base dependencies only."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=True)
    programs = place / ("Scripts" if sys.platform == "win32" else "bin")
    command = [str(programs / "python"), "-m", "pip", "install", "-q", "-c", str(ROOT / "constraints.txt"), str(wheel)]
    installed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    assert installed.returncode == 0, installed.stderr
    return programs


@pytest.fixture(scope="module")
def url(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service of the installed wheel, started outside the checkout."""
    place, port = tmp_path_factory.mktemp("served"), free_port()
    command = [str(programs / "service"), "serve", "--port", str(port), "--database", str(place / "assayer.db")]
    address = f"http://127.0.0.1:{port}"
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=place, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(address):
            assert process.poll() is None and time.monotonic() < deadline, (place / "log").read_text()  # noqa: PT018
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(10)


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/v1/health", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def test_it_carries_migrations_dashboard_and_catalogue_but_no_sources_of_the_dashboard(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "service/storage/migrations/env.py" in names
    assert any(name.startswith("service/storage/migrations/versions/0001") for name in names)
    assert "service/dashboard/static/index.html" in names
    assert "service/contract/catalogue.json" in names
    assert "worker/__main__.py" in names
    outside = {name.split("/")[0] for name in names} - {"service", "worker"}
    assert all(name.endswith(".dist-info") for name in outside)
    assert not [
        name for name in names if re.search(r"dashboard/(web|build)|node_modules|__pycache__|\.db$|tests/", name)
    ]


def test_it_serves_on_a_database_that_it_migrates_by_itself(url: str) -> None:
    assert httpx.get(f"{url}/api/v1/health").json()["status"] == "ok"
    assert httpx.get(f"{url}/api/v1/studies").json()["studies"] == []
    assert httpx.get(f"{url}/docs").is_success


def test_the_dashboard_it_serves_is_whole(url: str) -> None:
    page = httpx.get(url)
    assert page.is_success
    assets = re.findall(r'"(/assets/[^"]+)"', page.text)
    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:
        assert httpx.get(url + asset).is_success, asset


def test_the_client_installed_with_it_speaks_to_it(programs: Path, url: str) -> None:
    listed = subprocess.run([programs / "study", "list", "--server", url], capture_output=True, text=True, check=False)
    assert listed.returncode == 0, listed.stderr


@pytest.mark.parametrize("package", ["service.contract", "service.contract.study", "service.client"])
def test_the_wire_loads_without_torch_fastapi_or_sql(programs: Path, package: str) -> None:
    heavy = "{'torch', 'fastapi', 'sqlalchemy', 'optuna', 'numpy'}"
    code = f"import sys, {package}; print(sorted({heavy} & sys.modules.keys()))"
    loaded = subprocess.run([programs / "python", "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert loaded.stdout.strip() == "[]"
