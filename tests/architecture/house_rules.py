"""House rules for the code: each checks one module and reports where it breaks the rule and what to write instead."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialState

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 500

CLOCK_READS = {
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns")),
    *(f"datetime.{name}" for name in ("now", "utcnow", "today")),
    *(f"datetime.datetime.{name}" for name in ("now", "utcnow", "today")),
    *("date.today", "datetime.date.today"),
}
GLOBAL_SEEDS = {
    "random.seed",
    "np.random.seed",
    "numpy.random.seed",
    "torch.seed",
    "torch.manual_seed",
    "torch.random.manual_seed",
    "torch.cuda.manual_seed",
    "torch.cuda.manual_seed_all",
}
INJECTED = {"secrets", "uuid", "os.urandom", "random.SystemRandom"}
"""Sources of randomness that no seed reaches: built by the composition root and passed down."""

PROCESS_STREAM = re.compile(r"random\.(?!Random$)\w+|(np|numpy)\.random\.(?!default_rng$|Generator$|RandomState$)\w+")
"""Draws from a stream that the whole process shares, against generators of one's own."""

STATES = {state.value for states in (StudyState, TrialState, AttemptState) for state in states}
FORBIDDEN_WORDS = {
    "job": "trial, attempt or claim",
    "jobs": "trials, attempts or claims",
    "experiment": "study",
    "experiments": "studies",
    "manager": "what it does, as in Heartbeat",
    "managers": "what they do",
    "util": "what is in it",
    "utils": "what is in it",
    "helper": "what it does",
    "helpers": "what they do",
    "hp": "parameter",
    "hps": "parameters",
    "kill": "stop",
}
"""Words of no meaning here -> what to say instead (the project has one word per idea)."""


@dataclass(frozen=True)
class Module:
    """One module of the house: its path from the root, with slashes, and its text."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree: walking it anew for each rule takes most of a check's time."""
        return tuple(ast.walk(self.tree))

    def within(self, *places: str) -> bool:
        """Whether the module is one of these files, or lies in one of these folders."""
        return any(self.path == place or self.path.startswith(f"{place}/") for place in places)


Breach = tuple[int, str]
"""Line, and what to do about it."""

Rule = Callable[[Module], Iterator[Breach]]


def commits_in_one_place(module: Module) -> Iterator[Breach]:
    """One write path: what is not committed by the unit of work is not repeated on conflict and not journalled."""
    if module.within("service", "alembic") and not module.within("service/storage/unit_of_work.py", "alembic/env.py"):
        for call in _calls(module):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "commit":
                yield (
                    call.lineno,
                    "only service/storage/unit_of_work.py commits; do it in `await transact(study, work)`",
                )


def reads_the_clock_in_one_place(module: Module) -> Iterator[Breach]:
    """Instants are the database's, timers the clock module's. Client and command live in their caller's process."""
    if module.within("service") and not module.within("service/clock.py", "service/client", "service/cli"):
        for line, name in _names_used(module):
            if name in CLOCK_READS:
                yield line, f"{name} reads this machine's clock; data takes unit_of_work.now(), timers service.clock"


def spells_no_state(module: Module) -> Iterator[Breach]:
    """A state's name stands in the vocabulary; the wire's outcome (`result=`) shares some of its words."""
    if not module.within("service") or module.within(
        "service/contract", "service/domain", "service/client", "service/cli"
    ):
        return
    results = {id(keyword.value) for call in _calls(module) for keyword in call.keywords if keyword.arg == "result"}
    for node in module.nodes:
        if isinstance(node, ast.Constant) and node.value in STATES and id(node) not in results:
            yield node.lineno, f"{node.value!r} is a state; write the member of StudyState, TrialState or AttemptState"


def prints_nothing(module: Module) -> Iterator[Breach]:
    """A command writes to its stream or a rich console; everything else logs."""
    if module.within("service", "worker"):
        for call in _calls(module):
            if isinstance(call.func, ast.Name) and call.func.id == "print":
                yield call.lineno, "print goes nowhere on a server; log it, or write to the command's console"


def seeds_nothing_global(module: Module) -> Iterator[Breach]:
    """Two trainings in one process, or a test beside one, must not draw from each other's stream."""
    if module.within("service", "worker", "examples", "benchmarks"):
        for line, name in _names_used(module):
            if name in GLOBAL_SEEDS:
                yield line, f"{name} seeds the whole process; make a generator (random.Random, torch.Generator)"


def takes_chance_from_outside(module: Module) -> Iterator[Breach]:
    """Suggestions and trainings repeat from their seeds; only the composition root has a source without one."""
    if not module.within("service", "worker/training") or module.within(
        "service/main.py", "service/client", "service/cli"
    ):
        return
    for line, name in _names_used(module):
        if name in INJECTED:
            yield line, f"{name} cannot be repeated; take ids and nonces from what the composition root passes down"
        elif PROCESS_STREAM.fullmatch(name):
            yield line, f"{name} draws from the process's stream; draw from a generator that was seeded"


def stays_small(module: Module) -> Iterator[Breach]:
    """A file that one cannot read in one sitting has more than one job."""
    num_lines = len(module.source.splitlines())
    if num_lines > MAX_LINES:
        yield MAX_LINES, f"{num_lines} lines; divide the module by what it does (at most {MAX_LINES})"


def says_its_purpose(module: Module) -> Iterator[Breach]:
    """A module opens with a sentence on its job and its boundary."""
    if module.within("service", "worker", "benchmarks", "tests", "examples") and not ast.get_docstring(module.tree):
        yield 1, "open the module with one docstring sentence on its job and its boundary"


def uses_the_words(module: Module) -> Iterator[Breach]:
    """One word per idea; names that others' libraries gave are not ours to choose."""
    if module.within("alembic"):
        return
    for line, name in [(1, Path(module.path).stem), *_names_given(module)]:
        for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name):
            if instead := FORBIDDEN_WORDS.get(word.lower()):
                yield line, f"{name!r} says {word.lower()!r}; the project's word is: {instead}"


RULES: tuple[Rule, ...] = (
    commits_in_one_place,
    reads_the_clock_in_one_place,
    spells_no_state,
    prints_nothing,
    seeds_nothing_global,
    takes_chance_from_outside,
    stays_small,
    says_its_purpose,
    uses_the_words,
)


def breaches(rule: Rule, module: Module) -> list[str]:
    """What breaks the rule in the module, one `path:line: remedy` each."""
    return [f"{module.path}:{line}: {remedy}" for line, remedy in rule(module)]


def _calls(module: Module) -> Iterator[ast.Call]:
    return (node for node in module.nodes if isinstance(node, ast.Call))


def _names_used(module: Module) -> Iterator[tuple[int, str]]:
    """Dotted names that the module reads or imports, under the names they have at home: np -> numpy, rng -> random."""
    known_as: dict[str, str] = {}
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                known_as[alias.asname or top] = alias.name if alias.asname else top
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            for alias in node.names:
                known_as[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node.lineno, f"{node.module}.{alias.name}"
    for node in module.nodes:
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            first, _, rest = dotted.partition(".")
            yield node.lineno, f"{known_as[first]}.{rest}" if first in known_as else dotted


def _dotted(node: ast.expr) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := _dotted(node.value)):
        return f"{before}.{node.attr}"
    return None


def _names_given(module: Module) -> Iterator[tuple[int, str]]:
    """Names that the module chooses itself: of classes, functions, arguments, variables and attributes."""
    for node in module.nodes:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case ast.alias(asname=str(name)):
                yield node.lineno, name
