"""`manage.py diff -f FILE`: does the installation stand as the file says?"""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import declarative
from gateway.declarative.files import add_file_arguments, as_json, load

DRIFT = 2  # exit status


class Command(BaseCommand):
    help = (
        "Print how the installation differs from a YAML file. Exit 0: it does not; 2: it does; 1: an error."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_file_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            applied = declarative.apply(load(options["file"]), prune=options["prune"], dry_run=True)
        except declarative.BadFile as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            self.stdout.write(as_json(applied, dry_run=True))
        else:
            for step in applied.steps:
                self.stdout.write(step.line())
        if applied.steps:
            sys.exit(DRIFT)
