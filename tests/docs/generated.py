"""The parts of the documents that follow from the code: `python -m tests.docs.generated` writes them anew.

Each stands between `<!-- generated: NAME -->` and `<!-- end -->`; a test compares it with what this module says.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from service.contract.catalogue import Entry, Setting, load_catalogue
from service.domain.states import ATTEMPT, STUDY, TRIAL

DOCS = Path(__file__).resolve().parents[2] / "docs"
_BLOCK = re.compile(r"(?<=<!-- generated: )([\w ]+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def blocks() -> dict[str, str]:
    """Every generated block: its name -> its text."""
    catalogue = load_catalogue()
    diagrams = {
        f"{machine.name} states": f"```mermaid\n{machine.diagram()}\n```\n" for machine in (STUDY, TRIAL, ATTEMPT)
    }
    registries = {
        f"{section} entries": "".join(_entry(name, entry) for name, entry in entries.items())
        for section, entries in {**catalogue.registries, **catalogue.lists}.items()
    }
    registries["estimators entries"] = "".join(_entry(name, entry) for name, entry in catalogue.estimators.items())
    settings = "".join(f"- `{name}`: {_described(setting)}\n" for name, setting in catalogue.settings.items())
    by_kind = {
        kind: dict.fromkeys(name.partition("/")[2] for name in names) for kind, names in catalogue.metrics.items()
    }
    metrics = "".join(f"- {kind}: {', '.join(f'`{name}`' for name in names)}\n" for kind, names in by_kind.items())
    return diagrams | registries | {"plain settings": settings, "metrics": metrics}


def written(document: str) -> dict[str, str]:
    """The blocks that a document holds, as they stand."""
    return {name: text for name, _, text in _BLOCK.findall(document)}


def renewed(document: str) -> str:
    """The document with its blocks as the code has them now."""
    fresh = blocks()
    return _BLOCK.sub(lambda block: block[1] + block[2] + fresh[block[1]], document)


def _entry(name: str, entry: Entry) -> str:
    kinds, inputs = entry.facts.get("kinds", []), entry.facts.get("inputs", [])
    if kinds and inputs:  # data: what it is for, and what it gives a model
        fits = f" For {' or '.join(kinds)}; gives {' or '.join(inputs)}."
    else:
        fits = f" For {' or '.join([*kinds, *inputs])}." if kinds or inputs else ""
    if "direction" in entry.facts:
        fits += (
            f" {entry.facts['direction'].capitalize()}{', reported by default' if entry.facts.get('default') else ''}."
        )
    lines = [f"- `{name}`: {entry.description}{fits}"]
    lines += [f"  - `{option}`: {_described(setting)}" for option, setting in entry.parameters.items()]
    return "\n".join(lines) + "\n"


def _described(setting: Setting) -> str:
    default = "required" if setting.required else f"default {json.dumps(setting.default)}"
    limits = list(_limits(setting))
    return f"{setting.description} ({', '.join([setting.type, *limits, default])})"


def _limits(setting: Setting) -> Iterator[str]:
    if setting.choices:
        yield " or ".join(setting.choices)
    if setting.low is not None and setting.high is not None and not setting.exclusive_low:
        yield f"{setting.low:.12g} to {setting.high:.12g}"
        return
    if setting.low is not None:
        yield f"{'above' if setting.exclusive_low else 'at least'} {setting.low:.12g}"
    if setting.high is not None:
        yield f"at most {setting.high:.12g}"


def main() -> None:
    """Write the blocks of every document anew."""
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text(encoding="utf-8")
        after = renewed(before)
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
