"""Names that the field's terms replaced do not come back: retired_names.txt lists them, one qualified name per line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.support.service import ROOT

RETIRED = Path(__file__).with_name("retired_names.txt").read_text(encoding="utf-8").split()


def names_of(body: list[ast.stmt], qualified: str) -> Iterator[str]:
    """Yield the qualified names that statements define, those within classes included."""
    for statement in body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield f"{qualified}.{statement.name}"
            case ast.ClassDef():
                yield f"{qualified}.{statement.name}"
                yield from names_of(statement.body, f"{qualified}.{statement.name}")
            case ast.Assign(targets=targets):
                yield from (f"{qualified}.{target.id}" for target in targets if isinstance(target, ast.Name))
            case ast.AnnAssign(target=ast.Name() as target):
                yield f"{qualified}.{target.id}"


def defined_names() -> Iterator[str]:
    """Yield the qualified name of every module, class, function and attribute of the service and the worker."""
    for package in ("service", "worker"):
        for path in (ROOT / package).rglob("*.py"):
            if "node_modules" in path.parts:
                continue
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            yield module
            yield from names_of(ast.parse(path.read_text(encoding="utf-8")).body, module)


def test_no_retired_name_is_defined() -> None:
    assert sorted(set(RETIRED) & set(defined_names())) == []


def test_definitions_of_every_kind_are_found() -> None:
    source = "def f(): ...\nclass C:\n    a: int\n    B = 1\n    async def g(self): ...\nd: int = 2\n"
    assert list(names_of(ast.parse(source).body, "m")) == ["m.f", "m.C", "m.C.a", "m.C.B", "m.C.g", "m.d"]
