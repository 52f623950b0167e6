"""The container files agree with each other and with the commands; needs no Docker engine."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from service.settings import Settings
from tests.support.service import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def stage(name: str) -> str:
    """The instructions of one stage."""
    return re.split(r"^FROM .*$", DOCKERFILE.split(f" AS {name}\n")[1], flags=re.MULTILINE)[0]


def test_compose_has_the_database_the_service_and_both_workers() -> None:
    assert SERVICES.keys() == {"postgres", "service", "worker", "gpu-worker"}
    assert SERVICES["postgres"]["image"] == "postgres:18"


def test_only_the_gpu_worker_waits_for_its_profile() -> None:
    assert {name: entry["profiles"] for name, entry in SERVICES.items() if "profiles" in entry} == {
        "gpu-worker": ["gpu"]
    }
    (device,) = SERVICES["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


@pytest.mark.parametrize("name", ["service", "worker", "gpu-worker"])
def test_every_image_is_a_stage_that_gives_up_root(name: str) -> None:
    target = SERVICES[name]["build"]["target"]
    assert "USER assayer" in stage(target)
    assert f'ENTRYPOINT ["{target}"]' in stage(target)


def test_everything_waits_for_what_it_needs_and_that_can_tell_when_it_is_ready() -> None:
    for entry in SERVICES.values():
        for needed, how in entry.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[needed]


def test_the_token_has_no_default_because_the_service_is_open_to_other_machines() -> None:
    assert "ASSAYER_HOST=0.0.0.0" in stage("service")
    for name in ("service", "worker", "gpu-worker"):
        assert SERVICES[name]["environment"]["ASSAYER_TOKEN"].startswith("${ASSAYER_TOKEN:?")


def test_no_secret_has_a_default_and_none_stands_in_a_url() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name in ("POSTGRES_PASSWORD", "ASSAYER_TOKEN"):
        uses = re.findall(rf"\$\{{{name}(.*?)\}}", text)
        assert len(uses) >= 2
        assert all(use.startswith(":?") and len(use) > 10 for use in uses), uses
    assert "$" not in SERVICES["service"]["environment"]["ASSAYER_DATABASE"]


def test_postgres_is_reachable_by_the_other_containers_alone() -> None:
    assert "ports" not in SERVICES["postgres"]


def test_the_service_is_given_settings_that_it_knows() -> None:
    environment = SERVICES["service"]["environment"] | {"ASSAYER_HOST": "0.0.0.0"}
    settings = Settings.from_environment(environment)
    assert settings.database == environment["ASSAYER_DATABASE"]
    assert SERVICES["service"]["ports"] == [f"{settings.port}:{settings.port}"]
    assert f"EXPOSE {settings.port}" in stage("service")


def test_the_build_is_sent_everything_the_wheel_is_made_of_and_nothing_it_makes() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    for name in (
        "pyproject.toml",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "alembic",
        "service",
        "worker",
    ):
        assert f"!{name}" in lines
        assert (ROOT / name).exists()
    assert "**/node_modules" in lines
