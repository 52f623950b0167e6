"""The documents list every setting, error and field as in the code, and their examples work."""

from __future__ import annotations

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from service.api.problems import STATUS
from service.client.study_file import load, read
from service.client.transport import DEFAULT_SERVER
from service.contract import pruner, sampler, study, task
from service.contract.catalogue import load_catalogue
from service.contract.problem import ErrorCode
from service.contract.space import CategoricalParameter, ConstantParameter, FloatParameter, IntParameter
from service.settings import Settings
from tests.docs.generated import DOCS, blocks, renewed, written
from tests.support.service import ROOT, Service
from worker.settings import default_server
from worker.training.callbacks import CALLBACKS

DOCUMENTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(DOCS.glob("*.md"))}

Row = list[str]


def section(document: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", DOCUMENTS[document], re.MULTILINE | re.DOTALL)
    assert found, f"{document} lacks the heading {heading!r}"
    return found[1]


def table(text: str) -> dict[str, Row]:
    """The rows of the tables in a text, by their first cell without its backticks."""
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:3] == "| `"]
    assert rows, "there is no table"
    return {row[0].strip("`"): row[1:] for row in rows}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_generated_parts_are_up_to_date(document: str) -> None:
    assert DOCUMENTS[document] == renewed(DOCUMENTS[document]), "run: python -m tests.docs.generated"


def test_everything_that_can_be_generated_stands_somewhere() -> None:
    shown = {name for text in DOCUMENTS.values() for name in written(text)}
    assert shown == set(blocks())


def test_a_stale_block_is_noticed() -> None:
    stale = DOCUMENTS["architecture.md"].replace("waiting --> running: claimed", "waiting --> running: taken")
    assert stale != DOCUMENTS["architecture.md"] == renewed(stale)


