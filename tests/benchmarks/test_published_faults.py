"""The rules of one trial go on finding the faults that papers describe."""

from __future__ import annotations

from benchmarks.diagnosis.published import diagnose


def test_detection_and_causes_do_not_fall():
    diagnosed = diagnose()
    assert len(diagnosed) == 43
    assert sum(each.is_detected for each in diagnosed) >= 41
    assert sum(each.has_right_cause for each in diagnosed) >= 36
