"""`manage.py experiment`: the article, part by part, in pretend time or on the running product."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from config import embedded, live_experiment
from config.trouble import Trouble
from gateway.experiments.stage import NAME, PREFIX, Busy
from scheduling.simulation.experiments import article, page, text
from scheduling.simulation.experiments.data import as_json
from scheduling.simulation.experiments.experiment import Experiment, Report
from scheduling.simulation.experiments.registry import EXPERIMENTS
from scheduling.simulation.experiments.spread import conduct_all
from scheduling.simulation.experiments.trial import LIVE, SIMULATED, Size

ALL = "all"
ALL_LIVE_SECONDS = 3  # a trial: there are some seventy


class Command(BaseCommand):
    help = "Run a part of the article as an experiment: a table, a plot, and one sentence of what was seen."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("name", choices=[*EXPERIMENTS, ALL], help="which experiment, or all of them")
        add("--live", action="store_true", help="on the running product, with a simulated engine of its own")
        add("--seed", type=int, default=1, help="the same seed gives the same arrivals (default: 1)")
        add("--seeds", type=int, default=1, metavar="N", help="N seeds from --seed on; medians are shown")
        add(
            "--seconds",
            type=int,
            help=f"how long each trial offers traffic (default: {SIMULATED.seconds}; live {LIVE.seconds}, "
            f"or {ALL_LIVE_SECONDS} with all)",
        )
        add(
            "--time-scale",
            type=float,
            help=f"with --live: how much faster than real the engine is (default: {LIVE.time_scale:g})",
        )
        add("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once in pretend time")
        add("--json", action="store_true", help="one JSON object for each experiment, a line each")
        add("--html", type=Path, metavar="FILE", help="write one page with plots")
        add("--write", type=Path, metavar="FILE", help="with all: write all parts as one page of Markdown")

    def handle(self, *_args: Any, **options: Any) -> None:
        size, seeds = _size(options), _seeds(options)
        if options["write"] and options["name"] != ALL:
            raise CommandError("--write goes with all: its table has every part of the article.")
        chosen = list(EXPERIMENTS.values()) if options["name"] == ALL else [EXPERIMENTS[options["name"]]]
        reports = []
        for report in self._reports(chosen, size, seeds, options):
            self.stdout.write(as_json(report) if options["json"] else f"{text.as_text(report)}\n")
            self.stdout.flush()
            reports.append(report)
        self._write(options["html"], page.as_html, reports)
        self._write(options["write"], article.as_markdown, reports)

    def _reports(
        self, chosen: Sequence[Experiment], size: Size, seeds: range, options: dict[str, Any]
    ) -> Iterator[Report]:
        try:
            if not options["live"]:
                jobs = max(1, min(options["jobs"], len(chosen) * len(seeds)))
                yield from conduct_all(chosen, size, seeds, self._tell, jobs)
                return
            data = embedded.data_dir()
            for each in chosen:
                yield live_experiment.run(each, _long_enough(size, each, options), seeds, data, self._tell)
        except (Trouble, Busy, ValueError) as error:
            raise CommandError(str(error)) from None
        except ValidationError as error:
            raise CommandError(_taken(error)) from None
        except DatabaseError as error:
            raise CommandError(_gone(error)) from None

    def _tell(self, line: str) -> None:
        self.stderr.write(line, str)  # progress is no error: not in red

    def _write(
        self, path: Path | None, render: Callable[[Sequence[Report]], str], reports: list[Report]
    ) -> None:
        if path is None:
            return
        try:
            path.write_text(render(reports), encoding="utf-8")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from None
        self._tell(f"wrote {path}")


def _size(options: dict[str, Any]) -> Size:
    if options["time_scale"] is not None and not options["live"]:
        raise CommandError("--time-scale goes with --live: pretend time is as fast as the machine anyway.")
    size = LIVE if options["live"] else SIMULATED
    if options["live"] and options["name"] == ALL:
        size = replace(size, seconds=ALL_LIVE_SECONDS)
    size = replace(
        size,
        seconds=size.seconds if options["seconds"] is None else options["seconds"],
        time_scale=size.time_scale if options["time_scale"] is None else options["time_scale"],
    )
    if size.seconds < 1 or size.time_scale <= 0:
        raise CommandError("--seconds must be at least 1, and --time-scale above 0.")
    return size


def _long_enough(size: Size, experiment: Experiment, options: dict[str, Any]) -> Size:
    """No shorter than shows something, unless a person says how long."""
    if options["seconds"] is not None:
        return size
    return replace(size, seconds=max(size.seconds, experiment.least_live_seconds))


def _seeds(options: dict[str, Any]) -> range:
    if options["seeds"] < 1:
        raise CommandError("--seeds must be at least 1.")
    return range(options["seed"], options["seed"] + options["seeds"])


def _gone(error: DatabaseError) -> str:
    said = " ".join(str(error).split())
    return (
        f"The product went away during the experiment: {said}. Start it again; what the experiment "
        "had made is removed by the next one."
    )


def _taken(error: ValidationError) -> str:
    return (
        f"The experiment's rows cannot be made: {' '.join(error.messages)} It needs the name "
        f"`{NAME}` and names that begin with `{PREFIX}`: rename what has them, then try again."
    )
