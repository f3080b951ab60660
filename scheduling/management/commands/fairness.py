"""`manage.py fairness`: the VTC workloads inside an engine, beside the published figures, and through us."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling.simulation.vtc import compare, page
from scheduling.simulation.vtc.arena import find_trace
from scheduling.simulation.vtc.runs import measure_all
from scheduling.simulation.vtc.workloads import WORKLOADS


class Command(BaseCommand):
    help = "Play the published fairness workloads and print our figures beside the published ones."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--workload", action="append", choices=WORKLOADS, help="only this; may be repeated"
        )
        parser.add_argument(
            "--seeds",
            type=int,
            default=10,
            help="seeds of each, from 42 on, which is the artifact's own (default: 10)",
        )
        parser.add_argument(
            "--trace", type=Path, help="the arena's CSV; else one in the folder FAIRLANE_TRACES, else drawn"
        )
        parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
        parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
        parser.add_argument("--write", type=Path, help="write the whole page as well: docs/fairness.md")

    def handle(self, *args: Any, **options: Any) -> None:
        names, seeds = options["workload"] or list(WORKLOADS), options["seeds"]
        if seeds < 1 or options["jobs"] < 1:
            raise CommandError("--seeds and --jobs must be at least 1")
        if options["write"] and options["workload"]:
            raise CommandError("--write is for the whole page: leave out --workload")
        trace = options["trace"] or find_trace()
        try:
            measured = measure_all(compare.plan(names, seeds, trace), options["jobs"])
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        found, rows = compare.compared(measured), compare.rows(measured)
        if options["write"]:
            text = page.document(found, rows, seeds=seeds, traced=trace is not None)
            options["write"].write_text(text, encoding="utf-8")
        self.stdout.write(_as_json(found, rows) if options["json"] else page.tables(found, rows))


def _as_json(found: list[compare.Compared], rows: list[compare.Row]) -> str:
    return json.dumps(
        {
            "published": [{**asdict(one), "deviation": one.deviation} for one in found],
            "schedulers": [asdict(row) for row in rows],
            "bars": [asdict(bar) for bar in compare.bars(rows)],
        }
    )
