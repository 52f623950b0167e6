"""Words for findings and pages: names of columns, numbers, shares and plurals."""

from __future__ import annotations

from collections.abc import Sequence

_NUM_NAMED = 4


def named(names: Sequence[str]) -> str:
    """Return up to four names in backticks, and how many more there are."""
    shown = ", ".join(f"`{name}`" for name in names[:_NUM_NAMED])
    rest = len(names) - _NUM_NAMED
    return f"{shown} and {rest:,} more" if rest > 0 else shown


def columns_that(names: Sequence[str], one: str, several: str) -> str:
    """Return the beginning of a sentence about columns: their names and the verb in its number."""
    if len(names) == 1:
        return f"column {named(names)} {one}"
    return f"{len(names):,} columns ({named(names)}) {several}"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def short_number(value: float) -> str:
    """Return a number in four significant digits, with an exponent only if it is very large or small."""
    if value == 0 or not 1e-4 <= abs(value) < 1e9:
        return f"{value:.4g}"
    rounded = float(f"{value:.4g}") if abs(value) < 10_000 else round(value)
    return f"{int(rounded):,}" if rounded == int(rounded) else f"{rounded:,}"


def percent(share: float) -> str:
    """Return a share in percent with two significant digits, and never 0 % or 100 % for a share between."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "more than 99.9 %"
    return f"{100 * share:.0f} %" if share >= 0.1 and (share <= 0.99 or share == 1) else f"{100 * share:.1f} %"
