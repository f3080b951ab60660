"""What is known of every client: the tables in docs/api.md, which the tests fill and are held against.

A cell says ``ok``, or in a few words what the client does instead. A normal
run compares each cell with what it has just seen. With ``WRITE`` in the
environment a run that passed writes the tables anew; ``make sdk`` does so.
Versions stand in the head, from the locks: a lock that moves on without a
new run of the whole suite is noticed.
"""

from __future__ import annotations

import os

from tests.sdk.clients import CLIENTS, HOW, ROOT, Client

PAGE = ROOT / "docs" / "api.md"
WRITE = "FAIRLANE_WRITE_MATRIX"
OK = "ok"
NONE = "-"  # the client has no such thing

CLIENTS_DO = {
    "models": "lists the models",
    "whole": "an answer that is not streamed",
    "stream": "a stream, word by word",
    "usage": "usage at the end of a stream",
    "tools": "a tool call",
    "tools_streamed": "a streamed tool call",
    "embed": "embeddings",
    "count": "counts tokens",
    "respond": "`/v1/responses`",
    "respond_streamed": "`/v1/responses`, streamed",
    "unauthenticated": "401: raised, not retried",
    "unknown_model": "404: raised, not retried",
    "refused": "the engine's own 400: its words are told, not retried",
    "rate_limited": "429: retried after `retry-after-ms`",
    "exhausted": "429 `insufficient_quota`: not retried",
    "wait": "waits in line while comments come",
    "wait_whole": "waits in line, not streamed",
    "wait_blanks": "the same with `x-keepalive: whitespace`",
    "leaves": "leaves in mid-stream: the engine stops, the seat is free",
    "leaves_line": "leaves the line",
    "dies": "the engine dies in mid-stream: raised",
    "dies_whole": "the engine dies in an answer that is not streamed: raised",
    "fault": "the engine reports an error in mid-stream: raised",
}
SERVERS_DO = {
    "comments": "five comments before the first event",
    "ping": "an `event: ping` with JSON before it",
    "named": "an `event:` of another name before it",
    "numbered": "an `id:` and a comment before it",
    "empty": "a chunk without choices before it",
    "fault": "an error event, then a proper end",
    "end_early": "a proper end without the stream's last event",
    "break_off": "a break, on a connection that was to be kept",
    "close": "a break, with `connection: close`",
}


class Matrix:
    """One table: what happens (rows) with which client (columns)."""

    def __init__(self, name: str, rows: dict[str, str]) -> None:
        self.rows = rows
        self.seen: dict[tuple[str, str], str] = {}
        self._marks = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"

    def see(self, row: str, client: Client, text: str) -> None:
        """Note what the client did; it must be what the page says, unless the page is written."""
        self.seen[row, client.name] = text
        if WRITE not in os.environ:
            said = self.documented().get(self.rows[row], {}).get(column(client))
            assert text == said, f"{PAGE.name} says {said!r} of {client.name} ({self.rows[row]}); {HOW}"

    def documented(self) -> dict[str, dict[str, str]]:
        """The table as the page has it: row, column head, cell."""
        begin, end = self._marks
        lines = PAGE.read_text(encoding="utf-8").partition(begin)[2].partition(end)[0].strip().splitlines()
        if not lines:
            return {}
        head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}

    def write(self) -> None:
        """Put what was seen into the page."""
        begin, end = self._marks
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
        PAGE.write_text(f"{before}{begin}{self._table()}{end}{rest.partition(end)[2]}", encoding="utf-8")

    def _table(self) -> str:
        known, tried = self.documented(), {name for _, name in self.seen}

        def cell(row: str, title: str, client: Client) -> str:
            if client.name in tried:
                return self.seen.get((row, client.name), NONE)
            return known.get(title, {}).get(column(client), NONE)  # not installed: as it was

        lines = ["", *map(column, CLIENTS)], ["---"] * (len(CLIENTS) + 1)
        rows = (
            [title, *(cell(row, title, client) for client in CLIENTS)] for row, title in self.rows.items()
        )
        return "".join("| " + " | ".join(cells) + " |\n" for cells in (*lines, *rows))


def column(client: Client) -> str:
    """A column's head."""
    return f"{client.name} {client.version}"


THROUGH_US = Matrix("clients", CLIENTS_DO)
WITHOUT_US = Matrix("servers", SERVERS_DO)
