"""Which lines of the mutated files a check runs, and how long it takes."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any


@dataclass(slots=True)
class Reach:
    """One check's lines by path of file, and its processor time while they were noted.

    Noting them takes several times as long as the check; ``noted`` is False
    where nobody did, and then the check may reach anything.
    """

    lines: dict[str, set[int]] = field(default_factory=dict)
    cpu_s: float = 0.0
    passed: bool = False
    noted: bool = False

    def touches(self, path: str, lines: Collection[int]) -> bool:
        """Whether it runs one of these lines; without lines, whether it runs any function of the file."""
        if not self.noted:
            return True
        return not self.lines.get(path, set()).isdisjoint(lines) if lines else path in self.lines


@contextmanager
def lines_of(paths: Collection[str], reach: Reach) -> Iterator[None]:
    """Note in ``reach`` what runs inside. A function all whose lines have run is not followed any more."""
    unseen: dict[CodeType, set[int]] = {}

    def enter(frame: FrameType, _event: str, _arg: object) -> Callable[..., Any] | None:
        code = frame.f_code
        if code.co_filename not in paths:
            return None
        left = unseen.get(code)
        if left is None:
            left = unseen[code] = {line for _, _, line in code.co_lines() if line}
        if not left:
            return None
        lines = reach.lines.setdefault(code.co_filename, set())
        lines.add(frame.f_lineno)

        def step(frame: FrameType, _event: str, _arg: object) -> Callable[..., Any] | None:
            lines.add(frame.f_lineno)
            left.discard(frame.f_lineno)
            return step if left else None

        return step

    reach.noted = True
    threading.settrace(enter)
    sys.settrace(enter)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)


def in_a_child(work: Callable[[], Any]) -> Any:
    """What ``work`` returns when a forked child does it silently, so that nothing of it stays here."""
    out, into = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(out)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            with os.fdopen(into, "wb") as stream:
                pickle.dump(work(), stream)
        finally:
            os._exit(0)
    os.close(into)
    with os.fdopen(out, "rb") as stream:
        answer = pickle.load(stream)
    os.waitpid(child, 0)
    return answer
