"""`manage.py export`: the installation as the file that `apply` reads."""

from __future__ import annotations

import json
from typing import Any

import yaml
from django.core.management.base import BaseCommand, CommandParser

from gateway import declarative


class Command(BaseCommand):
    help = (
        "Print tenants, models, aliases, backends, classes, policies and API tokens as YAML. Secrets never."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="JSON instead of YAML.")

    def handle(self, *args: Any, **options: Any) -> None:
        exported = declarative.export()
        if options["json"]:
            text = json.dumps(exported.document, indent=2, default=str)
        else:
            text = yaml.safe_dump(exported.document, sort_keys=False, allow_unicode=True, width=110)
        self.stdout.write(text)
        for missing in exported.left_out:
            self.stderr.write(f"left out: {missing}")
