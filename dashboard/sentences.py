"""How the console tells of a change."""

from __future__ import annotations

import json
import re
from typing import Any, Protocol

from dashboard.words import UNKNOWN

_MOMENT = re.compile(r"^(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d")  # as isoformat() writes it

_NOUNS = {"api_token": "API token"}
_VERBS = {
    "cancel": "cancelled",
    "create": "created",
    "delete": "deleted",
    "issue": "issued",
    "revoke": "revoked",
    "set": "changed",
    "undo": "put back",
}


class Edit(Protocol):
    """One audit row."""

    verb: str
    noun: str
    target: str
    field: str
    before: Any
    after: Any


def subject(change: Edit) -> str:
    """What was changed: "tenant acme"."""
    return f"{_NOUNS.get(change.noun, change.noun)} {change.target}"


def sentence(change: Edit) -> str:
    """The whole change in one line: "tenant acme: weight 1 → 4"."""
    if not is_edit(change):
        return f"{subject(change)} {_VERBS.get(change.verb, change.verb)}"
    lead = "put back " if change.verb == "undo" else ""
    parts = [f"{name} {plain(old)} → {plain(new)}" for name, old, new in steps(change)]
    return f"{lead}{subject(change)}: {', '.join(parts)}"


def is_edit(change: Edit) -> bool:
    """Whether something was one thing before and is another now; a creation or an end has one side."""
    return change.verb in ("set", "undo")


def steps(change: Edit) -> list[tuple[str, Any, Any]]:
    """Each field that changed, with what it was and what it is; without those that say nothing."""
    if change.field:
        return [(_spoken(change.field), change.before, change.after)]
    before = change.before if isinstance(change.before, dict) else {}
    after = change.after if isinstance(change.after, dict) else {}
    both = [(_spoken(name), before.get(name), after.get(name)) for name in {**before, **after}]
    return [(name, old, new) for name, old, new in both if plain(old) != plain(new)]


def plain(value: Any) -> str:
    """A JSON value of the audit as a person writes it."""
    if value is None or value in ("", [], {}):
        return UNKNOWN
    if isinstance(value, str):
        return f"{moment[1]} {moment[2]}" if (moment := _MOMENT.match(value)) else value
    if isinstance(value, dict):
        return ", ".join(f"{_spoken(key)} {plain(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ", ".join(plain(inner) for inner in value)
    return json.dumps(value)


def _spoken(name: str) -> str:
    return name.replace("_", " ")
