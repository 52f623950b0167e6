"""The code keeps the house rules, and each rule finds a planted violation."""

from __future__ import annotations

import gc
import subprocess

import pytest

from tests.architecture.house_rules import (
    MAX_LINES,
    ROOT,
    RULES,
    Module,
    Rule,
    breaches,
    commits_in_one_place,
    prints_nothing,
    reads_the_clock_in_one_place,
    says_its_purpose,
    seeds_nothing_global,
    spells_no_state,
    stays_small,
    takes_chance_from_outside,
    uses_the_words,
)

FOLDERS = ("service", "worker", "alembic", "examples", "benchmarks", "tests")
GENERATED = {"node_modules", "static", "__pycache__"}


def modules() -> list[Module]:
    paths = (path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    own = [path for path in sorted(paths) if not GENERATED & set(path.parts)]
    return [Module(path.as_posix(), (ROOT / path).read_text(encoding="utf-8")) for path in own]


@pytest.fixture(scope="module", name="house")
def every_module() -> list[Module]:
    found = modules()
    assert len(found) > 100, "the house was not found"
    # A million nodes without a cycle: the garbage collector would look at them again and again.
    gc.disable()
    assert all(module.nodes for module in found)
    gc.freeze()
    gc.enable()
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_the_rule(rule: Rule, house: list[Module]) -> None:
    found = [breach for module in house for breach in breaches(rule, module)]
    assert not found, f"{rule.__doc__}\n" + "\n".join(found)


CAUGHT: list[tuple[Rule, str, str]] = [
    (commits_in_one_place, "service/usecases/dispatch/claim.py", "connection.commit()"),
    (commits_in_one_place, "alembic/versions/0002_more.py", "op.get_bind().commit()"),
    (reads_the_clock_in_one_place, "service/usecases/maintenance/reaper.py", "import time\nnow = time.time()"),
    (reads_the_clock_in_one_place, "service/api/stream.py", "from time import monotonic\nmonotonic()"),
    (
        reads_the_clock_in_one_place,
        "service/storage/timestamps.py",
        "from datetime import UTC, datetime\ndatetime.now(UTC)",
    ),
    (reads_the_clock_in_one_place, "service/main.py", "import time as t\nt.perf_counter()"),
    (reads_the_clock_in_one_place, "service/main.py", "import datetime\ndatetime.datetime.utcnow()"),
    (spells_no_state, "service/usecases/dispatch/claim.py", "if study.state == 'active': pass"),
    (spells_no_state, "service/storage/queries/trials.py", "states = ['waiting', 'running']"),
    (prints_nothing, "worker/agent/slots/slot.py", "print('claimed')"),
    (seeds_nothing_global, "worker/training/loop/trainer.py", "import torch\ntorch.manual_seed(0)"),
    (seeds_nothing_global, "worker/trial/tasks/dispatch.py", "import numpy as np\nnp.random.seed(0)"),
    (seeds_nothing_global, "service/search/decide.py", "from random import seed\nseed(0)"),
    (takes_chance_from_outside, "service/usecases/dispatch/grants.py", "import secrets\nnonce = secrets.token_hex()"),
    (takes_chance_from_outside, "service/storage/tables.py", "from uuid import uuid4\nuuid4()"),
    (takes_chance_from_outside, "service/search/space/transform.py", "import random\nrandom.random()"),
    (takes_chance_from_outside, "worker/training/data/splits.py", "import numpy\nnumpy.random.permutation(3)"),
    (takes_chance_from_outside, "service/usecases/dispatch/claim.py", "import os\nos.urandom(8)"),
    (stays_small, "worker/cli.py", "x = 1\n" * (MAX_LINES + 1)),
    (says_its_purpose, "service/domain/lease.py", "x = 1"),
    (uses_the_words, "service/api/studies.py", "class TrialManager: pass"),
    (uses_the_words, "service/domain/utils.py", "x = 1"),
    (uses_the_words, "worker/agent/slots/slot.py", "def kill_trial(): pass"),
    (uses_the_words, "worker/agent/slots/slot.py", "def claim(job_id): pass"),
    (uses_the_words, "service/search/decide.py", "for hp in space: pass"),
    (uses_the_words, "service/search/decide.py", "import search as experiment"),
    (uses_the_words, "service/search/decide.py", "self.best_HP = 1"),
]


@pytest.mark.parametrize(("rule", "path", "source"), CAUGHT)
def test_a_breach_is_caught_with_its_remedy(rule: Rule, path: str, source: str) -> None:
    found = breaches(rule, Module(path, source))
    assert found
    assert all(line.startswith(f"{path}:") for line in found)


def test_every_rule_has_been_seen_to_catch_something() -> None:
    assert {rule for rule, _, _ in CAUGHT} == set(RULES)


ALLOWED: list[tuple[Rule, str, str]] = [
    (commits_in_one_place, "service/storage/unit_of_work.py", "connection.commit()"),
    (commits_in_one_place, "worker/agent/outbox/outbox.py", "self._file.commit()"),
    (reads_the_clock_in_one_place, "service/clock.py", "import time\ntime.monotonic()"),
    (
        reads_the_clock_in_one_place,
        "service/storage/timestamps.py",
        "from datetime import datetime\ndatetime.fromtimestamp(0)",
    ),
    (spells_no_state, "service/domain/states.py", "PAUSED = 'paused'"),
    (spells_no_state, "service/usecases/maintenance/reaper.py", "Outcome(result='failed')"),
    (spells_no_state, "service/usecases/studies/creation.py", "reason = 'paused by a user'"),
    (seeds_nothing_global, "worker/training/seeding.py", "import torch\ntorch.Generator().manual_seed(0)"),
    (takes_chance_from_outside, "service/search/seeds.py", "import random\nrandom.Random(0).random()"),
    (takes_chance_from_outside, "worker/training/data/splits.py", "import numpy as np\nnp.random.default_rng(0)"),
    (uses_the_words, "worker/agent/slots/process.py", "os.killpg(process.pid, signal.SIGKILL)"),
    (uses_the_words, "service/contract/attempt.py", "PROCESS_KILLED = 'process_killed'"),
    (uses_the_words, "service/main.py", "from contextlib import contextmanager"),
]


@pytest.mark.parametrize(("rule", "path", "source"), ALLOWED)
def test_values_outside_a_rule_pass(rule: Rule, path: str, source: str) -> None:
    assert breaches(rule, Module(path, source)) == []


def test_only_test_files_mark_their_tests_as_proofs() -> None:
    """`-m prove` imports no test file whose text lacks the mark (tests/conftest.py), so no other module may set it."""
    others = [module for module in modules() if module.within("tests") and "/test_" not in module.path]
    assert [module.path for module in others if "mark.prove" in module.source] == ["tests/conftest.py"]


def test_the_migrations_do_not_shadow_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists(), "with it, `import alembic` finds our folder; remove it"


def test_git_follows_no_generated_file() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    generated = [path for path in listed.stdout.splitlines() if GENERATED & set(path.split("/"))]
    assert not generated, "add them to .gitignore"