@pytest.mark.parametrize("document", [*DOCUMENTS, "../README.md"])
def test_links_between_documents_lead_somewhere(document: str) -> None:
    text = (DOCS / document).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!\w+:)([^)#]*)(?:#([^)]*))?\)", text):
        linked = ((DOCS / document).parent / target).resolve() if target else DOCS / document
        assert linked.exists(), f"{document} links to {target}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def variables(*places: str) -> set[str]:
    """Names of settings that the code of these places speaks of."""
    files = [
        file for place in places for file in ([ROOT / place] if place.endswith(".py") else (ROOT / place).rglob("*.py"))
    ]
    own = [file for file in files if "node_modules" not in file.parts]
    return {name for file in own for name in re.findall(r"ASSAYER_[A-Z_]+", file.read_text(encoding="utf-8"))} - {
        "ASSAYER_"
    }


def test_every_setting_of_the_service_is_documented_with_its_default() -> None:
    told = table(section("settings.md", "The service"))
    defaults = {f"ASSAYER_{field.name.upper()}": field.default for field in fields(Settings)}
    assert MISSING not in defaults.values()
    assert {name: row[0] for name, row in told.items()} == {
        name: "none" if default is None else f"`{default:g}`" if isinstance(default, float) else f"`{default}`"
        for name, default in defaults.items()
    }


def test_every_setting_of_client_and_worker_is_documented() -> None:
    told = table(section("settings.md", "The client and the worker"))
    of_commands = set(table(section("settings.md", "Environment of a command")))
    assert set(told) == variables("service/client", "worker") - of_commands
    assert of_commands == variables("worker/trial/sdk.py")
    assert told["ASSAYER_SERVER"][0].strip("`") == DEFAULT_SERVER == default_server({})


def test_no_setting_is_kept_to_ourselves() -> None:
    spoken_of = variables("service", "worker", "alembic", "benchmarks", "examples")
    assert spoken_of <= set(re.findall(r"ASSAYER_[A-Z_]+", DOCUMENTS["settings.md"]))


def test_every_error_is_documented_with_its_status_meaning_and_remedy() -> None:
    told = table(DOCUMENTS["errors.md"])
    assert list(told) == list(ErrorCode)
    assert {code: int(row[0]) for code, row in told.items()} == STATUS
    assert all(len(row) == 3 and row[1].endswith(".") and row[2].endswith(".") for row in told.values())


MODELS: dict[str, type[BaseModel]] = {
    "Study": study.StudySpec,
    "Objective": study.Objective,
    "Task": study.Task,
    "function": task.Function,
    "command": task.Command,
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
    "constant": ConstantParameter,
    "auto": sampler.AutoSamplerSpec,
    "grid": sampler.GridSamplerSpec,
    "random": sampler.RandomSamplerSpec,
    "sobol": sampler.SobolSamplerSpec,
    "optuna:cmaes": sampler.CmaEsSamplerSpec,
    "gp": sampler.GpSamplerSpec,
    "optuna:gp": sampler.OptunaGpSamplerSpec,
    "optuna:nsga2": sampler.NsgaIiSamplerSpec,
    "optuna:qmc": sampler.QmcSamplerSpec,
    "coarse_to_fine": sampler.CoarseToFineSamplerSpec,
    "stage": sampler.Stage,
    "tpe": sampler.TpeSamplerSpec,
    "none": pruner.NoPrunerSpec,
    "median": pruner.MedianPrunerSpec,
    "asha": pruner.AshaPrunerSpec,
    "hyperband": pruner.HyperbandPrunerSpec,
    "freeze_thaw": pruner.FreezeThawPrunerSpec,
    "percentile": pruner.PercentilePrunerSpec,
    "threshold": pruner.ThresholdPrunerSpec,
    "patience": pruner.PatiencePrunerSpec,
    "Resource": study.Resource,
    "Budget": study.Budget,
    "Reference": study.Reference,
    "Constraints": study.Constraints,
    "Requires": study.Requires,
}


def default_of(model: type[BaseModel], field: str) -> str:
    info = model.model_fields[field]
    if info.is_required():
        return "required"
    if isinstance(info.default, BaseModel):
        named = getattr(info.default, "name", None)
        return f"`{named}`" if named else "see there"
    return f"`{json.dumps(info.default)}`"


@pytest.mark.parametrize("heading", MODELS)
def test_every_field_of_the_study_file_is_documented_with_its_default(heading: str) -> None:
    model = MODELS[heading]
    told = {field: row[0] for field, row in table(section("study-file.md", heading)).items()}
    assert told == {field: default_of(model, field) for field in model.model_fields}


def test_every_sampler_and_pruner_has_a_section() -> None:
    schema = study.StudySpec.model_json_schema()["$defs"]
    names = {
        model["properties"]["name"]["const"]
        for title, model in schema.items()
        if title.endswith(("SamplerSpec", "PrunerSpec")) and "name" in model["properties"]
    }
    bridged = {"optuna:cmaes", "optuna:gp", "optuna:nsga2", "optuna:qmc"}
    samplers = {"auto", "grid", "random", "sobol", "coarse_to_fine", "tpe", "gp", *bridged}
    assert names == samplers | {
        "none",
        "median",
        "percentile",
        "threshold",
        "patience",
        "asha",
        "hyperband",
        "freeze_thaw",
    }
    assert names <= set(MODELS)


def test_every_registry_entry_and_option_is_documented() -> None:
    catalogue = load_catalogue()
    for name, entries in {**catalogue.registries, **catalogue.lists}.items():
        text = section("study-file.md", name)
        for entry, facts in entries.items():
            assert f"- `{entry}`: " in text
            assert all(f"  - `{option}`: " in text for option in facts.parameters)


def test_the_callback_of_ones_own_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CALLBACKS, "_entries", dict(CALLBACKS._entries))
    found = re.search(r"^```python\n(.*?)^```$", section("study-file.md", "callbacks"), re.MULTILINE | re.DOTALL)
    assert found
    exec(found[1], {"__name__": "theirs"})


EXAMPLES = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENTS["study-file.md"], re.MULTILINE | re.DOTALL)


def complete(number: int) -> dict[str, Any]:
    """An example as a whole study: the first one with the settings that this one replaces."""
    whole: dict[str, Any] = read(EXAMPLES[0], "docs/study-file.md")
    whole.update(read(EXAMPLES[number], "docs/study-file.md"))
    return whole


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_are_accepted_by_the_real_check(number: int, shared_service: Service) -> None:
    answer = httpx.post(f"{shared_service.url}/api/v1/studies/check", json=complete(number), trust_env=False)
    assert (answer.status_code, answer.json()) == (200, {"errors": []})


def test_the_first_example_is_a_file_and_the_one_in_the_examples(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(EXAMPLES[0], encoding="utf-8")
    assert load(tmp_path / "study.yaml") == load(ROOT / "examples" / "digits.yaml")


def test_the_glossary_is_alphabetical_with_one_sentence_per_term() -> None:
    lines = [line for line in DOCUMENTS["glossary.md"].splitlines() if line.startswith("| ")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    terms = [row[0].lower() for row in rows]
    assert len(terms) > 50
    assert terms == sorted(set(terms))
    assert all(len(row) == 2 and row[1].endswith(".") and ". " not in row[1] for row in rows)
