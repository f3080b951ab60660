"""What the commands around the file share."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from django.core.management.base import CommandParser

from gateway.declarative.apply import Applied
from gateway.declarative.document import BadFile, read
from gateway.declarative.wanted import Wanted, wanted

STDIN = "-"


def add_file_arguments(parser: CommandParser) -> None:
    """The arguments of every command that reads a file."""
    parser.add_argument("-f", "--file", required=True, help="The YAML file; - reads standard input.")
    parser.add_argument(
        "--prune", action="store_true", help="Also delete what is not in the file, in the sections it has."
    )
    parser.add_argument("--json", action="store_true", help="One JSON object on standard output.")


def load(name: str) -> Wanted:
    """What a file asks for; its paths are from its own folder. Raises BadFile."""
    if name == STDIN:
        return wanted(read(sys.stdin.read()), os.environ, Path.cwd())
    path = Path(name)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile([f"{name} cannot be read: {error}"]) from None
    return wanted(read(text), os.environ, path.parent)


def why(name: str) -> str:
    """What the audit says: which file, and which content of it."""
    if name == STDIN:
        return "standard input"
    path = Path(name)
    return (
        f"{path.name} sha256:{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" if path.is_file() else name
    )


def as_json(applied: Applied, *, dry_run: bool) -> str:
    """The steps and the revision, as one line."""
    steps = [
        {
            "action": step.action,
            "noun": step.noun,
            "name": step.name,
            "fields": {name: {"before": pair[0], "after": pair[1]} for name, pair in step.shown().items()},
        }
        for step in applied.steps
    ]
    return json.dumps({"dry_run": dry_run, "revision": applied.revision, "steps": steps}, default=str)
