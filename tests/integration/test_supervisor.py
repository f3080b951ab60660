"""The supervisor with real processes that do as little as possible."""

from __future__ import annotations

import io
import os
import select
import signal
import threading
import time
from pathlib import Path

import pytest

from config.child import Program, Stage
from config.output import Output
from config.supervisor import Failed, Supervisor

AT_MOST_S = 10.0


def script(name: str, text: str, stage: Stage = Stage.WORK, stop_s: float = 5.0) -> Program:
    return Program(name, ("/bin/sh", "-c", text), stage, stop_s)


def until_term(then: str) -> str:
    return f"trap '{then}; exit 0' TERM; echo up; while :; do sleep 0.02; done"


class Run:
    """One run: what was printed and reported, and how long the stop took."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.reports = []
        self.stop_began = 0.0

    def __call__(self, programs, ready=lambda: True, presses=(0.0,)):
        def on_ready() -> None:
            self.stop_began = time.monotonic()
            for after_s in presses:
                timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT))
                timer.start()

        supervisor = Supervisor(
            programs, Output(self.stream, 4), ready=ready, on_ready=on_ready, report=self.reports.append
        )
        guard = threading.Timer(AT_MOST_S, os.kill, (os.getpid(), signal.SIGTERM))
        guard.start()
        try:
            supervisor.run()
        finally:
            guard.cancel()
        return time.monotonic() - self.stop_began


@pytest.fixture
def run():
    return Run()


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def ends(pid: int) -> bool:
    """Wait for it: a kill is sent at once, and takes effect when the kernel next runs the process."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], AT_MOST_S)[0])
    finally:
        os.close(process)


def test_one_signal_ends_everything_and_the_databases_last(run, tmp_path):
    order = tmp_path / "order"
    programs = [
        script(name, until_term(f"sleep {delay}; echo {name} >> {order}"), stage)
        for name, stage, delay in (
            ("postgres", Stage.POSTGRES, 0),
            ("valkey", Stage.VALKEY, 0),
            ("sim-0", Stage.ENGINES, 0),
            ("web", Stage.WORK, 0.2),
        )
    ]

    run(programs, ready=lambda: run.stream.getvalue().count("| up") == 4)

    assert lines(order) == ["web", "sim-0", "valkey", "postgres"]


def test_a_child_that_dies_is_started_again_and_reported(run, tmp_path):
    births = tmp_path / "births"
    program = script("beat", f"echo born >> {births}; exit 3")

    run([program], ready=lambda: len(lines(births)) >= 2)

    assert "beat ended with code 3; starting it again in 0.5 s" in run.stream.getvalue()
    assert run.reports[0][0].name == "beat"


def test_what_a_dead_child_started_dies_with_it(run, tmp_path):
    pid_file = tmp_path / "pid"
    programs = [script("jobs", f"sleep 300 & echo $! > {pid_file}; exit 1")]

    run(programs, ready=lambda: "jobs ended" in run.stream.getvalue())

    assert ends(int(pid_file.read_text()))


def test_a_web_process_that_never_comes_up_ends_the_start(run):
    with pytest.raises(Failed, match="web ended with code 7 before it answered"):
        run([script("web", "exit 7")], ready=lambda: False)


def test_a_child_that_does_not_end_is_killed_after_its_time(run):
    took_s = run(
        [script("web", "trap '' TERM; echo up; while :; do sleep 0.02; done", stop_s=0.3)],
        ready=lambda: "| up" in run.stream.getvalue(),
    )

    assert 0.3 <= took_s < 3
    assert "web did not end within 0.3 s: killed" in run.stream.getvalue()


def test_a_second_signal_ends_everything_at_once(run):
    took_s = run(
        [
            script("web", "trap '' TERM; echo up; while :; do sleep 0.02; done", stop_s=60),
            script("postgres", until_term("echo clean"), Stage.POSTGRES),
        ],
        ready=lambda: run.stream.getvalue().count("| up") == 2,
        presses=(0.0, 0.3),
    )

    assert took_s < 3
    assert "postgres | clean" in run.stream.getvalue()


def test_one_press_that_arrives_twice_is_one_signal(run, tmp_path):
    done = tmp_path / "done"

    run(
        [script("web", until_term(f"sleep 0.3; echo drained > {done}"))],
        ready=lambda: "| up" in run.stream.getvalue(),
        presses=(0.0, 0.05),
    )

    assert lines(done) == ["drained"]


def test_a_child_that_cannot_be_started_again_for_a_while_ends_no_other(run, tmp_path) -> None:
    program, count = tmp_path / "program", tmp_path / "count"
    program.write_text(f"#!/bin/sh\necho one >> {count}\nmv $0 $0.away\n")
    program.chmod(0o755)
    put_back = f"trap 'exit 0' TERM; sleep 1; mv {program}.away {program}; while :; do sleep 0.02; done"

    run(
        [Program("lost", (str(program),), Stage.WORK, 5.0), script("other", put_back)],
        ready=lambda: len(lines(count)) == 2,
    )

    assert "lost cannot be started again now: [Errno 2]" in run.stream.getvalue()
    assert lines(count) == ["one", "one"]
