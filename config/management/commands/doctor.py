"""`manage.py doctor`: what is wrong here, and the mend."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config import doctor, embedded
from config.programs import Listen

MARKS = {doctor.OK: "ok    ", doctor.FAILED: "FAILED", doctor.OFF: "off   "}


class Command(BaseCommand):
    help = (
        "Check everything the product needs, and say how to mend what is broken. Exit code 1 if anything is."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="as for serve (default: 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="as for serve (default: 8000)")
        parser.add_argument("--json", action="store_true", help="a JSON list of all checks")

    def handle(self, *_args: Any, **options: Any) -> None:
        listen = Listen(options["host"], options["port"], None)
        checks = []
        for check in doctor.examine(embedded.data_dir(), listen):
            checks.append(check)
            if not options["json"]:
                self.stdout.write(f"{MARKS[check.state]}  {check.name}: {check.detail}")
                if check.mend:
                    self.stdout.write(f"        {check.mend}")
        if options["json"]:
            self.stdout.write(json.dumps([asdict(check) for check in checks], indent=2))
        if any(check.state == doctor.FAILED for check in checks):
            sys.exit(1)
