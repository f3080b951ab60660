"""What must change for the installation to be as the file says. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Fields = Mapping[str, Any]
State = Mapping[str, Mapping[str, Fields]]
"""Section to name to fields. A section or field that is not there is not spoken of."""

# What a row needs goes before it, and is removed after it.
ORDER = ("pools", "classes", "models", "fallbacks", "aliases", "tenants", "backends", "policies", "tokens")
PARTS: Mapping[str, Fields] = {"fallbacks": {"fallbacks": []}}  # of a row of another section, as they begin
KEPT = (*PARTS, "policies")  # never deleted: what they belong to always has one
SPOKEN_OF: Mapping[str, frozenset[str]] = {  # by these sections together: each may name some pools only
    "pools": frozenset({"models", "backends"})
}
NONE: frozenset[str] = frozenset()
SECRET_FIELDS = ("api_key", "digest")
LONG_FIELDS = ("ca_pem",)
NOUNS = {
    "aliases": "alias",
    "classes": "class",
    "fallbacks": "model",
    "policies": "policy",
    "tokens": "API token",
}
SIGNS = {"create": "+", "change": "~", "delete": "-"}


@dataclass(frozen=True, slots=True)
class Step:
    """One row to create, change or delete."""

    action: Literal["create", "change", "delete"]
    section: str
    name: str
    before: Fields = field(default_factory=dict, repr=False)  # of a change: only what changes
    after: Fields = field(default_factory=dict, repr=False)

    @property
    def noun(self) -> str:
        """What the row is called in a sentence."""
        return NOUNS.get(self.section, self.section.removesuffix("s"))

    def line(self) -> str:
        """The step as a person reads it, without secrets."""
        fields = ", ".join(
            f"{name} {pair[1]}" if self.action == "create" else f"{name} {pair[0]} → {pair[1]}"
            for name, pair in self.shown().items()
        )
        return f"{SIGNS[self.action]} {self.noun} {self.name}{': ' if fields else ''}{fields}"

    def shown(self) -> dict[str, tuple[Any, Any]]:
        """Each field with its value before and after, without secrets."""
        return {
            _public(name): (_veiled(name, self.before.get(name), 0), _veiled(name, self.after[name], 1))
            for name in sorted(self.after)  # a set of fields that were written has no order of its own
        }


def plan(current: State, wanted: State, *, prune: bool = False) -> list[Step]:
    """The steps from one state to the other, in an order that works.

    Without ``prune`` nothing is deleted. With it, only in sections that
    ``wanted`` has.
    """
    steps: list[Step] = []
    for section in ORDER:
        for name, fields in wanted.get(section, {}).items():
            now = current.get(section, {}).get(name, PARTS.get(section))
            steps.extend(_upsert(section, name, now, fields))
    if prune:
        steps.extend(_goodbyes(current, wanted))
        for section in reversed(ORDER):
            if section in wanted and section not in KEPT and SPOKEN_OF.get(section, NONE) <= wanted.keys():
                gone = [name for name in current.get(section, {}) if name not in wanted[section]]
                steps.extend(Step("delete", section, name) for name in gone)
    return steps


def _goodbyes(current: State, wanted: State) -> list[Step]:
    """Models that go stand in for each other no longer, so that they may go in any order."""
    gone = {
        name: fields
        for name, fields in current.get("fallbacks", {}).items()
        if "models" in wanted and name not in wanted["models"]
    }
    return [
        step for name, now in gone.items() for step in _upsert("fallbacks", name, now, PARTS["fallbacks"])
    ]


def _upsert(section: str, name: str, now: Fields | None, fields: Fields) -> list[Step]:
    if now is None:
        return [Step("create", section, name, after=fields)]
    changed = [each for each, value in fields.items() if now.get(each) != value]
    if not changed:
        return []
    return [
        Step(
            "change",
            section,
            name,
            before={each: now.get(each) for each in changed},
            after={each: fields[each] for each in changed},
        )
    ]


def _public(name: str) -> str:
    return "secret" if name == "digest" else name


def _veiled(name: str, value: Any, side: int) -> Any:
    if name in SECRET_FIELDS:
        return ("(set)", "(changed)")[side] if value else None
    if name in LONG_FIELDS:
        return ("(a certificate)", "(another certificate)")[side] if value else None
    return value
