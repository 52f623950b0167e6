"""Checks the objectives of a train task: does the training core report these metrics, and while a trial trains?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from service.contract.catalogue import Catalogue, Entry
from service.contract.mistakes import did_you_mean, quote
from service.contract.problem import FieldError
from service.contract.sampler import CoarseToFineSampler
from service.contract.space import CategoricalParameter, ConstantParameter
from service.contract.study import Objective, StudySpec
from service.domain.parameter import axis

_TEST = "test/"
"""Metrics with this prefix are measured once, on data that must decide nothing."""
_SNAPSHOTS = "snapshots/"
_SPREAD = "/std"
"""Suffix of the standard deviation over folds and repeats."""
_AT_THE_END = frozenset({"seconds", "num_parameters"})
_PER_CLASS = ("precision", "recall", "f1")


def check_metrics(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    """Say which objectives of a train task cannot be optimised: nothing reports them, or only when a trial has ended.

    Where the kind of the data is only known once a worker reads it, the metrics of every possible kind are accepted.
    """
    assert spec.task is not None
    assert spec.task.train is not None
    reported = _Reported(spec, spec.task.train, catalogue)
    for at, objective in enumerate(spec.objectives):
        path = f"objective.{at}.metric" if len(spec.objectives) > 1 else "objective.metric"
        message = _mistake(objective, reported, is_watched=at == 0)
        if message is not None:
            yield FieldError(path=path, message=message)


def check_fit(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    """Say which losses, models and augmentations of a train task cannot go with any of its data.

    `mse` does not classify digits, and `lenet` reads no rows of a table.
    """
    assert spec.task is not None
    assert spec.task.train is not None
    reported = _Reported(spec, spec.task.train, catalogue)
    yield from _unfit(reported, "loss", "kinds", reported.data_kinds)
    for section in ("model", "augment"):
        yield from _unfit(reported, section, "inputs", reported.data_inputs)


def _unfit(reported: _Reported, section: str, fact: str, possible: set[str] | None) -> Iterator[FieldError]:
    """The entries of a section that are for none of what is `possible`; None: anything is."""
    for path, name in reported.named(section):
        known = reported.facts_of(section, name, fact)
        if possible is None or known is None or known & possible:
            continue
        entries = reported.catalogue.registries[section]
        fitting = [each for each in entries if (reported.facts_of(section, each, fact) or possible) & possible]
        remedy = f"use {_either(fitting)}" if fitting else f"leave out {section}"
        message = f"{name} is for {_either(known)}, but the data is for {_either(possible)}; {remedy}"
        yield FieldError(path=path, message=message)


def _mistake(objective: Objective, reported: _Reported, *, is_watched: bool) -> str | None:
    metric = objective.metric
    is_of_snapshots, rest = metric.startswith(_SNAPSHOTS), metric.removeprefix(_SNAPSHOTS)
    if rest.startswith(_TEST):
        better = f"{_SNAPSHOTS if is_of_snapshots else ''}val/{rest.removeprefix(_TEST)}"
        return f"{metric} is measured once, on data that no search may look at; write {better}"
    if is_watched and (is_of_snapshots or metric in _AT_THE_END):
        return (
            f"{metric} is known at the end of a training only, and this objective is watched while it "
            "lasts; write one that every epoch reports before it, such as {metric: val/loss, direction: minimize}"
        )
    if metric in reported.each_epoch or reported.is_per_class(metric):
        return None
    if not is_watched and (metric in reported.at_the_end or reported.has_own_metrics):
        return None
    if (asked := _extra(metric)) is not None and reported.may_classify:
        return f"{metric} is not reported unless the task asks for it; add task.train.metrics: [{asked}]"
    known = reported.each_epoch if is_watched else reported.each_epoch | reported.at_the_end
    return f"no training of this study reports {quote(metric)}; {did_you_mean(metric, known)}"


def _extra(metric: str) -> str | None:
    """The entry of `task.train.metrics` that adds this metric, if one does."""
    split, _, name = metric.partition("/")
    if split not in ("val", "test_val"):
        return None
    if name == "auroc":
        return "auroc"
    return "per_class" if name.partition("/")[0] in _PER_CLASS and "/" in name else None


@dataclass(frozen=True)
class _Reported:
    """The metrics that trials of one study report."""

    spec: StudySpec
    train: Mapping[str, Any]
    catalogue: Catalogue

    @cached_property
    def each_epoch(self) -> set[str]:
        """What every epoch reports, whichever kind the data turns out to be; metrics of single classes left out."""
        names = {name for kind in self._kinds for name in self.catalogue.metrics.get(kind, [])}
        if self.may_classify and "auroc" in self._extras:
            names |= {"val/auroc", "test_val/auroc"}
        return {name for name in names if not name.startswith(_TEST)}

    @cached_property
    def at_the_end(self) -> set[str]:
        """What later objectives may name besides: facts of the whole training, snapshots, spreads, known callbacks."""
        names = set(_AT_THE_END)
        for each in self._callbacks:
            names |= set(each.facts.get("metrics") or ())
        if self._is_set("snapshots"):
            names |= {f"{_SNAPSHOTS}{name}" for name in self.each_epoch if not name.startswith("train/")}
        if self._is_set("folds") or self._is_set("repeats"):
            names |= {f"{name}{_SPREAD}" for name in names | self.each_epoch}
        return names

    @property
    def has_own_metrics(self) -> bool:
        """Whether a callback may add metrics that the catalogue does not list."""
        return any("metrics" not in each.facts for each in self._callbacks)

    @property
    def may_classify(self) -> bool:
        """Whether the data may turn out to be a classification."""
        return "classification" in self._kinds

    def is_per_class(self, metric: str) -> bool:
        """Whether it is a metric of one class, whose names are known once the data is read."""
        return "per_class" in self._extras and self.may_classify and _extra(metric) == "per_class"

    @cached_property
    def data_kinds(self) -> set[str] | None:
        """Kinds of task that the data may be for; None where a worker's own data does not say."""
        asked = set(self._values("data", "kind"))
        if self._is_set("query", "data"):
            asked = {"ranking"}
        if asked:
            return asked
        return self._of_data("kinds")

    @cached_property
    def data_inputs(self) -> set[str] | None:
        """What a model may be given: rows, images, …; None where a worker's own data does not say."""
        if self._is_set("query", "data"):
            return {"queries"}
        found = self._of_data("inputs")
        return None if found is None else found - {"queries"}

    def facts_of(self, section: str, name: str, fact: str) -> set[str] | None:
        """What an entry is for, by its kinds or inputs; None where it does not say."""
        entry = self.catalogue.registries.get(section, {}).get(name)
        values = entry.facts.get(fact) if entry is not None else None
        return set(values) if isinstance(values, list) else None

    def _of_data(self, fact: str) -> set[str] | None:
        """What the data that trials may choose is for; None where some of it does not say."""
        found: set[str] = set()
        for _, name in self.named("data"):
            known = self.facts_of("data", name, fact)
            if known is None:
                return None
            found |= known
        return found or None

    def named(self, section: str) -> Iterator[tuple[str, str]]:
        """(path in the study file, name) of each entry that trials may choose in a section."""
        chosen = self.spec.space.get(f"{section}.name")
        if isinstance(chosen, ConstantParameter):
            found: list[tuple[str, Any]] = [(f"space.{section}.name.value", chosen.value)]
        elif isinstance(chosen, CategoricalParameter):
            found = [(f"space.{section}.name.choices[{at}]", each) for at, each in enumerate(chosen.choices)]
        else:
            given = self.train.get(section)
            found = [(f"task.train.{section}.name", given.get("name"))] if isinstance(given, dict) else []
        stages = self.spec.sampler.stages if isinstance(self.spec.sampler, CoarseToFineSampler) else None
        for at, stage in enumerate(stages or []):
            found.append((f"sampler.stages.{at}.overrides.{section}.name", stage.overrides.get(f"{section}.name")))
        yield from ((path, name) for path, name in found if isinstance(name, str))

    @cached_property
    def _kinds(self) -> set[str]:
        """Kinds of task that a trial may be, by its data and its loss; every kind where neither says."""
        kinds = self.data_kinds or set(self.catalogue.metrics)
        losses: set[str] = set()
        for _, name in self.named("loss"):
            losses |= self.facts_of("loss", name, "kinds") or set(self.catalogue.metrics)
        return (kinds & losses) or kinds

    @cached_property
    def _extras(self) -> set[str]:
        given = self.train.get("metrics")
        return {each for each in given if isinstance(each, str)} if isinstance(given, list) else set()

    @cached_property
    def _callbacks(self) -> list[Entry]:
        given = self.train.get("callbacks")
        names = [each.get("name") for each in given if isinstance(each, dict)] if isinstance(given, list) else []
        entries = self.catalogue.lists.get("callbacks", {})
        return [entries[name] for name in names if isinstance(name, str) and name in entries]

    def _values(self, section: str, option: str) -> list[str]:
        """The values that an option of a section may take, where the study says so."""
        chosen = self.spec.space.get(f"{section}.{option}")
        if isinstance(chosen, CategoricalParameter | ConstantParameter):
            return [value for value in axis(chosen) or () if isinstance(value, str)]
        given = self.train.get(section)
        value = given.get(option) if isinstance(given, dict) else None
        return [value] if isinstance(value, str) else []

    def _is_set(self, option: str, section: str | None = None) -> bool:
        """Whether the task or the space sets an option to something: neither null nor 0."""
        if section is None:
            return bool(self.train.get(option)) or option in self.spec.space
        given = self.train.get(section)
        return bool(isinstance(given, dict) and given.get(option)) or f"{section}.{option}" in self.spec.space


def _either(names: Any) -> str:
    return " or ".join(sorted(names))
