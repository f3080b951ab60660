"""One mutant on trial: a forked child gets the bug and runs checks until one fails."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import struct
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path
from typing import Protocol

MEMORY_BYTES = 1 << 30  # what a bug may take on top of what the parent has
LEAST_CPU_S = 1.0  # on top of three times what the check needed on the sound code
PLACE = struct.Struct("i")
LEAST_WALL_S = 30.0  # for a check that waits for what never comes; the machine may be busy


class Check(Protocol):
    """A test that passes on the sound code, and the seconds of processor time it took there."""

    cpu_s: float

    def passes(self) -> bool:
        """Run it."""


class Verdict(Enum):
    """What became of a mutant."""

    KILLED = "killed"
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    UNREACHED = "unreached"


ALIVE = {Verdict.SURVIVED, Verdict.UNREACHED}
SURVIVED, KILLED = 0, 1
TIMEOUTS = {signal.SIGPROF, signal.SIGALRM}


class Trial:
    """A child that has the bug and runs the checks in their order; the parent's modules stay sound.

    ``running`` is the place of the check that runs or ran last.
    """

    def __init__(self, infect: Callable[[], None], checks: Sequence[Check]) -> None:
        self._running = mmap.mmap(-1, PLACE.size)  # shared with the child
        self.child = os.fork()
        if not self.child:
            self._suffer(infect, checks)

    @property
    def running(self) -> int:
        return int(PLACE.unpack(self._running[:])[0])

    def _suffer(self, infect: Callable[[], None], checks: Sequence[Check]) -> None:
        status = KILLED  # whatever is raised on the way
        try:
            be_quiet()
            infect()
            if all(self._passes(place, check) for place, check in enumerate(checks)):
                status = SURVIVED
        finally:
            os._exit(status)

    def _passes(self, place: int, check: Check) -> bool:
        self._running[:] = PLACE.pack(place)
        signal.setitimer(signal.ITIMER_PROF, LEAST_CPU_S + 3 * check.cpu_s)
        signal.setitimer(signal.ITIMER_REAL, LEAST_WALL_S + 30 * check.cpu_s)
        return check.passes()


def verdict_of(status: int) -> Verdict:
    """What the child's end means; ``status`` is what os.wait gave."""
    if os.WIFSIGNALED(status):
        return Verdict.TIMED_OUT if os.WTERMSIG(status) in TIMEOUTS else Verdict.KILLED
    return Verdict.SURVIVED if os.WEXITSTATUS(status) == SURVIVED else Verdict.KILLED


def be_quiet() -> None:
    """What a child does first: it says nothing, and takes no more memory or time than allowed."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for timeout in TIMEOUTS:
        signal.signal(timeout, signal.SIG_DFL)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
