"""Schemathesis against a real service: no call and no chain of calls breaks the OpenAPI document or answers 5xx.

EXAMPLES calls of each operation are made, and as many chains of calls; CI makes few, `make fuzz` at least 500.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import FlakyStrategyDefinition
from schemathesis.config import SchemathesisConfig

from service.main import build_app
from tests.support.service import running_service
from tests.support.sizes import size

pytestmark = pytest.mark.prove

EXAMPLES = int(os.environ.get("EXAMPLES") or size(ci=3, full=20))

TOKEN = "fuzz"
CONFIG = SchemathesisConfig.from_dict(
    {
        "headers": {"Authorization": f"Bearer {TOKEN}"},
        "checks": {
            # Pydantic reads true as 1 and "3" as 3, as its lax mode documents; a schema calls these other types.
            "negative_data_rejection": {"enabled": False},
            # A write without a Content-Type is refused before anybody looks for a route: 415 and not 405.
            "unsupported_method": {"enabled": False},
            # It sends a wrong token after each success, and the service answers these ever more slowly: 4 s each.
            # test_access sends wrong tokens to every operation, once.
            "ignored_auth": {"enabled": False},
            # What a document cannot say is refused all the same: a space's low above its high, an unknown study,
            # a body without its Content-Type.
            "positive_data_acceptance": {"expected-statuses": ["2xx", 404, 409, 415, 422]},
        },
        "operations": [
            # A new study has no best trial yet, and a new trial no checkpoint: 404.
            {
                "include-path-regex": "/(best|checkpoint)$",
                "checks": {"ensure_resource_availability": {"enabled": False}},
            },
        ],
    }
)
BOUNDED = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


# Its streams never end; test_stream reads them.
DESCRIBED = schemathesis.openapi.from_dict(build_app(None, None).openapi(), config=CONFIG).exclude(
    path_regex="/stream$"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_service(tmp_path_factory.mktemp("fuzz"), environment={"ASSAYER_TOKEN": TOKEN}) as service:
        yield service.url


@DESCRIBED.parametrize()
@BOUNDED
def test_no_call_breaks_the_contract(case: schemathesis.Case, server: str) -> None:
    case.call_and_validate(base_url=server)


def test_no_chain_of_calls_breaks_the_contract(server: str) -> None:
    """Calls use what earlier calls answered: a study's name, a grant's trial and nonce.

    All chains share one database, so a repeated beginning may get another answer, such as a name that is taken now.
    Hypothesis calls that flaky and stops; the test then goes on with other chains.
    """
    num_chains = 0

    class Chains(DESCRIBED.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            super().setup()
            nonlocal num_chains
            num_chains += 1

        def get_call_kwargs(self, case: schemathesis.Case) -> dict[str, Any]:
            return {"base_url": server}

    while num_chains < EXAMPLES:
        bounded = settings(BOUNDED, max_examples=EXAMPLES - num_chains, derandomize=num_chains == 0)
        with contextlib.suppress(FlakyStrategyDefinition):
            Chains.run(settings=settings(bounded, stateful_step_count=8))
