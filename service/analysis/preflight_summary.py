"""What the result of a preflight means, in words: a summary of it, and why it pauses the study."""

from __future__ import annotations

from collections import Counter

from service.contract.preflight import Check, CheckStatus, PreflightMode, PreflightResult


def summarize(result: PreflightResult) -> str:
    """Return one sentence: how many checks ended in which way, and the first one that did not pass."""
    counts = Counter(check.status for check in result.checks)
    numbers = ", ".join(f"{counts[status]} {status.replace('_', ' ')}" for status in CheckStatus if counts[status])
    first = _worst(result)
    return f"preflight: {numbers}" if first is None else f"preflight: {numbers}; {describe(first)}"


def describe(check: Check) -> str:
    """Return one line about a check: its name, what was seen, and the remedy."""
    return f"{check.name}: " + "; ".join(part.removesuffix(".") for part in (check.sentence, check.remedy) if part)


def reason_to_pause(result: PreflightResult, mode: PreflightMode) -> str | None:
    """Return why the study is paused before its first trial, or None.

    `review` pauses it in any case. `require` pauses it only for a failed check: a warning asks for attention.
    """
    if mode == "review":
        return summarize(result)
    failed = [check for check in result.checks if check.status is CheckStatus.FAILED]
    if mode != "require" or not failed:
        return None
    more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
    return f"the preflight failed: {describe(failed[0])}{more}"


def _worst(result: PreflightResult) -> Check | None:
    """Return the first failed check, or else the first that warned."""
    for status in (CheckStatus.FAILED, CheckStatus.WARNED):
        for check in result.checks:
            if check.status is status:
                return check
    return None
