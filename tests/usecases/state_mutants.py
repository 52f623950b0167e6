"""Mutants of what protects the moves of studies, trials and attempts, made from the code and applied in this process.

Of the tables of the state machines: each move that is forbidden allowed, and each that is allowed forbidden. Of the use
cases: each guard dropped (an `if` that refuses or returns), and each operand of a condition dropped.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from service.domain.machine import Machine, Move
from service.domain.states import ATTEMPT, STUDY, TRIAL

MACHINES: tuple[Machine[Any, Any], ...] = (STUDY, TRIAL, ATTEMPT)

GUARDED = {
    "service.usecases.fence": ("trial_of", "find", "hold"),
    "service.usecases.finish": ("finish",),
    "service.usecases.report": ("report", "store_points"),
    "service.usecases.checkpoint": ("register_checkpoint", "_require_metrics", "_is_stored"),
    "service.usecases.heartbeat": ("_renew", "_reattach"),
    "service.usecases.settle": ("settle_stop", "complete"),
    "service.usecases.reap": ("_lose",),
    "service.usecases.claim": ("_obstacle", "_take", "_granted"),
    "service.usecases.control": ("resume_study", "stop_study", "_require"),
    "service.usecases.forks": ("fork_trial",),
    "service.usecases.edit": ("_require_editable",),
    "service.usecases.enqueue": ("enqueue",),
    "service.usecases.stages": ("review_stage", "waits_for_review"),
    "service.usecases.memory": ("_give_up",),
    "service.usecases.release": ("_is_released", "_running"),
    "service.usecases.deletion": ("_refuse_running",),
}
"""The functions whose conditions decide whether something moves."""


OF_OTHER_KINDS = ("refused_code", "is_uploaded", "fault is not None", "reason is None")
"""Conditions of guarded functions that are about no state: whose code it is, what was uploaded, what a strategy did."""


@dataclass(frozen=True)
class TableMutant:
    """A machine in which an event may find a state that it may not find, or may no longer find one that it may."""

    machine: Machine[Any, Any]
    event: Any
    state: Any

    @property
    def is_allowing(self) -> bool:
        """Whether the mutant allows what is forbidden."""
        return self.state not in self.machine.moves[self.event].sources

    def __str__(self) -> str:
        return f"{self.machine.name}: {self.event} {'from' if self.is_allowing else 'not from'} {self.state}"

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The machine is so for the length of a block."""
        moves: Any = self.machine.moves
        right = moves[self.event]
        moves[self.event] = Move(right.sources ^ {self.state}, right.target)
        try:
            yield
        finally:
            moves[self.event] = right


def table_mutants() -> list[TableMutant]:
    """Every event with every state."""
    return [
        TableMutant(machine, event, state)
        for machine in MACHINES
        for event in machine.moves
        for state in machine.states
    ]


