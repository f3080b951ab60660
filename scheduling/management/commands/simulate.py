"""`manage.py simulate`: a workload under a policy, in pretend time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling.core.policy import ADMISSION, FAIRNESS
from scheduling.simulation.metrics import measure
from scheduling.simulation.report import as_json, as_table
from scheduling.simulation.simulate import UNLIMITED, simulate
from scheduling.simulation.workloads import WORKLOADS, Workload, azure


class Command(BaseCommand):
    help = "Play a workload against a simulated engine in pretend time and print who was served how."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--workload", choices=sorted(WORKLOADS), default="flood")
        parser.add_argument(
            "--trace",
            type=Path,
            help="for azure: a CSV file with the columns prompt_tokens and completion_tokens",
        )
        parser.add_argument("--fairness", choices=FAIRNESS, default="token_fair")
        parser.add_argument("--admission", choices=(*ADMISSION, UNLIMITED), default="first_token_window")
        parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same result")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        build = _workload(options["workload"], options["trace"])
        try:
            workload = build(options["seed"])
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        result = measure(simulate(workload, options["fairness"], options["admission"]))
        self.stdout.write(as_json(result, options["seed"]) if options["json"] else as_table(result))


def _workload(name: str, trace: Path | None) -> Callable[[int], Workload]:
    if trace is None:
        return WORKLOADS[name]
    if name != "azure":
        raise CommandError(f"--trace goes with --workload azure, not {name}")
    return functools.partial(azure, trace=trace)
