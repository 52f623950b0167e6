"""Mutants of every condition that decides a state change, made from the syntax tree and applied in this process.

A condition is the test of an `if`, of a conditional expression or of a loop, the filter of a comprehension, a boolean
expression wherever it stands, and the filter of an UPDATE or a DELETE. Each is replaced by true and by false, and each
operand of an `and` or an `or` is left out.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import sqlalchemy as sa

MODULES: dict[str, tuple[str, ...]] = {
    "service.usecases.begin_trial": (),
    "service.usecases.attempts.checkpoint": (),
    "service.usecases.dispatch.claim": (),
    "service.usecases.dispatch.too_large": (),
    "service.usecases.studies.lifecycle": (),
    "service.usecases.studies.deletion": (),
    "service.usecases.deployment": (),
    "service.usecases.studies.edit": (),
    "service.usecases.studies.enqueue": (),
    "service.usecases.fencing": (),
    "service.usecases.attempts.finish": (),
    "service.usecases.trials.forks": (),
    "service.usecases.dispatch.grants": ("_monitor", "_teacher", "_preflight_order", "task_of", "grant_of"),
    "service.usecases.attempts.heartbeat": (),
    "service.usecases.quarantine": (),
    "service.usecases.isolation": ("StudyFault.summary", "guarded", "_log"),
    "service.usecases.attempts.late_stop": (),
    "service.usecases.maintenance.oom_expiry": (),
    "service.usecases.maintenance.budget_expiry": (),
    # It writes findings, which decide no state; test_diagnosis_faults.py breaks its guards with replicas of its own.
    "service.usecases.maintenance.diagnosis": (
        "_store",
        "_is_newer",
        "diagnose_due",
        "_due",
        "_diagnose_isolated",
        "_log_once",
        "_diagnose",
        "_keep",
        "_store_fault",
        "_stored",
        "_replace_trials",
        "_replace_study",
    ),
    "service.usecases.attempts.preflight_end": (),
    "service.usecases.studies.preflight": ("_newest", "_proposals"),
    "service.usecases.attempts.provenance": (),
    "service.usecases.maintenance.reaper": (),
    "service.usecases.trials.release": (),
    "service.usecases.attempts.report": (),
    "service.usecases.maintenance.restore": (),
    "service.usecases.remedies.apply": ("_Application._edit", "_same"),
    "service.usecases.attempts.rungs": (),
    "service.usecases.attempts.outcome": (),
    "service.usecases.studies.stages": ("list_stages",),
    "service.usecases.dispatch.assignment": (),
    "service.usecases.workers": (),
    "service.domain.state_machine": ("StateMachine.diagram", "StateMachine.terminal"),
    "service.domain.circuit_breaker": (),
    "service.domain.failures": (),
    "service.storage.removal": (),
    "service.storage.unit_of_work": (
        "UnitOfWork.now",
        "UnitOfWork.revision",
        "UnitOfWork.record",
        "Transactor.run_sync",
        "Transactor._once",
    ),
}
"""The modules that decide state changes, each with those of its functions that decide none."""

_IMPURE = {"record_host_fault", "transact", "compute", "note", "is_alarm_due", "_unmet_need"}
"""Functions that change something: a condition that calls one is not evaluated a second time."""

_PREDICATES = ("is_", "has_", "_is_", "may_", "_may_", "any", "all", "bool", "isinstance")


@dataclass(frozen=True)
class Edit:
    """A change of a function: one node of its syntax tree, by its place in `ast.walk`, is replaced."""

    node: int
    operand: int | None = None
    """Which operand of the node is left out; None: the whole node is `value`."""
    value: bool = False


@dataclass(frozen=True)
class GuardMutant:
    """A function in which one condition is another."""

    module: str
    function: str
    site: int
    """The condition that it changes, by its place in `ast.walk`."""
    edit: Edit
    text: str = field(compare=False)

    def __str__(self) -> str:
        return f"{self.module.rpartition('.')[2]}.{self.function}: {self.text}"

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The function is so for the length of a block."""
        with _replaced(self.module, self.function, _edited(_definition(self.module, self.function), self.edit)):
            yield


def guard_mutants() -> list[GuardMutant]:
    """Every mutant of every function of the modules."""
    found = []
    for module, left_out in MODULES.items():
        for function in _functions(module):
            if function not in left_out:
                found += _mutants_of(module, function)
    # A condition may stand in one function twice.
    texts: dict[str, int] = {}
    named = []
    for each in found:
        texts[str(each)] = count = texts.get(str(each), 0) + 1
        text = each.text if count == 1 else f"{each.text} ({count})"
        named.append(GuardMutant(each.module, each.function, each.site, each.edit, text))
    return named


