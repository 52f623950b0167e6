"""Runs tests of the use cases on an empty in-memory database each, once per mutant."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet
from _pytest.outcomes import OutcomeException

from service.storage.database import Database
from tests.simulation.memory import SimulatedSqlite, memory
from tests.usecases import conftest
from tests.usecases.inline import without_threads
from tests.usecases.replica import Replica

SECONDS_PER_TEST = 10
PASSED, TIMED_OUT = "passed", "timed out"
BEGAN_AT = 1_700_000_000_000_000


@dataclass(frozen=True)
class InMemoryTest:
    """A test function with the values of its parameters."""

    module: str
    name: str
    given: dict[str, Any] = field(compare=False)

    def __str__(self) -> str:
        return f"{self.module.rpartition('.')[2]}.{self.name}"

    @property
    def function(self) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(importlib.import_module(self.module), self.name.partition("[")[0])
        return found


def find_tests(modules: tuple[str, ...]) -> list[InMemoryTest]:
    """The tests of these modules, but those that need more than one replica, a server or examples of hypothesis."""
    found = []
    for module in modules:
        loaded = importlib.import_module(module)
        for name, function in vars(loaded).items():
            if not name.startswith("test_") or hasattr(function, "hypothesis"):
                continue
            for number, given in enumerate(_parameters(function)):
                test = InMemoryTest(module, f"{name}[{number}]" if given else name, given)
                if all(_is_known(loaded, wanted) for wanted in _wanted(function, given)):
                    found.append(test)
    return found


def _parameters(function: Any) -> list[dict[str, Any]]:
    """Every combination of what the test is parametrized with."""
    choices = []
    for mark in getattr(function, "pytestmark", []):
        if mark.name != "parametrize":
            continue
        names = mark.args[0] if isinstance(mark.args[0], list | tuple) else mark.args[0].replace(" ", "").split(",")
        sets = [ParameterSet.extract_from(value, force_tuple=len(names) == 1) for value in mark.args[1]]
        choices.append([dict(zip(names, each.values, strict=True)) for each in sets])
    return [{name: value for part in parts for name, value in part.items()} for parts in itertools.product(*choices)]


def _wanted(function: Any, given: dict[str, Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in given]


_BUILT_IN = {"replica", "blobs", "tmp_path", "monkeypatch"}


def _is_known(module: Any, fixture: str) -> bool:
    if fixture in _BUILT_IN:
        return True
    own = _fixture(module, fixture)
    return hasattr(own, "_get_wrapped_function") and all(
        _is_known(module, name) for name in inspect.signature(own._get_wrapped_function()).parameters
    )


def _fixture(module: Any, name: str) -> Any:
    """The definition of a fixture, in the module of the test or for all tests of the use cases."""
    return vars(module).get(name) or vars(conftest).get(name)


class EndlessError(BaseException):
    """Code ran for longer than it may without giving way; no handler of the service catches it."""


@contextmanager
def interrupted_after(seconds: float) -> Iterator[None]:
    """Raise EndlessError in the main thread once a block has run for so many seconds."""

    def interrupt(*_: object) -> None:
        raise EndlessError

    handler = signal.signal(signal.SIGALRM, interrupt)
    # pytest's own time limit for a test uses the same timer.
    remaining, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining)
        signal.signal(signal.SIGALRM, handler)


class _Clock:
    """A clock on which time passes whenever it is looked at, by a millisecond."""

    def __init__(self) -> None:
        self.now = BEGAN_AT

    def __call__(self) -> int:
        self.now += 1_000
        return self.now


class Stage:
    """Where the tests take place."""

    def __init__(self) -> None:
        self._clock = _Clock()
        self.database = without_threads(Database(SimulatedSqlite(memory().engine, self._clock)))

    async def play(self, test: InMemoryTest) -> str:
        """Run a test; return how it ended: "passed", "timed out", or the name of what it raised."""
        memory().clear()
        self._clock.now = BEGAN_AT
        with ExitStack() as stack:
            try:
                fixtures = _Fixtures(self.database, importlib.import_module(test.module), stack)
                arguments = {name: await fixtures.get(name) for name in _wanted(test.function, test.given)}
                async with asyncio.timeout(SECONDS_PER_TEST):
                    result = test.function(**test.given, **arguments)
                    if inspect.isawaitable(result):
                        await result
            except TimeoutError:
                return TIMED_OUT  # which says more of the machine than of a mutant
            except (Exception, OutcomeException) as error:
                return type(error).__name__
        return PASSED


class _Fixtures:
    """The fixtures of one test."""

    def __init__(self, database: Database, module: Any, stack: ExitStack) -> None:
        self._database, self._module, self._stack = database, module, stack
        self._made: dict[str, Any] = {}

    async def get(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = await self._make(name)
        return self._made[name]

    async def _make(self, name: str) -> Any:
        match name:
            case "replica":
                return Replica(self._database)
            case "tmp_path":
                return Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
            case "blobs":
                return (await self.get("replica")).open_blobs(await self.get("tmp_path") / "blobs")
            case "monkeypatch":
                return self._stack.enter_context(pytest.MonkeyPatch.context())
        function = _fixture(self._module, name)._get_wrapped_function()
        made = function(**{each: await self.get(each) for each in inspect.signature(function).parameters})
        if inspect.isawaitable(made):
            return await made
        return self._stack.enter_context(_rest_of(made)) if inspect.isgenerator(made) else made


@contextmanager
def _rest_of(generator: Iterator[Any]) -> Iterator[Any]:
    yield next(generator)
    next(generator, None)
