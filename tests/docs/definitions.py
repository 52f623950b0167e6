"""The names that a source file defines, read from its syntax tree without importing it."""

from __future__ import annotations

import ast
from functools import cache

from tests.support.service import ROOT


@cache
def definitions(path: str) -> frozenset[str]:
    """Return the functions and classes at the top level of a file, and the methods of its classes as `Class.method`."""
    names = set()
    for statement in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(statement.name)
        if isinstance(statement, ast.ClassDef):
            methods = (each for each in statement.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{statement.name}.{each.name}" for each in methods}
    return frozenset(names)


@cache
def used_names(path: str) -> frozenset[str]:
    """Return every name that a file reads, and every attribute that it takes from another object."""
    nodes = list(ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return frozenset(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})
