"""CPU time and memory of a process and all its children, by the kernel's own account."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

KIB = 1024


def pids(pid: int) -> Iterator[int]:
    """The process and everything below it."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from pids(int(child))


def cpu_ns(pid: int) -> int:
    """CPU time of all threads that live (schedstat)."""
    total = 0
    for each in pids(pid):
        with suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
    return total


def rss_bytes(pid: int) -> int:
    """Resident memory."""
    total = 0
    for each in pids(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{each}/status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += int(line.split()[1]) * KIB
    return total
