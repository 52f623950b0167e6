"""The catalogue file of the service equals the core's export."""

from pathlib import Path

from worker.training.catalogue import as_json, catalogue
from worker.training.config import LISTS, REGISTRIES

SHIPPED = Path(__file__).parents[2] / "service" / "contract" / "catalogue.json"
TYPES = {"float", "int", "bool", "str", "list[int]", "list[float]", "list[str]", "any"}


def test_the_shipped_catalogue_is_fresh():
    assert SHIPPED.read_text(encoding="utf-8") == as_json(), (
        "write it anew: python -m worker.training.catalogue > service/contract/catalogue.json"
    )


def test_every_entry_and_parameter_says_what_it_is():
    exported = catalogue()
    assert list(exported["registries"]) == list(REGISTRIES)
    assert list(exported["lists"]) == list(LISTS)
    for entries in (exported["registries"] | exported["lists"]).values():
        for entry in entries.values():
            assert entry["description"].endswith(".")
            for parameter in entry["parameters"].values():
                assert parameter["description"]
                assert parameter["type"] in TYPES
                assert ("default" in parameter) != parameter.get("required", False)


def test_metrics_are_named_by_kind():
    metrics = catalogue()["metrics"]
    assert {"train/loss", "val/loss", "val/accuracy", "val/f1_macro", "test/f1_macro"} <= set(metrics["classification"])
    assert {"val/rmse", "val/mae", "val/r2", "test_val/rmse"} <= set(metrics["regression"])
