"""Renders the catalogue for a terminal: the sections, the entries of one section, and the options of one entry."""

from __future__ import annotations

import json
from collections.abc import Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.contract.catalogue import Entry, Setting
from service.contract.custom_entries import CatalogueView
from service.contract.validation_errors import did_you_mean

SETTINGS = "settings"
"""Section name of the plain settings, which belong to no registry: batch_size, epochs, …"""

ESTIMATORS = "estimators"
"""Section name of the models of estimator tasks."""


class UnknownEntry(Exception):
    """There is no such section or entry. The message names the nearest one."""


def narrowed(catalogue: CatalogueView, section: str | None, name: str | None) -> CatalogueView:
    """Return the catalogue reduced to one section, or to one entry of it.

    Args:
        catalogue: the whole catalogue.
        section: the section to keep. None keeps everything.
        name: the entry of the section to keep. None keeps all its entries.

    Raises:
        UnknownEntry: there is no such section or entry.
    """
    if section is None:
        return catalogue
    sections: Mapping[str, Mapping[str, Entry | Setting]]
    sections = {SETTINGS: catalogue.settings, ESTIMATORS: catalogue.estimators, **catalogue.sections}
    if section not in sections:
        raise UnknownEntry(f"there is no section {section!r}; {did_you_mean(section, sections)}")
    choices = sections[section]
    if name is not None and name not in choices:
        raise UnknownEntry(f"there is no {section} {name!r}; {did_you_mean(name, choices)}")
    selected = {each: choices[each] for each in choices if name in (None, each)}
    custom = {each: source for each, source in catalogue.custom.get(section, {}).items() if each in selected}
    kept: dict[str, object] = {
        "estimators": {},
        "settings": {},
        "registries": {},
        "lists": {},
        "defaults": {},
        "metrics": {},
        "custom": {},
    }
    if section in (SETTINGS, ESTIMATORS):
        return catalogue.model_copy(update={**kept, section: selected})
    kind = "lists" if section in catalogue.lists else "registries"
    return catalogue.model_copy(
        update={**kept, kind: {section: selected}, "custom": {section: custom} if custom else {}}
    )


def page(catalogue: CatalogueView, section: str | None, name: str | None) -> RenderableType:
    """List all sections with the names of their entries, or one section's entries, or one entry's options."""
    if section == SETTINGS:
        return _options(catalogue.settings)
    if section is None:
        table = Table("section", "entries", box=None, pad_edge=False)
        for each, entries in catalogue.sections.items():
            table.add_row(each, ", ".join(entries))
        table.add_row(SETTINGS, ", ".join(catalogue.settings))
        table.add_row(ESTIMATORS, ", ".join(catalogue.estimators))
        return Group(table, Text(), Text("options: study catalogue SECTION NAME"))
    entries = catalogue.estimators if section == ESTIMATORS else catalogue.sections[section]
    custom = catalogue.custom.get(section, {})
    if name is None:
        table = Table(section, "registered by", "what it is", "options", box=None, pad_edge=False)
        for each, entry in entries.items():
            table.add_row(
                each, custom[each].worker if each in custom else "", entry.description, ", ".join(entry.parameters)
            )
        return table
    source = (
        [Text(f"registered by worker {custom[name].worker} at {custom[name].at:%Y-%m-%d %H:%M}")]
        if name in custom
        else []
    )
    return Group(Text(entries[name].description or name), *source, Text(), _options(entries[name].parameters))


def _options(settings: Mapping[str, Setting]) -> RenderableType:
    if not settings:
        return Text("it has no options")
    table = Table("option", "type", "default", "range", "what it is", box=None, pad_edge=False)
    for name, setting in settings.items():
        default = "required" if setting.required else json.dumps(setting.default, ensure_ascii=False)
        table.add_row(name, setting.type, default, _range(setting), setting.description)
    return table


def _range(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(setting.choices)
    low = "" if setting.low is None else f"{'above' if setting.exclusive_low else 'from'} {setting.low:g}"
    high = "" if setting.high is None else f"to {setting.high:g}"
    return " ".join(filter(None, (low, high)))
