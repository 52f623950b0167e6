"""Model cards: what a bundle holds, how good it is, and what the search tried, in Markdown."""

import math
from collections.abc import Mapping
from typing import Any

from worker.training.bundle.bundle import Bundle

_Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: intervals cover 95 %."""
_SHARES = ("accuracy", "top5_accuracy")
"""Metrics that are shares of examples, so that the number of examples gives an interval."""
_LOADING = """```python
from worker.training.bundle import load_bundle

answers = load_bundle("model.zip").predict(frame)
```"""
_SPLITS = ("train", "val", "test_val", "test")


def card_of(bundle: Bundle, evidence: Mapping[str, Any] | None = None) -> str:
    """Return the model card of a bundle.

    Args:
        bundle: the bundle.
        evidence: what the study knows: `study`, `trial`, `objective`, `value`, `num_trials`, `parameters`, `metrics`,
            `code`, `environment`; all are optional.
    """
    known = evidence or {}
    title = f"{known['study']}, trial {known['trial']}" if "study" in known else bundle.config["model"]["name"]
    metrics = {**bundle.facts.get("metrics", {}), **known.get("metrics", {})}
    parts = [
        f"# {title}",
        _summary(bundle),
        "## Data",
        *_data(bundle),
        "## Metrics",
        _metrics(bundle, metrics),
        *(["## Search", *_search(known)] if known else []),
        "## Code and environment",
        *_environment(bundle, known),
        "## How to load it",
        _LOADING,
        _modules(bundle),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def interval(share: float, number: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `number` examples."""
    scale = 1 + _Z**2 / number
    centre = (share + _Z**2 / (2 * number)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / number + _Z**2 / (4 * number**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _summary(bundle: Bundle) -> str:
    models = f"{len(bundle.models)} models, whose predictions are averaged" if len(bundle.models) > 1 else "1 model"
    kind, name = bundle.dataset.kind, bundle.config["model"]["name"]
    return f"A `{name}` for {kind}: {models}, with the weights of epoch {bundle.step}."


def _data(bundle: Bundle) -> list[str]:
    facts = bundle.described[0]["facts"]
    lines = [f"- source: `{bundle.config['data']['name']}`"]
    lines.append(f"- fingerprint (SHA-256 before the split): `{facts['fingerprint'] or 'unknown'}`")
    lines.append("- examples: " + ", ".join(f"{name} {size:,}" for name, size in facts["sizes"].items()))
    if bundle.dataset.class_names and bundle.dataset.kind == "classification":
        lines.append(f"- classes: {', '.join(bundle.dataset.class_names)}")
    columns = [f"- {column}" for column in facts["columns"]]
    return ["\n".join(lines), *(["Columns:", "\n".join(columns)] if columns else [])]


def _metrics(bundle: Bundle, metrics: Mapping[str, Any]) -> str:
    rows = ["| metric | value | 95 % interval |", "| --- | --- | --- |"]
    for name in sorted(metrics):
        split, _, metric = name.partition("/")
        value = metrics[name]
        if split in _SPLITS and metric and isinstance(value, int | float):
            number = _num_examples(bundle, split)
            known = metric in _SHARES and number and 0 <= value <= 1
            shown = "{:.4g} to {:.4g} (n = {:,})".format(*interval(value, number), number) if known else ""
            rows.append(f"| {name} | {value:.6g} | {shown} |")
    return "\n".join(rows)


def _num_examples(bundle: Bundle, split: str) -> int:
    """Return the number of examples of a held-out split; folds validate on all examples together; 0: unknown."""
    sizes = [described["facts"]["sizes"].get(split, 0) for described in bundle.described]
    if split == "train":  # its metrics are of a sample
        return 0
    return sum(sizes) if split == "val" else sizes[0]


def _search(known: Mapping[str, Any]) -> list[str]:
    lines = []
    if "num_trials" in known:
        counts = ", ".join(f"{count} {state}" for state, count in known["num_trials"].items() if count)
        lines.append(f"- trials: {counts}")
    if "objective" in known:
        lines.append(f"- objective: {known['objective']}; this trial's value: {known.get('value', 'unknown')}")
    lines += [f"- parameter `{name}`: {value}" for name, value in known.get("parameters", {}).items()]
    note = (
        "The validation metrics of the best of many trials are optimistic: the search chose the trial by them. "
        "Judge the model by the test metrics."
    )
    return ["\n".join(lines), note]


def _environment(bundle: Bundle, known: Mapping[str, Any]) -> list[str]:
    lines = [f"- {name} {number}" for name, number in bundle.facts.get("versions", {}).items()]
    if known.get("code"):
        lines.append(f"- fingerprint of the training code: `{known['code']}`")
    lines += [f"- trained with {name}: {value}" for name, value in known.get("environment", {}).items()]
    return ["\n".join(lines)]


def _modules(bundle: Bundle) -> str:
    modules = sorted(set(bundle.facts.get("modules", {}).values()))
    return f"Import {', '.join(f'`{name}`' for name in modules)} before: it has custom entries." if modules else ""
