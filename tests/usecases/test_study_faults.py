"""What a study's fault says of the exception behind it."""

from __future__ import annotations

from service.usecases.isolation import StudyFault


def test_a_long_traceback_keeps_its_heading_and_its_end() -> None:
    error: Exception = KeyError("the first")
    for number in range(100):
        try:
            raise RuntimeError(f"number {number}") from error
        except RuntimeError as raised:
            error = raised
    text = StudyFault("a study", "claim", error).traceback
    assert len(text) < 8_500
    assert text.startswith("KeyError: 'the first'\n  …\n")
    assert text.endswith("\nRuntimeError: number 99\n")
