"""Modules of the user's own: their entries are registered, and errors are one sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from service.contract.custom_entries import EntriesRequest
from tests.support.forked_commands import TRAINING
from tests.support.service import ROOT
from worker.training.config import LISTS, REGISTRIES
from worker.trial.provenance import code_fingerprint, loaded_sources
from worker.trial.registration import RegistrationFailed, register

LOSS = """
from worker.training.components.losses import LOSSES

def my_loss(_): ...

LOSSES.add(my_loss, kinds=["ranking"])
"""

Write = Callable[[str, str], None]

NET = """
from typing import Annotated
from worker.training.data import Dataset
from worker.training.models import MODELS
from worker.training.parameters import Setting

@MODELS.add
def my_net(dataset: Dataset, *, width: Annotated[int, Setting("of each layer", low=1)] = 8, deep: bool = False):
    '''A net of mine.

    More of it.
    '''
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes modules that can be imported, and that nothing remembers after the test."""
    known = set(sys.modules)
    for registry in (*REGISTRIES.values(), *LISTS.values()):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    monkeypatch.syspath_prepend(str(tmp_path))

    def write_(name: str, code: str) -> None:
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(code, encoding="utf-8")

    yield write_
    for name in loaded_sources("", known):
        del sys.modules[name]


def test_registered_entries_are_described_as_in_the_catalogue(write: Write) -> None:
    write("nets", NET)
    write("mine.losses", LOSS)
    entries = register(["nets", "mine.losses"]).entries
    assert entries == {
        "model": {
            "my_net": {
                "description": "A net of mine.",
                "parameters": {
                    "width": {"type": "int", "default": 8, "description": "of each layer", "low": 1},
                    "deep": {"type": "bool", "default": False, "description": ""},
                },
                "facts": {},
            }
        },
        "loss": {"my_loss": {"description": "", "parameters": {}, "facts": {"kinds": ["ranking"]}}},
    }
    assert EntriesRequest.model_validate({"worker": "w", "registries": entries}), "so the service takes it"


def test_the_cores_own_entries_are_what_the_service_would_take_too() -> None:
    for section, registry in (*REGISTRIES.items(), *LISTS.items()):
        described = {entry.name: json.loads(json.dumps(entry.describe())) for entry in registry}
        EntriesRequest.model_validate({"worker": "w", "registries": {section: described}})


def test_no_modules_add_nothing() -> None:
    assert register([]).entries == {}


def test_their_sources_make_the_code_another_with_those_that_they_import(write: Write, tmp_path: Path) -> None:
    write("layers_of_nets", "WIDTH = 1")
    write("nets", f"import layers_of_nets\n{NET}")
    own = register(["nets"]).sources
    assert own == {name: tmp_path / f"{name}.py" for name in ("nets", "layers_of_nets")}
    before = code_fingerprint(custom_sources=own)
    assert before != code_fingerprint()
    write("layers_of_nets", "WIDTH = 2")
    assert code_fingerprint(custom_sources=own) != before


ADD = "from worker.training.models import MODELS\n"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            f"{ADD}@MODELS.add\ndef mlp(dataset): ...",
            "model 'mlp' is registered already; give the factory another name",
        ),
        (f"{ADD}MODELS.add(lambda dataset: None)", "model '<lambda>' has no name; define it as a function"),
        ("import nothing_like_it", "it imports the module 'nothing_like_it', which is not installed here"),
        ("def f(:", r"SyntaxError: invalid syntax \(wrong.py, line 1\)"),
        ("raise SystemExit('no')", "SystemExit: no"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (
            f"{ADD}@MODELS.add\ndef net(d, *, x: float = float('inf')): ...",
            "model 'net': its description cannot be written as JSON",
        ),
        (
            f"{ADD}def net(d): ...\nMODELS.add(net, inputs={{'rows'}})",
            "model 'net': its description cannot be written as JSON",
        ),
    ],
)
def test_a_failed_registration_is_one_sentence(write: Write, code: str, said: str) -> None:
    write("wrong", code)
    with pytest.raises(RegistrationFailed, match=f"^cannot register (wrong: )?{said}") as caught:
        register(["wrong"])
    assert "\n" not in str(caught.value)


def test_a_module_that_adds_nothing_names_the_remedy(write: Write) -> None:
    write("wrong", "x = 1")
    with pytest.raises(RegistrationFailed, match=r"^wrong adds nothing .* then MODELS\.add\(my_net\)$"):
        register(["wrong"])


def test_a_module_that_uses_the_gpu_when_it_is_imported_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("nets", NET)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(RegistrationFailed, match="cannot register nets: importing it uses the GPU"):
        register(["nets"])


def test_a_worker_with_a_module_that_is_not_there_ends_with_a_sentence_and_status_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "worker", "--cpu", "--state-dir", str(tmp_path)]
    command += ["--register", "nowhere.to_be_found"]
    ended = TRAINING.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 2
    assert f"cannot register nowhere.to_be_found: there is no module 'nowhere' in {ROOT}" in ended.stderr
    assert "Traceback" not in ended.stderr
