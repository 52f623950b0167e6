"""Scenarios are isolated: no scenario's database is visible in the next."""

from __future__ import annotations

import sqlite3

import pytest

from tests.simulation.memory import memory


def test_a_listing_does_not_continue_across_a_restore() -> None:
    half_read = memory().raw.execute("SELECT name FROM sqlite_master")
    next(half_read)
    memory().restore(memory().back_up())
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        next(half_read)
    assert memory().rows("PRAGMA foreign_keys") == [(1,)]
