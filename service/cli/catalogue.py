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


class UnknownEntry(Exception):
    """There is no such section or entry. The message names the nearest one."""


def narrowed(catalogue: CatalogueView, section: str | None, name: str | None) -> CatalogueView:
    """Return the catalogue reduced to one section, or to one entry of it.

    Args:
        catalogue: the whole catalogue.
        section: the section to keep. None keeps everything.
        name: the entry of the section to keep. None keeps all its entries.

    Raises:
        Unlisted: there is no such section or entry.
    """
    if section is None:
        return catalogue
    if section not in (SETTINGS, *catalogue.sections):
        raise UnknownEntry(f"there is no section {section!r}; {did_you_mean(section, [SETTINGS, *catalogue.sections])}")
    known: Mapping[str, Entry | Setting]
    known = catalogue.settings if section == SETTINGS else catalogue.sections[section]
    if name is not None and name not in known:
        raise UnknownEntry(f"there is no {section} {name!r}; {did_you_mean(name, known)}")
    found = {each: known[each] for each in known if name in (None, each)}
    own = {each: told for each, told in catalogue.custom.get(section, {}).items() if each in found}
    kept: dict[str, object] = {
        "settings": {},
        "registries": {},
        "lists": {},
        "defaults": {},
        "metrics": {},
        "custom": {},
    }
    if section == SETTINGS:
        return catalogue.model_copy(update={**kept, "settings": found})
    kind = "lists" if section in catalogue.lists else "registries"
    return catalogue.model_copy(update={**kept, kind: {section: found}, "custom": {section: own} if own else {}})


def page(catalogue: CatalogueView, section: str | None, name: str | None) -> RenderableType:
    """List all sections with the names of their entries, or one section's entries, or one entry's options."""
    if section == SETTINGS:
        return _options(catalogue.settings)
    if section is None:
        table = Table("section", "entries", box=None, pad_edge=False)
        for each, entries in catalogue.sections.items():
            table.add_row(each, ", ".join(entries))
        table.add_row(SETTINGS, ", ".join(catalogue.settings))
        return Group(table, Text(), Text("options: study catalogue SECTION NAME"))
    entries, own = catalogue.sections[section], catalogue.custom.get(section, {})
    if name is None:
        table = Table(section, "told by", "what it is", "options", box=None, pad_edge=False)
        for each, entry in entries.items():
            table.add_row(each, own[each].worker if each in own else "", entry.description, ", ".join(entry.parameters))
        return table
    told = [Text(f"told by worker {own[name].worker} at {own[name].at:%Y-%m-%d %H:%M}")] if name in own else []
    return Group(Text(entries[name].description or name), *told, Text(), _options(entries[name].parameters))


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
