"""An image list as a document of this project's own form: what ``foreign`` read becomes a file under ``lists/``.

This module must never lose a condition, a parameter or a service.
"""

from __future__ import annotations

from topcoat.lists.entries import Conditions, ListEntry, ListTemplate


def to_document(template: ListTemplate) -> dict[str, object]:
    """The document, ready for YAML; reading it gives the same entries."""
    variables = {
        variable.name: {"default": variable.default, "values": list(variable.values)} if variable.values else variable.default
        for variable in template.variables
    }
    found: dict[str, object] = {"description": template.description} if template.description else {}
    if variables:
        found["variables"] = variables
    for key, own in (("images", True), ("external", False)):
        entries = [_entry(entry) for entry in template.entries if (entry.image is not None) == own]
        if entries:
            found[key] = entries
    return found


def _entry(entry: ListEntry) -> dict[str, object]:
    found: dict[str, object] = {"image": entry.image} if entry.image is not None else {"reference": entry.reference}
    if entry.source:
        found["source"] = entry.source
    if entry.parameters:
        found["parameters"] = list(entry.parameters)
    if entry.services:
        found["services"] = [{"name": name, "when": _when(when)} if when else name for name, when in entry.services]
    if entry.when:
        found["when"] = _when(entry.when)
    return found


def _when(conditions: Conditions) -> dict[str, object]:
    return {name: values[0] if len(values) == 1 else list(values) for name, values in conditions}
