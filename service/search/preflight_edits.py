"""Edits of a spec that follow from its preflight: infeasible configurations, and learning rates to search first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from service.contract.preflight import LearningRateRange, PreflightResult
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.space import FloatParameter
from service.contract.study import Constraints, StudySpec
from service.domain.memory_limits import describe_limit
from service.domain.space import check_space
from service.search.samplers.coarse_to_fine.box import bounds, from_bounds

RATE = "optimizer.lr"
_FACTOR = 10.0
"""How far the proposed range reaches below and above the proposed rate."""


@dataclass(frozen=True)
class SpecEdit:
    """A new version of a spec.

    Attributes:
        spec: the new version.
        settings: what changes, by dotted path as `study edit --set` takes it.
        reason: why, in one sentence.
    """

    spec: StudySpec
    settings: Mapping[str, Any]
    reason: str


def automatic_edits(spec: StudySpec, result: PreflightResult) -> list[SpecEdit]:
    """Return the edits to make before the first trial, each one made from the version before it."""
    edits = []
    if (edit := batch_size_edit(spec, result)) is not None:
        edits.append(edit)
        spec = edit.spec
    if (edit := memory_edit(spec, result)) is not None:
        edits.append(edit)
        spec = edit.spec
    if spec.preflight_rates == "apply" and (edit := rate_edit(spec, result)) is not None:
        edits.append(edit)
    return edits


def batch_size_edit(spec: StudySpec, result: PreflightResult) -> SpecEdit | None:
    """Return the edit that replaces `batch_size: auto` by the proposed number; None: there is nothing to replace."""
    train = spec.task.train if spec.task is not None else None
    if spec.task is None or train is None or train.get("batch_size") != "auto" or result.batch_size is None:
        return None
    task = spec.task.model_copy(update={"train": {**train, "batch_size": result.batch_size}})
    reason = f"batch_size: auto becomes {result.batch_size}, the same for all trials"
    return SpecEdit(spec.model_copy(update={"task": task}), {"task.train.batch_size": result.batch_size}, reason)


def memory_edit(spec: StudySpec, result: PreflightResult) -> SpecEdit | None:
    """Return the edit that makes the configurations infeasible that ran out of memory; None: none did."""
    if not result.memory_limits:
        return None
    constraints = (spec.constraints or Constraints()).model_copy(update={"memory": result.memory_limits})
    limits = [limit.model_dump(mode="json") for limit in result.memory_limits]
    worst = "; ".join(describe_limit(limit) for limit in result.memory_limits)
    return SpecEdit(
        spec.model_copy(update={"constraints": constraints}),
        {"constraints.memory": limits},
        f"{worst}; such configurations and larger ones are infeasible while no larger GPU is here",
    )


def rate_edit(spec: StudySpec, result: PreflightResult) -> SpecEdit | None:
    """Return the edit that searches learning rates around the one that the preflight proposes.

    A coarse-to-fine search begins with them, and its later boxes may grow past them. Other samplers search no others.

    Returns:
        The edit. None: the preflight proposes no rate, the spec searches no range of rates, it searches the optimizer
            too (each one has rates of its own), or it has these rates already.
    """
    found, declared = result.learning_rate, spec.space.get(RATE)
    if found is None or not isinstance(declared, FloatParameter) or "optimizer.name" in spec.space:
        return None
    low, high = _range(found)
    narrowed = from_bounds(spec.space, {RATE: [low, high]})[RATE]
    if narrowed == declared or not isinstance(narrowed, FloatParameter):
        return None
    reason = (
        f"the learning-rate range test proposes {found.proposed:g}, so {RATE} is searched from {narrowed.low:g} to "
        f"{narrowed.high:g}, and not from {declared.low:g} to {declared.high:g}"
    )
    if isinstance(spec.sampler, CoarseToFineSamplerSpec):
        box = {**(spec.sampler.first_box or {}), RATE: bounds(narrowed)}
        if box == spec.sampler.first_box:
            return None
        edited = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"first_box": box})})
        return SpecEdit(edited, {"sampler.first_box": box}, f"{reason}, at first")
    edited = spec.model_copy(update={"space": {**spec.space, RATE: narrowed}})
    if check_space(edited.space):  # such as a condition on a rate that would be left out
        return None
    settings = {f"space.{RATE}.low": narrowed.low, f"space.{RATE}.high": narrowed.high}
    return SpecEdit(edited, settings, reason)


def _range(found: LearningRateRange) -> tuple[float, float]:
    """Return a factor of ten around the proposed rate, at most up to where the loss explodes."""
    high = _FACTOR * found.proposed if found.explodes is None else min(_FACTOR * found.proposed, found.explodes)
    return float(f"{found.proposed / _FACTOR:.2g}"), float(f"{high:.2g}")
