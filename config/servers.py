"""The embedded servers around a block of work, for commands that run while nothing else does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from config import lock, postgres, valkey
from config.trouble import Trouble

WAIT_S = 60.0  # for another command, or for a `serve` that is just starting
ASK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Needed:
    """Which servers this installation takes from its wheels."""

    postgres: bool
    valkey: bool

    @classmethod
    def now(cls) -> Needed:
        """As the environment says."""
        return cls(not os.environ.get("DATABASE_URL"), not os.environ.get("REDIS_URL"))


@dataclass(frozen=True, slots=True)
class Started:
    """The embedded servers that run now."""

    postgres: subprocess.Popen[bytes] | None
    valkey: subprocess.Popen[bytes] | None


def start(data: Path, needed: Needed) -> Started:
    """Start what is needed. The caller holds the lock. Raises Trouble; then nothing runs."""
    database = postgres.start(data) if needed.postgres else None
    try:
        return Started(database, valkey.start(data) if needed.valkey else None)
    except BaseException:
        stop(Started(database, None))
        raise


def stop(started: Started) -> None:
    """End them: the bus first."""
    if started.valkey:
        valkey.stop(started.valkey)
    if started.postgres:
        postgres.stop(started.postgres)


@contextmanager
def for_a_while(data: Path, command: str) -> Iterator[bool]:
    """See to it that the servers run inside the block; whether they are ours alone.

    A running `serve` has them. Else they are started, and end with the block.
    """
    needed = Needed.now()
    if not (needed.postgres or needed.valkey):
        yield False
        return
    with ExitStack() as stack:
        if not _held(stack, data, command, needed):
            yield False
            return
        started = start(data, needed)
        stack.callback(stop, started)
        yield True


def _held(stack: ExitStack, data: Path, command: str, needed: Needed) -> bool:
    """Take the lock, unless somebody who stays has the servers up already."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            stack.enter_context(lock.hold(data, command))
        except lock.Taken as taken:
            if str(taken) == "serve" and _answer(data, needed):
                return False
            if time.monotonic() > until:
                raise Trouble(
                    f"`{taken}` has held {data} for {WAIT_S:g} s. Try again when it has ended."
                ) from None
            time.sleep(ASK_EVERY_S)
        else:
            return not _answer(data, needed)


def _answer(data: Path, needed: Needed) -> bool:
    return (not needed.postgres or postgres.answers(data)) and (not needed.valkey or valkey.answers(data))
