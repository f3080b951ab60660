"""`manage.py engine`: one simulated inference engine."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling.simulation.engine.options import add_arguments, from_flags
from scheduling.simulation.engine.run import PortTaken, run


class Command(BaseCommand):
    help = "Run one simulated engine that speaks the OpenAI API and behaves like vLLM. Needs no database."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            run(from_flags(options), self._say)
        except (ValueError, PortTaken, OSError) as error:
            raise CommandError(str(error)) from None

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()
