"""How child processes begin (with a death signal, never as root where that is refused) and end."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from config import other_user
from config.trouble import Trouble

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ORPHANED = 98  # a child's exit code when its parent had gone before it began
POLL_S = 0.02  # how often a server is asked whether it is ready, or gone
LOG_BYTES = 5_000_000  # a log file is put aside once when it is larger at a start

libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def prepare(death: signal.Signals, *, as_named_user: bool = False) -> Callable[[], None] | None:
    """What a child does before it becomes its program (a ``preexec_fn``).

    ``death`` is the signal it gets from the kernel when the thread that started it
    ends in any way, kill -9 included. ``as_named_user`` is for programs that refuse
    root (see other_user); such a child leaves with REFUSED where nothing helps.
    """
    if libc is None:
        return None
    parent = os.getpid()
    change = other_user.change() if as_named_user else None
    prctl = libc.prctl  # looked up here: little is safe after a fork

    def begin() -> None:
        if change and not change():
            os._exit(other_user.REFUSED)
        prctl(PR_SET_PDEATHSIG, int(death), 0, 0, 0)  # after the change, which would undo it
        if os.getppid() != parent:
            os._exit(ORPHANED)

    return begin


def start(
    command: Sequence[str],
    log: Path,
    death: signal.Signals,
    *,
    as_named_user: bool = False,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start one program in a session of its own, so that a Ctrl-C in the terminal is ours alone."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES:
            log.replace(log.with_suffix(".old.log"))
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=prepare(death, as_named_user=as_named_user),  # noqa: PLW1509 - see prepare: it only calls the kernel
            env=env,
        )


def start_with_pipe(
    command: Sequence[str], death: signal.Signals, env: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """The same with the output in a pipe, which is the caller's to read."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=prepare(death),  # noqa: PLW1509 - see prepare: it only calls the kernel
        env=env,
    )


def swept(process: subprocess.Popen[bytes]) -> bool:
    """Whether a child has ended; then what is left of its session is killed too.

    While we have not waited for it, its number cannot belong to anybody else.
    """
    try:
        ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # somebody waited for it already
        return process.poll() is not None
    if ended is None:
        return False
    kill_group(process)
    process.wait()
    return True


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a child and what it started, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def stop(process: subprocess.Popen[bytes], how: signal.Signals, within_s: float) -> None:
    """End a child that ``start`` began, by force when it takes too long."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(how)
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def stopped_on_failure(
    process: subprocess.Popen[bytes], how: signal.Signals, within_s: float
) -> Iterator[None]:
    """Leave no server behind when what follows its start fails."""
    try:
        yield
    except BaseException:
        stop(process, how, within_s)
        raise


def wait_ready(
    name: str, process: subprocess.Popen[bytes], log: Path, answers: Callable[[], bool], within_s: float
) -> None:
    """Wait until a server answers. Raises Trouble when it ended or took too long."""
    until = time.monotonic() + within_s
    while not answers():
        if process.poll() is not None:
            raise gone(name, process, log)
        if time.monotonic() > until:
            raise Trouble(f"{name} did not answer within {within_s:g} s; see {log}")
        time.sleep(POLL_S)


def gone(name: str, process: subprocess.Popen[bytes], log: Path) -> Trouble:
    """The error for a server that ended before it was ready, with the end of its log."""
    if process.returncode == other_user.REFUSED:
        return other_user.refused(name)
    lines = log.read_text(errors="replace").splitlines()[-5:] if log.exists() else []
    said = "\n  ".join(["", *lines])
    return Trouble(f"{name} ended with code {process.returncode} before it was ready. {log} says:{said}")
