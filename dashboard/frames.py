"""What one browser is sent: only what it does not show already."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from django.template.loader import render_to_string

from dashboard.boards.board import Attributes, Board, Row

Value = TypeVar("Value")


@dataclass(slots=True)
class Frame:
    """One topic at one moment, for all its sockets; each row is rendered once per kind of viewer."""

    board: Board
    at_s: float  # Unix time of the picture; 0 without one
    now_s: float
    texts: Mapping[str, str] = field(init=False)
    attributes: Mapping[str, Attributes] = field(init=False)
    _html: dict[tuple[str, bool], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.texts = self.board.texts
        self.attributes = self.board.attributes

    def html(self, row: Row, *, can_edit: bool) -> str:
        """The row as its page renders it."""
        key = (row.id, can_edit)
        if key not in self._html:
            self._html[key] = render_row(row, can_edit=can_edit)
        return self._html[key]


class Mirror:
    """What one browser shows, as far as this socket has told it."""

    def __init__(self, *, can_edit: bool) -> None:
        self._can_edit = can_edit
        self._signs: dict[str, str] = {}
        self._texts: Mapping[str, str] = {}
        self._attributes: Mapping[str, Attributes] = {}

    def reset(self, signs: Mapping[str, str]) -> None:
        """The browser says which rows it has; of its numbers nothing is known."""
        self._signs = dict(signs)
        self._texts, self._attributes = {}, {}

    def messages(self, frame: Frame) -> list[str]:
        """Rows as HTML first, then the numbers as JSON, which is sent also when nothing changed."""
        rows = self._rows(frame)
        gone = [name for name in self._signs if name not in {row.id for row in frame.board.rows}]
        for name in gone:
            del self._signs[name]
        data = {
            "at": frame.at_s,
            "now": frame.now_s,
            "text": _changed(self._texts, frame.texts),
            "attrs": _changed(self._attributes, frame.attributes),
            "gone": gone,
        }
        self._texts, self._attributes = frame.texts, frame.attributes
        return [*rows, json.dumps(data, separators=(",", ":"))]

    def _rows(self, frame: Frame) -> list[str]:
        messages: list[str] = []
        before: dict[str, str] = {}  # table -> the row above
        for row in frame.board.rows:
            if self._signs.get(row.id) != row.sign:
                html = frame.html(row, can_edit=self._can_edit)
                messages.append(
                    _replacing(html)
                    if row.id in self._signs
                    else _inserting(html, row, before.get(row.table))
                )
                self._signs[row.id] = row.sign
            before[row.table] = row.id
        return messages


def render_row(row: Row, *, can_edit: bool) -> str:
    """A row's HTML, by the partial that its page uses too."""
    return render_to_string(row.template, {"row": row, "can_edit": can_edit})


def _replacing(html: str) -> str:
    return html.lstrip().replace("<tr ", '<tr hx-swap-oob="true" ', 1)


def _inserting(html: str, row: Row, above: str | None) -> str:
    place = f"afterend:#{above}" if above else f"afterbegin:#{row.table}"
    return f'<tbody hx-swap-oob="{place}">{html}</tbody>'


def _changed(before: Mapping[str, Value], now: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in now.items() if before.get(name) != value}
