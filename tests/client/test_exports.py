"""The package exports what it defines for others, and nothing by accident."""

from __future__ import annotations

import inspect
import subprocess
import sys

import service.client
from service.client import errors
from service.client.errors import ApiError, error_of
from service.contract.problem import ErrorCode, Problem


def test_all_is_sorted_and_true() -> None:
    assert service.client.__all__ == sorted(service.client.__all__)
    assert all(hasattr(service.client, name) for name in service.client.__all__)


def test_every_exception_is_exported() -> None:
    defined = {
        name for name, thing in inspect.getmembers(errors, inspect.isclass) if thing.__module__ == errors.__name__
    }
    assert defined <= set(service.client.__all__)


def test_every_error_code_has_its_exception() -> None:
    for code in ErrorCode:
        error = error_of(Problem(type="about:blank", title="", status=400, detail="a sentence", code=code))
        assert type(error) is not ApiError
        assert str(error) == "a sentence"
        assert error.code is code


def test_the_client_loads_nothing_heavy() -> None:
    heavy = ("torch", "fastapi", "sqlalchemy", "optuna", "numpy", "yaml")
    program = f"import sys, service.client, service.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
