"""`manage.py backend test`: is there an engine at this address, and what does it tell?"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling.engines import connect
from scheduling.engines.endpoint import Endpoint
from scheduling.engines.registry import TABLES


class Command(BaseCommand):
    help = (
        "Look at an engine before it becomes a backend: reach it, recognise it, read it. Needs no database."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        test = actions.add_parser("test", help="name, connection, TLS, models, engine, metrics; 5 s at most")
        test.add_argument("url", help="http(s)://host:port, with a base path if it has one")
        test.add_argument("--engine", choices=(connect.DETECT, *sorted(TABLES)), default=connect.DETECT)
        test.add_argument(
            "--api-key-env",
            default="",
            metavar="NAME",
            help="environment variable with the engine's own API key",
        )
        test.add_argument("--ca", type=Path, metavar="FILE", help="trust only this CA, in PEM form")
        test.add_argument("--json", action="store_true", help="one JSON object instead of text")

    def handle(self, *_args: Any, **options: Any) -> None:
        report = connect.test(
            Endpoint(
                backend="test",
                url=options["url"].rstrip("/"),
                engine=options["engine"],
                api_key=_api_key(options["api_key_env"]),
                ca_pem=_read(options["ca"]) if options["ca"] else "",
            )
        )
        if options["json"]:
            self.stdout.write(json.dumps({"ok": report.ok, **asdict(report)}))
        else:
            self._show(report)
        if not report.ok:
            raise CommandError("The engine cannot be used like this; see above.")

    def _show(self, report: connect.ConnectReport) -> None:
        for step in report.steps:
            self.stdout.write(f"{'ok' if step.ok else 'FAILED':<8}{step.name:<12}{step.detail}")
            if step.mend:
                self.stdout.write(f"{'':<20}{step.mend}")


def _api_key(variable: str) -> str:
    # By name, because everybody on the machine can read a command line.
    if variable and not os.environ.get(variable):
        raise CommandError(f"--api-key-env: the environment variable {variable} is empty or not set")
    return os.environ.get(variable, "") if variable else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"--ca {path}: {error}") from None
