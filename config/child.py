"""One program that is kept running: started, watched, started again, stopped."""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config import children

FIRST_DELAY_S = 0.5  # before a child that died is started again; doubles
LONGEST_DELAY_S = 10.0
HEALTHY_S = 30.0  # a child that lived this long begins with the first delay again


class Stage(enum.IntEnum):
    """The order in which programs end. One stage is down before the next is told."""

    WORK = 0  # web processes drain; workers finish what they do; beat sends nothing more
    ENGINES = 1  # they have to answer until the last stream has ended
    VALKEY = 2
    POSTGRES = 3


@dataclass(frozen=True, slots=True)
class Program:
    """What to run and how to end it."""

    name: str
    command: tuple[str, ...]
    stage: Stage
    stop_s: float  # how long it may take to end before it is killed
    stop_signal: signal.Signals = signal.SIGTERM
    env: Mapping[str, str] = field(default_factory=dict)  # besides the supervisor's own
    log: Path | None = None  # None: its output is ours, with its name in front
    as_named_user: bool = False


@dataclass(frozen=True, slots=True)
class ChildReport:
    """One child as the console shows it."""

    name: str
    state: str  # running, waiting (to be started again), stopping, stopped
    pid: int | None
    restarts: int
    last_exit: int | None  # negative: the signal that ended it


class Child:
    """Keeps one program running; times are seconds of one monotonic clock."""

    def __init__(self, program: Program, listen: Callable[[int, str], None]) -> None:
        self.program = program
        self.restarts = 0
        self.last_exit: int | None = None
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._delay = FIRST_DELAY_S
        self._again_at: float | None = None
        self._kill_at: float | None = None

    @property
    def alive(self) -> bool:
        """Whether the process is there (as far as ``ended`` has looked)."""
        return self._process is not None

    def start(self, now: float) -> None:
        """Start the program."""
        self._began, self._again_at = now, None
        program, env = self.program, {**os.environ, **self.program.env}
        if program.log:
            self._process = children.start(
                program.command,
                program.log,
                program.stop_signal,
                as_named_user=program.as_named_user,
                env=env,
            )
            return
        self._process = children.start_with_pipe(program.command, program.stop_signal, env)
        if self._process.stdout:  # the pipe outlives this object's interest: Output closes it
            self._listen(os.dup(self._process.stdout.fileno()), program.name)
            self._process.stdout.close()

    def adopt(self, process: subprocess.Popen[bytes], now: float) -> None:
        """Watch a process that was started before."""
        self._process, self._began = process, now

    def ended(self) -> bool:
        """Whether the process has ended since the last look. What it left behind is killed."""
        if self._process is None or not children.swept(self._process):
            return False
        self.last_exit, self._process = self._process.returncode, None
        return True

    def start_later(self, now: float) -> float:
        """Plan the next start; the delay in seconds."""
        if now - self._began > HEALTHY_S:
            self._delay = FIRST_DELAY_S
        delay, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY_S)
        self._again_at = now + delay
        return delay

    def start_if_due(self, now: float) -> str:
        """Start again when the time has come. Why it could not be, if so: then it is tried again later."""
        if self._again_at is None or now < self._again_at:
            return ""
        self.restarts += 1
        try:
            self.start(now)
        except OSError as error:  # no memory for it just now, or its program is being replaced
            if self._process is None:
                self.start_later(now)
            return str(error)
        return ""

    def stop(self, now: float, within_s: float) -> None:
        """Ask it to end; it is not started again."""
        self._again_at, self._kill_at = None, now + within_s
        self._signal(self.program.stop_signal)

    def kill_if_late(self, now: float) -> bool:
        """Kill a child that was asked to end and did not; whether it came to that."""
        if self._process is None or self._kill_at is None or now < self._kill_at:
            return False
        self._kill_at = None
        children.kill_group(self._process)
        return True

    def report(self) -> ChildReport:
        """The child now."""
        pid = self._process.pid if self._process else None
        if self._process:
            state = "stopping" if self._kill_at is not None else "running"
        else:
            state = "stopped" if self._again_at is None else "waiting"
        return ChildReport(self.program.name, state, pid, self.restarts, self.last_exit)

    def _signal(self, number: signal.Signals) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
