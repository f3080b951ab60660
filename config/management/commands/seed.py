"""`manage.py seed`: the demo tenants, pool and model, without the engines."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from config import demo
from config.programs import MODEL


class Command(BaseCommand):
    help = f"Make the demo tenants, the pool {demo.POOL} and the model {MODEL}. Safe to repeat."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object on standard output")

    def handle(self, *_args: Any, **options: Any) -> None:
        secret = demo.seed()
        if options["json"]:
            self.stdout.write(json.dumps({"tenant": demo.TENANT, "model": MODEL, "secret": secret}))
            return
        self.stdout.write(
            f"Demo data stand: pool {demo.POOL}, model {MODEL}, tenant {demo.TENANT} and others."
        )
        if secret:
            self.stdout.write(f"An API token of {demo.TENANT}, shown this once:\n{secret}")
        self.stdout.write("Simulated engines come with `serve --demo`.")
