"""What becomes of a usage record on this machine: the journal, and what is done with each batch of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import django.db
from django.conf import settings
from django.db import connection

from gateway import records, services
from gateway.access_log import AccessLog
from gateway.journal import Journal
from gateway.records import Record

NOTE_EVERY_S = 10.0  # an admin who looks at an API token's last use under load sees it so late


def journal(knobs: Mapping[str, int | float | str], worker: str) -> Journal:
    """The journal of one gateway process, which access lines call ``worker``."""
    data = Path(settings.DATA_DIR)
    log = AccessLog(str(knobs["FAIRLANE_ACCESS_LOG"]), data, int(knobs["FAIRLANE_ACCESS_LOG_BYTES"]))
    bookkeeper = Bookkeeper(log, worker)
    return Journal(
        data / "journal",
        bookkeeper.store,
        every_s=float(knobs["FAIRLANE_RECORD_EVERY_S"]),
        sync_s=float(knobs["FAIRLANE_JOURNAL_SYNC_MS"]) / 1000,
        rest=bookkeeper.rest,
    )


class Bookkeeper:
    """Does the work of the journal's thread, on a connection that is open while there is some.

    Another thread may take a turn; the journal lets one at a time.
    """

    def __init__(self, log: AccessLog, worker: str) -> None:
        self._log = log
        self._worker = worker if log.on else None
        self._last_use_s: dict[int, float] = {}
        self._noted_s = monotonic()

    def store(self, batch: Sequence[Record]) -> None:
        """Write usage records, and for each that is new an access line. Raises Away or Unstorable."""
        stored = records.keep(batch, self._worker)
        self._log.write(stored.lines)
        last = self._last_use_s
        for token, at_s in stored.last_use_s.items():
            last[token] = max(at_s, last.get(token, at_s))
        if monotonic() - self._noted_s >= NOTE_EVERY_S:
            self._note_last_use()

    def rest(self) -> None:
        """There is nothing to store, or nowhere to. Nothing is left open in this thread."""
        self._note_last_use()
        connection.close()

    def _note_last_use(self) -> None:
        """Write down when each API token was last used."""
        self._noted_s = monotonic()
        if not self._last_use_s:
            return
        times = {token: datetime.fromtimestamp(at_s, UTC) for token, at_s in self._last_use_s.items()}
        # Only a courtesy to admins: the records themselves are safe already.
        with suppress(django.db.Error):
            services.note_last_use(times)
        self._last_use_s.clear()
