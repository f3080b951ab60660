"""Usage records on their way to Postgres: the journal on disk is the buffer.

Every accepted request writes a line when it is accepted and one when it
ends. A thread reads the lines back and stores ended requests in batches.
While Postgres is away the lines simply stay; after a crash the next process
reads what the dead one left, and what had no end was lost with it. Storing
a line twice is harmless, so every request is recorded exactly once. Another
thread forces the lines onto the disk, whatever Postgres does meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import time

import msgspec

from gateway.errors import JournalFull
from gateway.records import Away, Batch, Record, Unstorable, decode, encode
from gateway.segments import Segments, abandoned_runs, read_lines, remove_run, run_paths
from scheduling.core.outcome import Outcome

log = logging.getLogger("fairlane.journal")

BATCH = 1000  # records in one COPY
TOGETHER = 100  # ends in one write
ADOPT_EVERY = 60.0  # seconds between two looks for what dead processes left
LOST_STATUS = 500  # what a request counts as whose gateway died
REJECTED = "rejected.jsonl"
BEGUN = b"\n"
ENDED = b" \n"  # ends the line of a request that has ended, and no other; to JSON the blank is nothing

Store = Callable[[Sequence[Record]], None]
Soon = Callable[[Callable[[], None]], object]


class Journal:
    """Keeps records from ``accept`` until they are stored.

    ``accept`` and ``end`` belong to the event loop; everything else happens in
    the threads that ``start`` starts. ``accept`` writes its short line before
    it returns. ``end`` leaves its own to the next write, at the latest to the
    one that it has ``soon`` call: at once, unless an event loop is told to, at
    the end of its turn. Ends come together there, and a write costs up to a
    twelfth of a request. Lines are on the disk at the latest ``sync_s`` after
    they were written, plus the time that the disk takes; 0 leaves that to the
    kernel. ``rest`` is called in the thread that has stored, when there is no
    more for it to do.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        every_s: float,
        sync_s: float = 0.0,
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._folder = folder
        self._segments = Segments(folder, synced=sync_s > 0)
        self._store = store
        self._rest = rest
        self._every_s = every_s
        self._sync_s = sync_s
        self.running: dict[str, Record] = {}  # accepted and without an end, by id, in the order of acceptance
        self._ended: deque[Record] = deque()  # whose ends are not written yet
        self._is_due = False  # to write them
        self.soon: Soon = lambda write: write()
        self._read: dict[Path, int] = {}
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._adopted_at_s = 0.0
        self._storing = threading.Lock()
        self.away = False

    def accept(self, record: Record) -> None:
        """A request begins. Raises JournalFull when that cannot be written down."""
        segments = self._segments
        try:
            if segments.written_bytes >= segments.full_at_bytes or record.accepted_at >= segments.until_s:
                self._roll()
            line = encode(record) + BEGUN
            if self._ended:
                self._write(line)
            else:
                segments.append(line)
        except OSError as error:
            log.error("the journal in %s cannot be written: %s", self._folder, error)  # noqa: TRY400
            raise JournalFull from None
        self.running[record.request_id] = record

    def end(self, record: Record) -> None:
        """A request has ended; its outcome is set. Never raises: what cannot be written is tried again."""
        self.running.pop(record.request_id, None)
        self._ended.append(record)
        if not self._is_due:
            self._is_due = True
            self.soon(self._write_ended)

    @property
    def unsettled(self) -> int:
        """Requests that run, plus ended ones that could not even be written to disk."""
        return len(self.running) + len(self._ended)

    def start(self) -> None:
        """Begin to store, first of all what dead processes left."""
        work = [self._work, self._keep_synced] if self._sync_s else [self._work]
        self._threads = [threading.Thread(target=each, name="journal", daemon=True) for each in work]
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Store what can be stored now, and keep the rest for the next start."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout_s)
        try:
            self._write_late()
        except OSError as error:
            log.error("%d usage records could not be written: %s", len(self._ended), error)  # noqa: TRY400
        self._segments.close(empty=not self.running and self._drained())

    def flush(self) -> int:
        """Store every ended request that is in the files, and say how many. Raises Away."""
        return sum(self._flush_segment(path) for path in self._segments.paths())

    def adopt(self) -> None:
        """Store what dead processes left; what never ended is recorded as lost. Raises Away."""
        for run in abandoned_runs(self._folder):
            lost: dict[str, Record] = {}
            for path in run_paths(self._folder, run):
                offset, at_end = 0, False
                while not at_end:
                    lines, offset, at_end = read_lines(path, offset)
                    self._save(Batch(_ended(lines, lost)))
            self._save([_as_lost(record) for record in lost.values()])
            remove_run(self._folder, run)

    def replay(self) -> None:
        """Store at once what has ended, here and in dead processes. Raises Away. For any thread."""
        with self._storing:
            try:
                self.flush()
                self.adopt()
            finally:
                self._rest()

    def _work(self) -> None:
        while not self._stopping.wait(self._every_s):
            self._try()
        self._try()
        with self._storing:
            self._rest()

    def _keep_synced(self) -> None:
        failing = False
        while not self._stopping.wait(self._sync_s):
            try:
                self._segments.sync()
            except OSError as error:
                if not failing:
                    log.error("the journal in %s cannot be synced: %s", self._folder, error)  # noqa: TRY400
                failing = True
            else:
                failing = False

    def _try(self) -> None:
        try:
            with self._storing:
                self._store_all()
        except Away as error:
            if not self.away:
                log.warning("usage records wait in %s: Postgres is away (%s)", self._folder, error)
            self.away = True
            self._stopping.wait(self._every_s)
        except Exception:
            log.exception("usage records wait in %s", self._folder)
        else:
            if self.away:
                log.warning("usage records are stored again")
            self.away = False

    def _store_all(self) -> None:
        stored = 0
        try:
            stored = self.flush()
            if time() - self._adopted_at_s > ADOPT_EVERY:
                self.adopt()
                self._adopted_at_s = time()
        finally:
            if not stored:
                self._rest()

    def _flush_segment(self, path: Path) -> int:
        closed = path < self._segments.current  # and not the one that a roll is just about to begin
        offset, at_end, stored = self._read.get(path, 0), False, 0
        # What comes while this is stored has to wait for the next time, or under load it would never end,
        # and store a handful at a time.
        while not at_end:
            lines, after, at_end = read_lines(path, offset)
            ended = [line for line in lines if line.endswith(ENDED)]
            self._save(Batch(ended))
            self._read[path] = offset = after
            stored += len(ended)
        if closed:
            self._read.pop(path, None)
            path.unlink()
        return stored

    def _save(self, records: Sequence[Record]) -> None:
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            try:
                self._store(batch)
            except (Unstorable, msgspec.DecodeError):
                self._save_one_by_one(batch)

    def _save_one_by_one(self, records: Sequence[Record]) -> None:
        for record in _whole(records):
            try:
                self._store([record])
            except Unstorable as error:
                log.error("usage record %s is kept in %s: %s", record.request_id, REJECTED, error)  # noqa: TRY400
                with (self._folder / REJECTED).open("ab") as file:
                    file.write(encode(record) + b"\n")

    def _write_ended(self) -> None:
        self._is_due = False
        with suppress(OSError):
            self._write_late()

    def _write_late(self) -> None:
        while self._ended:
            self._write()

    def _write(self, line: bytes = b"") -> None:
        """Write a line, after those of some requests that have ended; none is forgotten when that fails."""
        some = [self._ended.popleft() for _ in range(min(len(self._ended), TOGETHER))]
        try:
            self._segments.append(b"".join([encode(record) + ENDED for record in some]) + line)
        except OSError:
            self._ended.extendleft(reversed(some))
            raise

    def _roll(self) -> None:
        self._write_late()
        # Requests that still run are written down again, so that the old segment holds nothing but the past.
        self._segments.roll(encode(record) for record in self.running.values())

    def _drained(self) -> bool:
        return all(self._read.get(path, 0) >= path.stat().st_size for path in self._segments.paths())


def _ended(lines: Sequence[bytes], running: dict[str, Record]) -> list[bytes]:
    """The lines of ended requests among these; the others stay in ``running`` until their end is read."""
    ended = []
    for line in lines:
        try:
            record = decode(line)
        except msgspec.DecodeError:
            continue  # torn by a full disk, or by the end of the machine
        if record.outcome:
            running.pop(record.request_id, None)
            ended.append(line)
        else:
            running[record.request_id] = record
    return ended


def _whole(records: Sequence[Record]) -> Iterator[Record]:
    """One after the other, without those whose lines were torn by a full disk."""
    for at in range(len(records)):
        with suppress(msgspec.DecodeError):
            yield from records[at : at + 1]


def _as_lost(record: Record) -> Record:
    record.outcome = str(Outcome.WORKER_LOST)
    record.status = LOST_STATUS
    record.estimated = True
    record.ended_at = time()
    return record
