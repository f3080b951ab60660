"""What becomes of a usage record on this machine: the journal, and what is done with each batch of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import django.db
from django.conf import settings
from django.db import connection

from gateway import records, services
from gateway.access_log import AccessLog
from gateway.journal import Journal
from gateway.records import Record


def journal(knobs: Mapping[str, int | float | str], worker: str) -> Journal:
    """The journal of one gateway process, which access lines call ``worker``."""
    data = Path(settings.DATA_DIR)
    log = AccessLog(str(knobs["FAIRLANE_ACCESS_LOG"]), data, worker, int(knobs["FAIRLANE_ACCESS_LOG_BYTES"]))

    def store(batch: Sequence[Record]) -> None:
        """Write usage records, and for each that is new an access line. Runs in the journal's thread."""
        fresh = records.store(batch)
        if log.on:
            log.write(record for record in batch if record.request_id in fresh)
        _note_last_use(batch)

    return Journal(
        data / "journal",
        store,
        every_s=float(knobs["FAIRLANE_RECORD_EVERY_S"]),
        sync_s=float(knobs["FAIRLANE_JOURNAL_SYNC_MS"]) / 1000,
    )


def _note_last_use(batch: Sequence[Record]) -> None:
    """Write down when each API token was last used."""
    last: dict[int, float] = {}
    for record in batch:
        if record.api_token_id is not None and record.ended_at is not None:
            at_s = record.ended_at
            last[record.api_token_id] = max(at_s, last.get(record.api_token_id, at_s))
    # Only a courtesy to admins: the records themselves are safe already.
    with suppress(django.db.Error):
        services.note_last_use({token: datetime.fromtimestamp(at_s, UTC) for token, at_s in last.items()})
    connection.close()
