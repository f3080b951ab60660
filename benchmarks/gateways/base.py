"""What is the same for all gateways: a folder, a port, a core, a process that ends with the run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.loop import GATEWAY_CORE
from benchmarks.load.run import Target
from benchmarks.product import free_port
from config import children

STOP_S = 10.0
LAST_WORDS = 400  # characters
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "USER")  # of our environment


class Missing(Exception):
    """This gateway cannot run here. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one gateway runs: its port, its folder, and the engine behind it."""

    port: int
    folder: Path
    engine_port: int

    def write(self, name: str, text: str) -> Path:
        """A file of this gateway's configuration."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path


class Gateway(ABC):
    """One contestant. Subclasses say how it is found, configured and asked."""

    name: str
    start_s = 30.0  # how long it may take to answer its first request

    @abstractmethod
    def version(self) -> str:
        """What is installed. Raises Missing."""

    @abstractmethod
    def command(self, place: Place) -> Sequence[str]:
        """Write the configuration; the command line."""

    def environ(self, place: Place) -> Mapping[str, str]:
        """What it finds in its environment, besides the usual."""
        return {}

    def targets(self, place: Place, pid: int) -> list[Target]:
        """How it is asked. The first is its own; others are variants that share its process."""
        return [Target(self.name, place.port, pid)]

    def close(self) -> None:
        """End what ``command`` started besides."""
        return


class Running:
    """A gateway's process, pinned to the core that all of them share."""

    def __init__(self, gateway: Gateway, folder: Path, engine_port: int) -> None:
        self.gateway = gateway
        self._folder = folder / gateway.name
        self._engine_port = engine_port

    def start(self) -> list[Target]:
        """Raises Missing, or Trouble when it does not come up."""
        self._folder.mkdir()
        place = Place(free_port(), self._folder, self._engine_port)
        line = ["taskset", "--cpu-list", str(GATEWAY_CORE), *map(str, self.gateway.command(place))]
        environ = {name: os.environ[name] for name in KEPT if name in os.environ}
        self._process = children.start(
            line, self.log, signal.SIGTERM, env={**environ, **self.gateway.environ(place)}
        )
        return self.gateway.targets(place, self._process.pid)

    @property
    def log(self) -> Path:
        """What it said."""
        return self._folder / "output.log"

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def last_words(self) -> str:
        """The end of what it said."""
        lines = self.log.read_text(errors="replace").splitlines()[-3:]
        return " / ".join(lines)[-LAST_WORDS:]

    def stop(self) -> None:
        """End it with all it started."""
        children.stop(self._process, signal.SIGTERM, STOP_S)
        children.kill_group(self._process)
        self.gateway.close()


def program(name: str, mend: str) -> str:
    """Where a program is. Raises Missing with the mend."""
    if found := shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin"):
        return found
    raise Missing(f"not installed: {mend}")


def first_number(*command: str) -> str:
    """The version that a program prints about itself."""
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"\d+\.\d+(?:\.\d+)*", said.stdout + said.stderr)
    return found[0] if found else "unknown"