@dataclass(frozen=True)
class GuardMutant:
    """A function in which a condition never holds, or one operand of a condition is left out."""

    module: str
    function: str
    condition: int
    """Which condition of the function, counted from 0 in the order of the code."""
    operand: int | None = None
    """Which operand of it is left out, counted over all `and` and `or` in it; none: it never holds."""
    text: str = field(default="", compare=False)

    def __str__(self) -> str:
        short = self.module.rpartition(".")[2]
        return f"{short}.{self.function}: {self.text}"

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The function is so for the length of a block."""
        edited = _Edit(self.condition, self.operand)
        with _replaced(self.module, self.function, edited):
            assert edited.is_done, self
            yield


def guard_mutants() -> list[GuardMutant]:
    """Every condition of the guarded functions, and every operand of each."""
    found = []
    for module, functions in GUARDED.items():
        for function in functions:
            for number, condition in enumerate(_conditions(_definition(_tree(module), function))):
                told = ast.unparse(condition)
                if any(kind in told for kind in OF_OTHER_KINDS):
                    continue
                found.append(GuardMutant(module, function, number, text=f"never {told}"))
                for at, operand in enumerate(_operands(condition)):
                    text = f"{told} without {ast.unparse(operand)}"
                    found.append(GuardMutant(module, function, number, at, text))
    return found


@contextlib.contextmanager
def probed(note: Callable[[str, str, int, bool], None]) -> Iterator[None]:
    """Have every condition of the guarded functions tell whether it held, for the length of a block."""
    with contextlib.ExitStack() as stack:
        for module, functions in GUARDED.items():
            loaded = importlib.import_module(module)
            loaded.__dict__["_probe"] = lambda function, number, holds, module=module: (
                note(module, function, number, bool(holds)),
                holds,
            )[1]
            stack.callback(loaded.__dict__.pop, "_probe")
            for function in functions:
                stack.enter_context(_replaced(module, function, _Probe(function)))
        yield


@contextlib.contextmanager
def _replaced(module: str, function: str, edit: ast.NodeTransformer) -> Iterator[None]:
    """Give a function of a loaded module another body."""
    loaded = importlib.import_module(module)
    live = loaded.__dict__[function]
    assert isinstance(live, FunctionType)
    tree = ast.parse(inspect.getsource(loaded))
    edit.visit(_definition(tree, function))
    right, live.__code__ = live.__code__, _code(loaded, ast.fix_missing_locations(tree), function)
    try:
        yield
    finally:
        live.__code__ = right


def _code(module: ModuleType, tree: ast.Module, function: str) -> CodeType:
    compiled = compile(tree, str(module.__file__), "exec")
    return next(each for each in compiled.co_consts if isinstance(each, CodeType) and each.co_name == function)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _definition(tree: ast.Module, function: str) -> ast.AST:
    return next(
        each for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and each.name == function
    )


def _holders(definition: ast.AST) -> list[ast.If | ast.Return]:
    """The guards of a function: each `if` that only raises or returns, and each condition that it returns."""
    return [
        node
        for node in ast.walk(definition)
        if (isinstance(node, ast.If) and isinstance(node.body[-1], ast.Raise | ast.Return))
        or (isinstance(node, ast.Return) and isinstance(node.value, ast.BoolOp))
    ]


def _conditions(definition: ast.AST) -> list[ast.expr]:
    return [node.test if isinstance(node, ast.If) else node.value for node in _holders(definition)]  # type: ignore[misc]


def _operands(condition: ast.expr) -> list[ast.expr]:
    return [operand for node in ast.walk(condition) if isinstance(node, ast.BoolOp) for operand in node.values]


class _Edit(ast.NodeTransformer):
    """Makes one condition never hold, or leaves out one operand of it."""

    def __init__(self, condition: int, operand: int | None) -> None:
        self._condition, self._operand = condition, operand
        self.is_done = False

    def visit(self, node: ast.AST) -> ast.AST:
        holder = _holders(node)[self._condition]
        condition = holder.test if isinstance(holder, ast.If) else holder.value
        assert condition is not None
        if self._operand is None:
            edited: ast.expr = ast.Constant(value=False)
        else:
            left_out = _operands(condition)[self._operand]
            edited = _without(condition, left_out)
        if isinstance(holder, ast.If):
            holder.test = edited
        else:
            holder.value = edited
        self.is_done = True
        return node


def _without(condition: ast.expr, left_out: ast.expr) -> ast.expr:
    class Leave(ast.NodeTransformer):
        def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
            kept = [each for each in node.values if each is not left_out]
            if len(kept) < len(node.values):
                return kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept)
            return self.generic_visit(node)  # type: ignore[return-value]

    edited: ast.expr = Leave().visit(condition)
    return edited


class _Probe(ast.NodeTransformer):
    """Wraps every condition in a call of the probe."""

    def __init__(self, function: str) -> None:
        self._function = function

    def visit(self, node: ast.AST) -> ast.AST:
        for number, holder in enumerate(_holders(node)):
            condition = holder.test if isinstance(holder, ast.If) else holder.value
            assert condition is not None
            wrapped = ast.Call(
                ast.Name("_probe", ast.Load()),
                [ast.Constant(self._function), ast.Constant(number), condition],
                [],
            )
            if isinstance(holder, ast.If):
                holder.test = wrapped
            else:
                holder.value = wrapped
        return node