def _mutants_of(module: str, function: str) -> list[GuardMutant]:
    definition = _definition(module, function)
    nodes = list(ast.walk(definition))
    place = {id(node): number for number, node in enumerate(nodes)}
    found = []
    for site in _sites(definition):
        said, number = ast.unparse(site), place[id(site)]
        edits = [(Edit(number, value=value), f"{str(value).lower()} for {said}") for value in (True, False)]
        if _is_looping(definition, site):
            del edits[0]
        for node in _operations(site):
            for at, operand in enumerate(_operands(node)):
                edits.append((Edit(place[id(node)], at), f"{said} without {ast.unparse(operand)}"))
        found += [GuardMutant(module, function, number, edit, text) for edit, text in edits]
    return found


def _is_looping(definition: ast.AST, site: ast.AST) -> bool:
    return any(isinstance(node, ast.While) and node.test is site for node in ast.walk(definition))


def _sites(definition: ast.AST) -> list[ast.expr]:
    """The conditions of a function, in the order of `ast.walk`."""
    found: list[ast.expr] = []
    for node in ast.walk(definition):
        match node:
            case ast.If(body=body, orelse=[]) if all(map(_is_logging, body)):
                pass
            case ast.If() | ast.While():
                found.append(node.test)
            case ast.IfExp() if not _chooses_words(node):
                found.append(node.test)
            case ast.comprehension():
                found += node.ifs
            case ast.match_case(guard=ast.expr() as guard):
                found.append(guard)
            case ast.Call(func=ast.Attribute(attr="where", value=of)) if _writes(of):
                found += node.args
    known = {id(inner) for site in found for inner in ast.walk(site)}
    for node in ast.walk(definition):
        is_filter = bool(_operands(node)) and all(map(_is_predicate, _operands(node)))
        if is_filter and id(node) not in known:
            found.append(node)  # type: ignore[arg-type]
            known |= {id(inner) for inner in ast.walk(node)}
    return found


def _is_logging(statement: ast.stmt) -> bool:
    """Whether a statement only writes to the log."""
    match statement:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return True
    return False


def _chooses_words(node: ast.IfExp) -> bool:
    """Whether it only says something in one way or another."""
    return all(
        isinstance(each, ast.JoinedStr)
        or (isinstance(each, ast.Constant) and isinstance(each.value, str))
        or (isinstance(each, ast.IfExp) and _chooses_words(each))
        for each in (node.body, node.orelse)
    )


