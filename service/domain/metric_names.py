"""Checks of a train task's objectives and entries: which metrics the training core reports, and when."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from service.contract.base import TaskKind
from service.contract.catalogue import Catalogue, Entry
from service.contract.problem import FieldError
from service.contract.sampler import CoarseToFineSamplerSpec
from service.contract.space import CategoricalParameter, ConstantParameter, Parameter
from service.contract.study import Objective, StudySpec
from service.contract.validation_errors import did_you_mean, quote
from service.domain.parameter import values_of

_TEST = "test/"
"""Prefix of test metrics, which are measured once and must not influence any decision."""
SNAPSHOTS = "snapshots/"
"""Prefix of the metrics of an ensemble of snapshots."""
SPREAD = "/std"
"""Suffix of the standard deviation over folds and repeats."""
_AT_THE_END = frozenset({"seconds", "num_parameters"})
_COMPARABLE = {
    "classification": ("cross_entropy", "minimize"),
    "language": ("cross_entropy", "minimize"),
    "regression": ("mse", "minimize"),
    "ranking": ("ndcg", "maximize"),
}
"""The metric of each kind of task to write in place of a loss whose options are searched, and its direction."""
EVERY_EPOCH = ("train", "val", "test_val")
"""The splits that are evaluated after every epoch."""


def check_metrics(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    """Yield an error for each objective of a train task that trials do not report, or report too late.

    The first objective must be reported while a trial trains; later ones may also be reported at its end. If the kind
    of the data is known only once a worker reads it, the metrics of every possible kind are accepted.
    """
    reported = _Reported.of(spec, catalogue)
    for at, objective in enumerate(spec.objectives):
        path = f"objective.{at}.metric" if len(spec.objectives) > 1 else "objective.metric"
        message = _mistake(objective, reported, is_watched=at == 0)
        if message is not None:
            yield FieldError(path=path, message=message)


def check_comparable(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    """Yield an error for each objective that is the loss of a split, if trials differ in the options of their loss.

    For example, focal loss with a larger gamma is smaller for the same model, so the search would maximise gamma.
    """
    if spec.task is None or spec.task.train is None:
        return
    reported = _Reported.of(spec, catalogue)
    searched = reported.searched_of_loss
    for at, objective in enumerate(spec.objectives):
        prefix, _, name = objective.metric.removesuffix(SPREAD).rpartition("/")
        if searched is not None and name == "loss" and prefix.removeprefix(SNAPSHOTS) in EVERY_EPOCH:
            path = f"objective.{at}.metric" if len(spec.objectives) > 1 else "objective.metric"
            message = (
                f"{objective.metric} cannot be compared between trials of different {searched}; "
                f"write {reported.comparable(prefix)}"
            )
            yield FieldError(path=path, message=message)


def check_fit(spec: StudySpec, catalogue: Catalogue) -> Iterator[FieldError]:
    """Yield an error for each loss, metric, model and augmentation that fits none of the task's data.

    For example, `mse` cannot classify digits, and `lenet` cannot read rows of a table.
    """
    reported = _Reported.of(spec, catalogue)
    if spec.task_kind is TaskKind.ESTIMATOR:
        yield from _unfit(reported, "model", "kinds", reported.data_kinds)
    yield from _unfit(reported, "loss", "kinds", reported.data_kinds)
    yield from _unfit(reported, "metrics", "kinds", reported.data_kinds)
    for section in ("model", "augment"):
        yield from _unfit(reported, section, "inputs", reported.data_inputs)


def _unfit(reported: _Reported, section: str, fact: str, possible: set[str] | None) -> Iterator[FieldError]:
    """Yield an error for each entry of a section whose `fact` shares no value with `possible`; None allows all."""
    for path, name in reported.named(section):
        known = reported.facts_of(section, name, fact)
        if possible is None or known is None or known & possible:
            continue
        entries = reported.catalogue.sections[section]
        fitting = [each for each in entries if (reported.facts_of(section, each, fact) or possible) & possible]
        remedy = f"use {_either(fitting)}" if fitting else f"leave out {section}"
        message = f"{name} is for {_either(known)}, but the data is for {_either(possible)}; {remedy}"
        yield FieldError(path=path, message=message)


def _mistake(objective: Objective, reported: _Reported, *, is_watched: bool) -> str | None:
    metric = objective.metric
    is_of_snapshots, rest = metric.startswith(SNAPSHOTS), metric.removeprefix(SNAPSHOTS)
    if rest.startswith(_TEST):
        better = f"{SNAPSHOTS if is_of_snapshots else ''}val/{rest.removeprefix(_TEST)}"
        return f"{metric} is measured once, on data that a search must not use; write {better}"
    if is_watched and (is_of_snapshots or metric in _AT_THE_END):
        return (
            f"{metric} is known only at the end of a training, but this objective judges trials while they train; "
            "write before it one that every epoch reports, such as {metric: val/loss, direction: minimize}"
        )
    if metric in reported.each_epoch or reported.is_of_a_class(metric):
        return None
    if not is_watched and (metric in reported.at_the_end or reported.has_own_metrics):
        return None
    if (entry := reported.optional_entry(metric)) is not None:
        return f"{metric} is not reported unless the task asks for it; add {reported.where}.metrics: [{entry}]"
    known = reported.each_epoch if is_watched else reported.each_epoch | reported.at_the_end
    if not any(name.startswith(metric) for name in known):  # an abbreviation means a metric that is reported
        known = known | reported.optional
    return f"no training of this study reports {quote(metric)}; {did_you_mean(metric, known)}"


@dataclass(frozen=True)
class _Reported:
    """The metrics that trials of one study report, and the data that they may use."""

    spec: StudySpec
    train: Mapping[str, Any]
    catalogue: Catalogue
    where: str
    """The path of the configuration in the study file."""

    @classmethod
    def of(cls, spec: StudySpec, catalogue: Catalogue) -> Self:
        """Return what trials of a train or an estimator task report."""
        assert spec.task is not None
        assert spec.task.configuration is not None
        kind = spec.task_kind
        return cls(spec, spec.task.configuration, catalogue.for_kind(kind), f"task.{kind}")

    @cached_property
    def each_epoch(self) -> set[str]:
        """Metrics that every epoch reports, for all possible kinds of data. Metrics of single classes are left out."""
        names = {name for kind in self._kinds for name in self.catalogue.metrics.get(kind, [])}
        names |= _by_split(name for name in self._optional_entries if name in self._chosen_metrics)
        return {name for name in names if not name.startswith(_TEST)}

    @cached_property
    def optional(self) -> set[str]:
        """Metrics that every epoch would report if the task asked for them. Metrics of single classes are left out."""
        return _by_split(name for name in self._optional_entries if name not in self._chosen_metrics)

    @cached_property
    def at_the_end(self) -> set[str]:
        """Metrics reported at the end of a trial, which only objectives after the first may use.

        They are facts of the whole training, snapshot metrics, standard deviations, and metrics of known callbacks.
        """
        names = set(_AT_THE_END)
        for each in self._callbacks:
            names |= set(each.facts.get("metrics") or ())
        if self._is_set("snapshots"):
            names |= {f"{SNAPSHOTS}{name}" for name in self.each_epoch if not name.startswith("train/")}
        if self._is_set("folds") or self._is_set("repeats"):
            names |= {f"{name}{SPREAD}" for name in names | self.each_epoch}
        return names

    @cached_property
    def searched_of_loss(self) -> str | None:
        """An option of the measured loss in which trials differ, by the space or by overrides; None: in none."""
        stages = self.spec.sampler.stages if isinstance(self.spec.sampler, CoarseToFineSamplerSpec) else None
        differing = [key for key, parameter in self.spec.space.items() if _has_several_values(parameter)]
        differing += [key for stage in stages or [] for key in stage.overrides]
        entries = [self.catalogue.registries["loss"].get(name, Entry()) for _, name in self.named("loss")]
        for key in differing:
            section, _, option = key.partition(".")
            having = [entry for entry in entries if option in entry.parameters]
            is_of_training = having and all(option in (entry.facts.get("training_only") or ()) for entry in having)
            if section == "loss" and not is_of_training:
                return key
        return None

    def comparable(self, prefix: str) -> str:
        """Return what to write in place of a loss: for each kind of task the metric that no option of the loss changes.

        Args:
            prefix: the part of the metric's name before `/loss`.
        """
        remedies: dict[str, list[str]] = {}
        for kind in sorted(self._kinds):
            name, direction = _COMPARABLE[kind]
            remedies.setdefault(f"{{metric: {prefix}/{name}, direction: {direction}}}", []).append(kind)
        if len(remedies) == 1:
            return next(iter(remedies))
        return ", or ".join(f"for {' and '.join(kinds)} {remedy}" for remedy, kinds in remedies.items())

    @property
    def has_own_metrics(self) -> bool:
        """Whether a callback may add metrics that the catalogue does not list."""
        return any("metrics" not in each.facts for each in self._callbacks)

    def is_of_a_class(self, metric: str) -> bool:
        """Return whether this may be a metric of a single class; class names are known only once the data is read."""
        return any(name in self._chosen_metrics for name in self._entries_of_a_class(metric))

    def optional_entry(self, metric: str) -> str | None:
        """Return the item of the task's `metrics` that adds this metric, as YAML, or None."""
        name = metric.partition("/")[2]
        found = [name] if metric in self.optional else self._entries_of_a_class(metric)
        for each in found:
            required = [option for option, setting in self._metrics[each].parameters.items() if setting.required]
            return f"{{name: {each}, {', '.join(f'{option}: …' for option in required)}}}" if required else each
        return None

    def _entries_of_a_class(self, metric: str) -> list[str]:
        """Return the entries that report `SPLIT/NAME/CLASS`."""
        split, _, rest = metric.partition("/")
        name, is_of_a_class, _ = rest.partition("/")
        if split not in EVERY_EPOCH or not is_of_a_class:
            return []
        return [
            each
            for each, entry in self._metrics.items()
            if name in (entry.facts.get("names") or ()) and self._fits(entry)
        ]

    @cached_property
    def _optional_entries(self) -> list[str]:
        """The entries of the task's `metrics` that fit the data and report one metric each, under their own name."""
        return [
            name
            for name, entry in self._metrics.items()
            if not entry.facts.get("default") and "names" not in entry.facts and self._fits(entry)
        ]

    def _fits(self, entry: Entry) -> bool:
        return bool(set(entry.facts.get("kinds") or self._kinds) & self._kinds)

    @property
    def _metrics(self) -> Mapping[str, Entry]:
        return self.catalogue.lists.get("metrics", {})

    @cached_property
    def data_kinds(self) -> set[str] | None:
        """Kinds of task that the data may be for; None if a custom dataset does not declare them."""
        requested = set(self._values("data", "kind"))
        if self._is_set("query", "data"):
            requested = {"ranking"}
        if requested:
            return requested
        return self._of_data("kinds")

    @cached_property
    def data_inputs(self) -> set[str] | None:
        """Kinds of model input (rows, images, …) that the data may give; None if a custom dataset declares none."""
        if self._is_set("query", "data"):
            return {"queries"}
        found = self._of_data("inputs")
        return None if found is None else found - {"queries"}

    def facts_of(self, section: str, name: str, fact: str) -> set[str] | None:
        """Return the kinds or inputs that an entry declares, or None if it declares none."""
        entry = self.catalogue.sections.get(section, {}).get(name)
        values = entry.facts.get(fact) if entry is not None else None
        return set(values) if isinstance(values, list) else None

    def _of_data(self, fact: str) -> set[str] | None:
        """Return the kinds or inputs of all data that trials may choose, or None if some of it declares none."""
        found: set[str] = set()
        for _, name in self.named("data"):
            known = self.facts_of("data", name, fact)
            if known is None:
                return None
            found |= known
        return found or None

    def named(self, section: str) -> Iterator[tuple[str, str]]:
        """Yield (path in the study file, name) for each entry that trials may choose in a section."""
        if section in self.catalogue.lists:
            yield from ((f"{self.where}.{section}[{at}].name", name) for at, name in enumerate(self._listed(section)))
            return
        chosen = self.spec.space.get(f"{section}.name")
        if isinstance(chosen, ConstantParameter):
            found: list[tuple[str, Any]] = [(f"space.{section}.name.value", chosen.value)]
        elif isinstance(chosen, CategoricalParameter):
            found = [(f"space.{section}.name.choices[{at}]", each) for at, each in enumerate(chosen.choices)]
        else:
            given = self.train.get(section)
            found = [(f"{self.where}.{section}.name", given.get("name"))] if isinstance(given, dict) else []
        stages = self.spec.sampler.stages if isinstance(self.spec.sampler, CoarseToFineSamplerSpec) else None
        for at, stage in enumerate(stages or []):
            found.append((f"sampler.stages.{at}.overrides.{section}.name", stage.overrides.get(f"{section}.name")))
        yield from ((path, name) for path, name in found if isinstance(name, str))

    @cached_property
    def _kinds(self) -> set[str]:
        """Kinds of task that a trial may have, by its data and its loss; all kinds if neither declares any."""
        kinds = self.data_kinds or set(self.catalogue.metrics)
        losses: set[str] = set()
        for _, name in self.named("loss"):
            losses |= self.facts_of("loss", name, "kinds") or set(self.catalogue.metrics)
        return (kinds & losses) or kinds

    @cached_property
    def _chosen_metrics(self) -> set[str]:
        return set(self._listed("metrics"))

    @cached_property
    def _callbacks(self) -> list[Entry]:
        entries = self.catalogue.lists.get("callbacks", {})
        return [entries[name] for name in self._listed("callbacks") if name in entries]

    def _listed(self, section: str) -> list[str]:
        """Return the names of the entries that the task lists in a section, each as a text or as a mapping."""
        given = self.train.get(section)
        names = (
            [each.get("name") if isinstance(each, dict) else each for each in given] if isinstance(given, list) else []
        )
        return [name for name in names if isinstance(name, str)]

    def _values(self, section: str, option: str) -> list[str]:
        """Return the text values that the space or the task gives an option of a section."""
        chosen = self.spec.space.get(f"{section}.{option}")
        if isinstance(chosen, CategoricalParameter | ConstantParameter):
            return [value for value in values_of(chosen) or () if isinstance(value, str)]
        given = self.train.get(section)
        value = given.get(option) if isinstance(given, dict) else None
        return [value] if isinstance(value, str) else []

    def _is_set(self, option: str, section: str | None = None) -> bool:
        """Return whether the space searches an option, or the task sets it to a value other than null and 0."""
        if section is None:
            return bool(self.train.get(option)) or option in self.spec.space
        given = self.train.get(section)
        return bool(isinstance(given, dict) and given.get(option)) or f"{section}.{option}" in self.spec.space


def _has_several_values(parameter: Parameter) -> bool:
    values = values_of(parameter)
    return values is None or len(values) > 1


def _by_split(names: Iterable[str]) -> set[str]:
    """Return each metric's name for all splits that are evaluated after every epoch."""
    return {f"{split}/{name}" for name in names for split in EVERY_EPOCH}


def _either(names: Any) -> str:
    return " or ".join(sorted(names))
