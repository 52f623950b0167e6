"""Writes a drafted follow-up study as a study file, each changed setting below a comment with its reason."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

import yaml

from service.client import study_file
from service.contract.remedy import DraftedChange, FollowUpDraft

_WIDTH = 112


def draft_file(draft: FollowUpDraft, file: str) -> str:
    """Return the text of the study file.

    Args:
        draft: the follow-up study.
        file: the file's future path, for the command in its first lines.
    """
    text = study_file.dump(draft.spec)
    lines = text.splitlines()
    places = _places(text)
    for change in sorted(draft.changes, key=lambda each: places.get(_written(each.path, places), -1), reverse=True):
        at = places.get(_written(change.path, places))
        if at is not None:
            indent = len(lines[at]) - len(lines[at].lstrip())
            lines[at:at] = _comment(f"{change.path}: {_reason(change)}", indent)
    about = [f"Drafted from the findings about {draft.study}. Read it, then: study create {file}", *draft.notes]
    head = [line for each in about for line in _comment(each, 0)]
    return "\n".join([*head, *lines, ""])


def _reason(change: DraftedChange) -> str:
    about = "" if change.trial is None else f" about trial {change.trial}"
    return f"{change.reason} (finding {change.rule}{about}, {change.confidence} confidence)"


def _comment(text: str, indent: int) -> list[str]:
    plain = "".join(character if character.isprintable() else " " for character in text)
    wrapped = textwrap.wrap(plain, _WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [f"{' ' * indent}# {line}" for line in wrapped]


def _written(path: str, places: Mapping[str, int]) -> str:
    """Return the longest part of a path that the file has: a default below it is not written."""
    while path and path not in places:
        path = path.rpartition(".")[0]
    return path


def _places(text: str) -> dict[str, int]:
    """Return the line of each setting by its dotted path."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return dict(_walk(root, "")) if isinstance(root, yaml.MappingNode) else {}


def _walk(node: yaml.MappingNode, prefix: str) -> Iterator[tuple[str, int]]:
    for key, value in node.value:
        path = f"{prefix}{key.value}"
        yield path, key.start_mark.line
        if isinstance(value, yaml.MappingNode):
            yield from _walk(value, f"{path}.")