def _writes(of: ast.expr) -> bool:
    called = {
        node.func.attr for node in ast.walk(of) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    return bool(called & {"update", "delete"})


def _is_predicate(node: ast.expr) -> bool:
    match node:
        case ast.Compare() | ast.BoolOp() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BinOp():
            return bool(_operands(node))
        case ast.Call(func=called):
            return _is_predicate(called)
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.startswith(_PREDICATES)
    return False


def _operations(node: ast.AST) -> Iterator[ast.AST]:
    """Every `and` and `or` on which the truth of a condition depends; `a or b` as a value within it is none."""
    match node:
        case ast.BoolOp() | ast.BinOp():
            yield node
            for operand in _operands(node):
                yield from _operations(operand)
        case ast.UnaryOp(op=ast.Not(), operand=inner):
            yield from _operations(inner)
        case ast.Call(func=ast.Name(id="any" | "all"), args=[ast.GeneratorExp(elt=inner)]):
            yield from _operations(inner)
        case ast.NamedExpr(value=inner):
            yield from _operations(inner)


def _operands(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
        return [node.left, node.right]
    return []


def _edited(definition: ast.AST, edit: Edit) -> ast.AST:
    """A copy of the function with the change."""
    edited = copy.deepcopy(definition)
    place(edited, list(ast.walk(edited))[edit.node], edit)
    return edited


def place(tree: ast.AST, node: ast.AST, edit: Edit) -> ast.AST:
    """Put what the edit makes of a node in its place."""
    assert isinstance(node, ast.expr)
    return _Put(node, _instead(tree, node, edit)).visit(tree)


def _instead(tree: ast.AST, node: ast.expr, edit: Edit) -> ast.expr:
    if edit.operand is not None:
        operands = _operands(node)
        kept = operands[: edit.operand] + operands[edit.operand + 1 :]
        if isinstance(node, ast.BoolOp) and len(kept) > 1:
            return ast.BoolOp(node.op, kept)
        return kept[0]
    if any(each.args and node in each.args for each in ast.walk(tree) if _is_where(each)):
        return ast.Name("_every" if edit.value else "_none", ast.Load())
    if any(isinstance(each, ast.NamedExpr) for each in ast.walk(node)):
        both = ast.Tuple([node, ast.Constant(edit.value)], ast.Load())
        return ast.Subscript(both, ast.Constant(1), ast.Load())
    return ast.Constant(edit.value)


def _is_where(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "where"


class _Put(ast.NodeTransformer):
    def __init__(self, node: ast.expr, instead: ast.expr) -> None:
        self._node, self._instead = node, instead

    def visit(self, node: ast.AST) -> Any:
        return self._instead if node is self._node else self.generic_visit(node)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(inspect.getsource(importlib.import_module(module)))


def _functions(module: str) -> list[str]:
    found = []
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.ClassDef):
            found += [
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            ]
    return found


@cache
def _definition(module: str, function: str) -> ast.AST:
    body = _tree(module).body
    *classes, name = function.split(".")
    for each in classes:
        body = next(node.body for node in body if isinstance(node, ast.ClassDef) and node.name == each)
    return next(node for node in body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name)


def _live(module: str, function: str) -> FunctionType:
    found: Any = importlib.import_module(module)
    for name in function.split("."):
        found = inspect.getattr_static(found, name)
    found = getattr(found, "fget", found)
    assert isinstance(found, FunctionType), (module, function)
    return found


@contextlib.contextmanager
def _replaced(module: str, function: str, definition: ast.AST) -> Iterator[None]:
    """Give a function of a loaded module another body."""
    live = _live(module, function)
    live.__globals__.update(_every=sa.true(), _none=sa.false())
    right, live.__code__ = live.__code__, _code(module, definition)
    try:
        yield
    finally:
        live.__code__ = right


def _code(module: str, definition: ast.AST) -> CodeType:
    bare = copy.copy(definition)
    bare.decorator_list = []  # type: ignore[attr-defined]
    annotations = ast.ImportFrom("__future__", [ast.alias("annotations")], 0)
    tree = ast.fix_missing_locations(ast.Module([annotations, bare], []))  # type: ignore[list-item]
    compiled = compile(tree, module, "exec", dont_inherit=True)
    return next(each for each in compiled.co_consts if isinstance(each, CodeType))


@contextlib.contextmanager
def probed(mutants: list[GuardMutant], note: Callable[[GuardMutant], None]) -> Iterator[None]:
    """Have every condition tell which mutants would make it another, for the length of a block.

    Up to the first condition that is another, a mutant does what the code does: one that is never told of here is not
    to be told from the code by what runs in the block.
    """
    by_function: dict[tuple[str, str], dict[int, list[GuardMutant]]] = {}
    for mutant in mutants:
        by_function.setdefault((mutant.module, mutant.function), {}).setdefault(mutant.site, []).append(mutant)

    asked = {mutant: _is_compared(mutant) for mutant in mutants}

    def probe(module: str, function: str, site: int, value: Any, *others: Callable[[], Any]) -> Any:
        changed = iter(others)
        for mutant in by_function[module, function][site]:
            if not asked[mutant]:
                note(mutant)
            elif mutant.edit.operand is None:
                if bool(value) is not mutant.edit.value:
                    note(mutant)
            elif _holds(next(changed)) is not bool(value):
                note(mutant)
        return value

    with contextlib.ExitStack() as stack:
        for (module, function), sites in by_function.items():
            _live(module, function).__globals__["_probe"] = probe
            stack.enter_context(_replaced(module, function, _with_probes(module, function, sites)))
        yield


def _holds(condition: Callable[[], Any]) -> bool | None:
    try:
        return bool(condition())
    except Exception:
        return None


def _is_compared(mutant: GuardMutant) -> bool:
    """Whether a mutant's condition can be asked for beside the right one: it filters and changes nothing."""
    definition = _definition(mutant.module, mutant.function)
    site = list(ast.walk(definition))[mutant.site]
    is_filter = any(site in node.args for node in ast.walk(definition) if _is_where(node))  # type: ignore[attr-defined]
    return not is_filter and not any(map(_is_unasked, ast.walk(site)))


def _is_unasked(node: ast.AST) -> bool:
    match node:
        case ast.NamedExpr() | ast.Await() | ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
            return True
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name in _IMPURE
    return False


def _with_probes(module: str, function: str, mutants: dict[int, list[GuardMutant]]) -> ast.AST:
    right = _definition(module, function)
    probed = copy.deepcopy(right)
    nodes = list(ast.walk(probed))
    for site in sorted(mutants, reverse=True):  # `ast.walk` goes from the outer to the inner
        others = [
            _condition_of(right, site, mutant.edit)
            for mutant in mutants[site]
            if mutant.edit.operand is not None and _is_compared(mutant)
        ]
        call = ast.Call(
            ast.Name("_probe", ast.Load()),
            [
                ast.Constant(module),
                ast.Constant(function),
                ast.Constant(site),
                nodes[site],
                *(ast.Lambda(ast.arguments([], [], None, [], [], None, []), other) for other in others),
            ],
            [],
        )
        probed = _Put(nodes[site], call).visit(probed)  # type: ignore[arg-type]
    return probed


def _condition_of(right: ast.AST, site: int, edit: Edit) -> ast.expr:
    """What the edit makes of the condition at a site."""
    copied = copy.deepcopy(right)
    nodes = list(ast.walk(copied))
    condition, node = nodes[site], nodes[edit.node]
    assert isinstance(node, ast.expr)
    return _Put(node, _instead(copied, node, edit)).visit(condition)
