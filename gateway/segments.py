"""The journal's files: lines that are appended, and read again from the beginning.

A gateway process has one run of numbered segments, ``<run>-<number>.jsonl``,
and holds a lock on ``<run>.lock`` for as long as it lives. A run whose lock is
free was left by a process that died. Lines are in the page cache when
``append`` returns: they outlive the process, however it ends. ``sync`` makes
them outlive the machine too.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

SEGMENT_BYTES = 16 * 1024 * 1024  # then the next segment begins, and the old one can go
SEGMENT_S = 3600.0  # or after an hour, so that a crash never reads yesterday's lines again
READ_BYTES = 1024 * 1024  # one bite of a reader; a line is far shorter
MODE = 0o600


class Segments:
    """One process's run: appended to by the event loop, read and synced by threads.

    With ``synced`` a segment that is full stays open until the next ``sync``.
    Time for ``roll`` is when ``written_bytes`` reach ``full_at_bytes``, or at ``until_s``, Unix seconds.
    """

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES, *, synced: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self.run = f"{time.time_ns():020d}-{os.getpid()}"
        self._lock = _lock(folder / f"{self.run}.lock")
        self._number = 0
        self._torn = False
        self._file = self._open(0)
        self.written_bytes = self._synced_bytes = 0  # of the whole run
        self._swapping = threading.Lock()  # held for the moment in which the current file is another
        self._full: list[int] | None = [] if synced else None
        self._began()

    def _began(self, carried_bytes: int = 0) -> None:
        self.full_at_bytes = self.written_bytes + self._segment_bytes
        self.written_bytes += carried_bytes
        self.until_s = time.time() + SEGMENT_S

    def append(self, lines: bytes) -> None:
        """Write lines, each with its end. Raises OSError, and the next line begins afresh."""
        try:
            if self._torn:
                self._begin_afresh()
            done = os.write(self._file, lines)
        except OSError:
            self._torn = True
            raise
        self.written_bytes += done
        if done < len(lines):
            self._torn = True
            raise OSError(f"only {done} of {len(lines)} bytes were written")

    def _begin_afresh(self) -> None:
        self.written_bytes += os.write(self._file, b"\n")
        self._torn = False

    def roll(self, carry: Iterable[bytes]) -> None:
        """Begin the next segment with these lines. Raises OSError and stays with the old one."""
        fresh = self._open(self._number + 1)
        text = b"".join(line + b"\n" for line in carry)
        fits = False
        try:
            fits = os.write(fresh, text) == len(text)
        finally:
            if not fits:  # it is tried again with every request that comes
                os.close(fresh)
                self._path(self._number + 1).unlink()
        if not fits:
            raise OSError("no room for the next segment")
        with self._swapping:
            old, self._file = self._file, fresh
            if self._full is None:
                os.close(old)
            else:
                self._full.append(old)
        self._number, self._torn = self._number + 1, False
        self._began(len(text))

    @property
    def current(self) -> Path:
        """The segment that is being written."""
        return self._path(self._number)

    def paths(self) -> list[Path]:
        """This run's segments, oldest first."""
        return run_paths(self._folder, self.run)

    def sync(self) -> None:
        """Force what was appended so far onto the disk, for one thread; ``append`` does not wait.

        Raises OSError. Nothing is done when nothing was appended.
        """
        written_bytes = self.written_bytes
        if written_bytes == self._synced_bytes and not self._full:
            return
        with self._swapping:
            files = [os.dup(self._file), *(self._full or ())]
            if self._full:
                self._full.clear()
        try:
            for file in files:
                os.fsync(file)
        finally:
            for file in files:
                os.close(file)
        if not self._synced_bytes or len(files) > 1:
            _sync_folder(self._folder)
        self._synced_bytes = written_bytes

    def close(self, *, empty: bool) -> None:
        """Let go of the run; delete it when nothing in it is wanted any more."""
        for file in (self._file, *(self._full or ())):
            os.close(file)
        if empty:
            remove_run(self._folder, self.run)
        os.close(self._lock)

    def _path(self, number: int) -> Path:
        return self._folder / f"{self.run}-{number:06d}.jsonl"

    def _open(self, number: int) -> int:
        return os.open(self._path(number), os.O_CREAT | os.O_WRONLY | os.O_APPEND, MODE)


def _sync_folder(folder: Path) -> None:
    """A new file's name is as lost as its lines until its folder is synced."""
    entries = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)


def run_paths(folder: Path, run: str) -> list[Path]:
    """The segments of a run, oldest first."""
    return sorted(folder.glob(f"{run}-*.jsonl"))


def remove_run(folder: Path, run: str) -> None:
    """Delete a run's segments, then its lock."""
    for path in run_paths(folder, run):
        path.unlink(missing_ok=True)
    (folder / f"{run}.lock").unlink(missing_ok=True)


def abandoned_runs(folder: Path) -> Iterator[str]:
    """Runs whose process is gone. Each is locked for as long as the caller works on it."""
    for path in sorted(folder.glob("*.lock")):
        try:
            lock = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists():  # else another process has just finished with it
                yield path.stem
        except BlockingIOError:
            continue
        finally:
            os.close(lock)


def _lock(path: Path) -> int:
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, MODE)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return lock
        os.close(lock)  # a process that looked for abandoned runs was faster, and has deleted it


def read_lines(path: Path, offset_bytes: int) -> tuple[list[bytes], int, bool]:
    """Whole lines with their ends from the offset on, of a megabyte; the offset after them; if it is all."""
    with path.open("rb", buffering=0) as file:
        file.seek(offset_bytes)
        text = file.read(READ_BYTES)
    lines = BytesIO(text).readlines()  # of all ways to split, the one that does not look at each byte
    end = len(text)
    if lines and not lines[-1].endswith(b"\n"):
        end -= len(lines.pop())
    return lines, offset_bytes + end, len(text) < READ_BYTES
