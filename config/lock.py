"""Who may run the embedded servers: one process at a time per data folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from config import embedded

ASK_EVERY_S = 0.05


class Taken(Exception):
    """Another process holds the data folder. The message is its name, such as ``serve``."""


@contextmanager
def hold(data: Path, name: str, wait_s: float = 0) -> Iterator[None]:
    """Hold the data folder inside the block. Raises Taken after ``wait_s``.

    The kernel frees it when this process ends in any way: there is no stale lock.
    """
    embedded.make_folders(data)
    handle = os.open(data / "run" / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle, time.monotonic() + wait_s)
        os.truncate(handle, 0)
        os.pwrite(handle, name.encode(), 0)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Taken(os.pread(handle, 100, 0).decode(errors="replace")) from None
            time.sleep(ASK_EVERY_S)
        else:
            return
