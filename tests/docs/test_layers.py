"""The import layers in docs/architecture.md are those that lint-imports enforces."""

from __future__ import annotations

import re
import tomllib

from tests.support.service import ROOT


def test_the_layers_are_those_of_the_contracts() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    block = re.search(r"^```\n(service: .*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert block
    told = {
        room: [layer.strip() for layer in layers.split("→")]
        for room, layers in re.findall(r"^(\w+): (.*?)(?=^\w+: |\Z)", block[1], re.MULTILINE | re.DOTALL)
    }
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    assert told == {each["containers"][0]: each["layers"] for each in contracts if each["type"] == "layers"}
