"""The list of mutants that no test notices, each with the reason why that is no gap."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.mutation.mutants import Mutant

LIST = Path(__file__).with_name("survivors.toml")
KINDS = ("equivalent: ", "speed: ", "view: ")
"""No behaviour differs; only the time that it takes; only what people are shown as a forecast."""
DECISIONS = {
    "account.py",
    "admission.py",
    "allowance.py",
    "band.py",
    "bounds.py",
    "budget.py",
    "circuit.py",
    "classes.py",
    "engine_order.py",
    "fairness.py",
    "gates.py",
    "hierarchy.py",
    "holder.py",
    "levels.py",
    "line.py",
    "machine.py",
    "orders.py",
    "own_caps.py",
    "quota.py",
    "routing.py",
    "scheduler.py",
    "shortcuts.py",
    "steered.py",
    "tag_tree.py",
    "tags.py",
    "turns.py",
}
"""Files in which no other reason counts: there a survivor of another kind is a missing test."""
HEADING = """\
# Mutants of scheduling/core that the unit tests do not notice, and why that is no gap.
# Kept true by `make mutants`; new ones are added by `make mutants ARGS=--write` with an empty reason.
"""

Arguments = Mapping[tuple[str, str], str]


def read(path: Path = LIST) -> dict[tuple[str, str], str]:
    """The reasons by place and text of the mutant."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    return {(place, text): reason for place, table in tables.items() for text, reason in table.items()}


def write(arguments: Arguments, path: Path = LIST) -> None:
    """The list anew, by place."""
    places: dict[str, list[str]] = {}
    for (place, text), reason in sorted(arguments.items()):
        places.setdefault(place, []).append(f"{_quoted(text)} = {_quoted(reason)}\n")
    tables = [f"\n[{_quoted(place)}]\n" + "".join(lines) for place, lines in places.items()]
    path.write_text(HEADING + "".join(tables), encoding="utf-8")


def complaints(
    known: Arguments, every: Iterable[Mutant], tried: Iterable[Mutant], alive: Iterable[Mutant]
) -> list[str]:
    """What is wrong with the list after these trials, one line each; empty when all is well."""
    living = {(mutant.place, mutant.text) for mutant in alive}
    existing = {(mutant.place, mutant.text) for mutant in every}
    killed = {(mutant.place, mutant.text) for mutant in tried} - living
    return sorted(
        [_said("SURVIVED, and is not in the list", name) for name in living - set(known)]
        + [
            _said("has no good reason in the list", name)
            for name in living & set(known)
            if not _good(name, known)
        ]
        + [_said("is in the list, and was killed: take it out", name) for name in killed & set(known)]
        + [_said("is in the list, and no such mutant exists", name) for name in set(known) - existing]
    )


def renewed(
    known: Arguments, every: Iterable[Mutant], tried: Iterable[Mutant], alive: Iterable[Mutant]
) -> dict[tuple[str, str], str]:
    """The list as it should be: what was not tried stays, reasons are kept, new ones are empty."""
    names = {(mutant.place, mutant.text) for mutant in every} & set(known)
    names -= {(mutant.place, mutant.text) for mutant in tried}
    names |= {(mutant.place, mutant.text) for mutant in alive}
    return {name: known.get(name, "") for name in names}


def _good(name: tuple[str, str], known: Arguments) -> bool:
    file = name[0].partition(" ")[0]
    return known[name].startswith(KINDS) if file in DECISIONS else bool(known[name])


def _said(what: str, name: tuple[str, str]) -> str:
    return f"{name[0]}: {name[1]}  -- {what}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
