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
from pathlib import Path

SEGMENT_BYTES = 16 * 1024 * 1024  # then the next segment begins, and the old one can go
SEGMENT_S = 3600.0  # or after an hour, so that a crash never reads yesterday's lines again
READ_BYTES = 1024 * 1024  # one bite of a reader; a line is far shorter
MODE = 0o600


class Segments:
    """One process's run: appended to by the event loop, read and synced by threads.

    With ``synced`` a segment that is full stays open until the next ``sync``.
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
        self._written_bytes = 0
        self._appended = self._synced = 0  # how often; the folder's own entries count as well
        self._swapping = threading.Lock()  # held for the moment in which the current file is another
        self._full: list[int] | None = [] if synced else None
        self._began_s = time.monotonic()

    def append(self, line: bytes) -> None:
        """Write one line. Raises OSError, and the next line begins afresh."""
        text = b"\n" + line + b"\n" if self._torn else line + b"\n"
        try:
            done = os.write(self._file, text)
        except OSError:
            self._torn = True
            raise
        self._torn = done < len(text)
        self._written_bytes += done
        self._appended += 1
        if self._torn:
            raise OSError(f"only {done} of {len(text)} bytes were written")

    @property
    def full(self) -> bool:
        """Time for ``roll``."""
        if self._written_bytes >= self._segment_bytes:
            return True
        return self._written_bytes > 0 and time.monotonic() - self._began_s > SEGMENT_S

    def roll(self, carry: Iterable[bytes]) -> None:
        """Begin the next segment with these lines. Raises OSError and stays with the old one."""
        fresh = self._open(self._number + 1)
        text = b"".join(line + b"\n" for line in carry)
        if os.write(fresh, text) < len(text):
            os.close(fresh)
            self._path(self._number + 1).unlink()
            raise OSError("no room for the next segment")
        with self._swapping:
            old, self._file = self._file, fresh
            if self._full is None:
                os.close(old)
            else:
                self._full.append(old)
        self._number, self._torn = self._number + 1, False
        self._written_bytes = len(text)
        self._appended += 1
        self._began_s = time.monotonic()

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
        appended = self._appended
        if appended == self._synced:
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
        if not self._synced or len(files) > 1:
            _sync_folder(self._folder)
        self._synced = appended

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
    """Whole lines from the offset on, a megabyte at most; the offset after them; whether that is all."""
    with path.open("rb") as file:
        file.seek(offset_bytes)
        text = file.read(READ_BYTES)
    end = text.rfind(b"\n") + 1
    return text[:end].split(b"\n")[:-1], offset_bytes + end, len(text) < READ_BYTES
