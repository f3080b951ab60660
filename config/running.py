"""The running product as other commands find it: `<data>/run/serve.json`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Running:
    """What a `serve` tells about itself."""

    pid: int
    gateway_url: str
    console_url: str


def path(data: Path) -> Path:
    """Where it is written."""
    return data / "run" / "serve.json"


def write(data: Path, running: Running) -> None:
    """Tell. A reader sees the whole or nothing."""
    fresh = path(data).with_suffix(".new")
    fresh.write_text(json.dumps(asdict(running)) + "\n")
    fresh.replace(path(data))


def read(data: Path) -> Running | None:
    """The `serve` that runs on this data folder, if one does."""
    try:
        told = Running(**json.loads(path(data).read_text()))
        os.kill(told.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return told


def forget(data: Path) -> None:
    """Take it back at the end."""
    path(data).unlink(missing_ok=True)
