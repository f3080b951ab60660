"""`manage.py apply -f FILE`: make the installation as the file says."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import declarative
from gateway.declarative.files import add_file_arguments, as_json, load, why


class Command(BaseCommand):
    help = "Make tenants, models, aliases, backends, classes, policies and API tokens as a YAML file says."

    def add_arguments(self, parser: CommandParser) -> None:
        add_file_arguments(parser)
        parser.add_argument(
            "--dry-run", action="store_true", help="Print what would change, and change nothing."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            applied = declarative.apply(
                load(options["file"]),
                why=why(options["file"]),
                prune=options["prune"],
                dry_run=options["dry_run"],
            )
        except declarative.BadFile as error:
            raise CommandError(f"{error}\nNothing was changed.") from None
        if options["json"]:
            self.stdout.write(as_json(applied, dry_run=options["dry_run"]))
            return
        for step in applied.steps:
            self.stdout.write(step.line())
        self.stderr.write(_sentence(len(applied.steps), applied.revision, dry_run=options["dry_run"]))


def _sentence(steps: int, revision: int, *, dry_run: bool) -> str:
    if not steps:
        return f"Nothing to change; revision {revision} is as the file says."
    if dry_run:
        return f"{steps} to change; nothing was changed (revision {revision})."
    return f"{steps} changed; revision {revision} is in force."
