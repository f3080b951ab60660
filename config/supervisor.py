"""Keeps the product's programs running, and ends them in order on one signal."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from types import FrameType

from config.child import Child, ChildReport, Program, Stage
from config.output import Output

LOOK_EVERY_S = 0.1
REPORT_EVERY_S = 2.0
SAME_PRESS_S = 0.2  # make and some shells pass one Ctrl-C on twice
AT_ONCE_S = 1.0  # what the databases get to end properly after a second signal
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OURSELVES = "fairlane"


class Failed(Exception):
    """A program that must come up for the product to exist did not. The message names it."""


class Supervisor:
    """One loop, no threads: children are forked from a process that does nothing else.

    ``ready`` says whether the product answers; ``on_ready`` is called once, when it
    first does; ``report`` gets the state of all children every two seconds.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        output: Output,
        *,
        ready: Callable[[], bool],
        on_ready: Callable[[], None],
        report: Callable[[list[ChildReport]], None],
    ) -> None:
        self._children = [Child(program, output.add) for program in programs]
        self._output = output
        self._ready = ready
        self._on_ready = on_ready
        self._report = report
        self._is_ready = False
        self._reported_at = float("-inf")
        self._signals: list[float] = []

    def adopt(self, started: Mapping[str, subprocess.Popen[bytes] | None]) -> None:
        """Watch processes that were started before, by program name."""
        for child in self._children:
            if process := started.get(child.program.name):
                child.adopt(process, time.monotonic())

    def run(self) -> None:
        """Keep all running until a signal, then end all. Raises Failed when one never came up."""
        before = {number: signal.signal(number, self._on_signal) for number in SIGNALS}
        try:
            self._keep()
        finally:
            self._stop_all()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _keep(self) -> None:
        for child in self._children:
            if not child.alive:
                child.start(time.monotonic())
        while not self._signals:
            self._output.pump(LOOK_EVERY_S)
            now = time.monotonic()
            for child in self._children:
                self._look_after(child, now)
            self._tell(now)
            if not self._is_ready and self._ready():
                self._is_ready = True
                self._on_ready()

    def _look_after(self, child: Child, now: float) -> None:
        if problem := child.start_if_due(now):
            self._say(f"{child.program.name} cannot be started again now: {problem}")
        if not child.ended():
            return
        if not self._is_ready and child.program.name.startswith("web"):
            raise Failed(f"{child.program.name} ended with code {child.last_exit} before it answered.")
        delay_s = child.start_later(now)
        self._say(
            f"{child.program.name} ended with code {child.last_exit}; starting it again in {delay_s:g} s"
        )

    def _stop_all(self) -> None:
        self._say("stopping; a second signal ends everything at once")
        for stage in Stage:
            self._stop_stage([child for child in self._children if child.program.stage == stage])

    def _stop_stage(self, stage: Sequence[Child]) -> None:
        for child in stage:
            child.stop(time.monotonic(), child.program.stop_s)
        while any(child.alive for child in stage):
            if self._impatient():
                self._end_now()
                return
            self._output.pump(LOOK_EVERY_S / 2)
            now = time.monotonic()
            for child in stage:
                if child.kill_if_late(now):
                    self._say(f"{child.program.name} did not end within {child.program.stop_s:g} s: killed")
                child.ended()
            self._tell(now)

    def _end_now(self) -> None:
        """Kill everything but the databases; those keep what was committed, and need no time."""
        for child in self._children:
            child.stop(time.monotonic(), AT_ONCE_S if child.program.stage >= Stage.VALKEY else 0)
        while any(child.alive for child in self._children):
            for child in self._children:
                child.kill_if_late(time.monotonic())
                child.ended()
            self._output.pump(LOOK_EVERY_S / 10)

    def _impatient(self) -> bool:
        return any(later - self._signals[0] > SAME_PRESS_S for later in self._signals)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals.append(time.monotonic())

    def _tell(self, now: float) -> None:
        if now - self._reported_at >= REPORT_EVERY_S:
            self._reported_at = now
            self._report([child.report() for child in self._children])

    def _say(self, line: str) -> None:
        self._output.say(OURSELVES, line)
