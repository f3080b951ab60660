"""A board: named texts and rows, each row with the signature of what is fixed in it."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

Attributes = Mapping[str, str]


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a live table.

    ``text`` and ``attrs`` change with every frame and are patched cell by
    cell (element id: row id, a dash, the name). ``fixed`` is what the row's
    HTML is made of; only when it changes is the row replaced.
    """

    id: str
    table: str  # id of the tbody
    template: str
    fixed: Mapping[str, Any]
    text: Mapping[str, str] = field(default_factory=_nothing)
    attrs: Mapping[str, Attributes] = field(default_factory=_nothing)

    @property
    def sign(self) -> str:
        """Equal for two rows that need no new HTML."""
        return f"{zlib.crc32(repr(sorted(self.fixed.items())).encode()):08x}"


@dataclass(frozen=True, slots=True)
class Board:
    """All that is live on one page. ``text`` and ``attrs`` are by element id."""

    text: Mapping[str, str] = field(default_factory=_nothing)
    attrs: Mapping[str, Attributes] = field(default_factory=_nothing)
    rows: tuple[Row, ...] = ()

    def table(self, name: str) -> tuple[Row, ...]:
        """The rows of one table, in order."""
        return tuple(row for row in self.rows if row.table == name)

    @property
    def texts(self) -> dict[str, str]:
        """Every live text of the page by element id."""
        found = dict(self.text)
        for row in self.rows:
            found |= {f"{row.id}-{name}": text for name, text in row.text.items()}
        return found

    @property
    def attributes(self) -> dict[str, Attributes]:
        """Every live attribute of the page by element id."""
        found = dict(self.attrs)
        for row in self.rows:
            found |= {f"{row.id}-{name}": attrs for name, attrs in row.attrs.items()}
        return found


def state(kind: str) -> Attributes:
    """The class of a state word: ok, busy, warn, bad or quiet. Its icon is in console.css."""
    return {"class": f"state {kind}"}
