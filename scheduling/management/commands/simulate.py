"""`manage.py simulate`: a workload under a policy, in pretend time."""

from __future__ import annotations

import argparse
import contextlib
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling.core.laws import LAWS
from scheduling.core.policy import ENGINE_PRIORITY, FAIRNESS, STALE
from scheduling.simulation.engine.profiles import PROFILES
from scheduling.simulation.metrics import isolation, measure
from scheduling.simulation.page import as_page
from scheduling.simulation.report import as_json, as_text
from scheduling.simulation.scenario import UNLIMITED, Scenario, Workload
from scheduling.simulation.simulate import play
from scheduling.simulation.workloads import WORKLOADS, Overrides, changed, make
from scheduling.simulation.workloads.traces import read_trace


class Command(BaseCommand):
    help = "Play a workload against simulated engines in pretend time and print who was served how."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--list", action="store_true", help="name the workloads, and say what each is")
        add(
            "--workload",
            choices=sorted(WORKLOADS),
            default="flood",
            metavar="NAME",
            help="see --list; by default flood",
        )
        add("--trace", type=Path, help="a CSV or JSONL file of requests, instead of a workload")
        add("--fairness", choices=FAIRNESS, default="token_fair", help="by default token_fair")
        add(
            "--admission",
            choices=(*LAWS, UNLIMITED),
            default="first_token_window",
            help="by default first_token_window; unlimited sends everything to the engines at once",
        )
        add("--seed", type=int, default=1, help="the same seed gives the same result")
        add("--seconds", type=_positive_int, help="how long requests come")
        add("--requests-per-s", type=_positive, help="how many come a second (not with --trace)")
        add("--tenants", type=_positive_int, help="give the requests to so many tenants instead of its own")
        add("--zipf", type=_positive, help="with --tenants: the n-th has a part like 1/n^ZIPF; by default 1")
        add("--engines", type=_positive_int, help="how many engines serve")
        add("--profile", choices=sorted(PROFILES), help="the GPU and model of every engine")
        add("--alone", metavar="TENANT", help="play it again with this tenant only, and compare")
        _add_control(parser)
        add("--json", action="store_true", help="one JSON object instead of text")
        add("--html", type=Path, metavar="FILE", help="also write a page with plots; it needs no network")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["list"]:
            return self._list()
        seed = options["seed"]
        try:
            scenario = _scenario(options)
            run = play(scenario)
            result = measure(run)
            if tenant := options["alone"]:
                alone = measure(play(replace(scenario, workload=scenario.workload.alone(tenant))))
                result = replace(result, isolation=isolation(result, alone, tenant))
            if page := options["html"]:
                page.write_text(as_page(run, result, seed), encoding="utf-8")
        except (OSError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(as_json(run, result, seed) if options["json"] else as_text(result, seed))
        return None

    def _list(self) -> None:
        for name, make_it in WORKLOADS.items():
            self.stdout.write(f"{name:<22} {(make_it.__doc__ or '').splitlines()[0]}")


def _add_control(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--metrics", action="store_true", help="the controller reads the engines, also where no rule asks it")
    add("--no-metrics", action="store_true", help="it never reads them, whatever the rules")
    add(
        "--read-every",
        type=_period,
        default=1000,
        metavar="S",
        help="seconds between two readings; by default 1",
    )
    add(
        "--delay",
        type=_milliseconds,
        default=0,
        metavar="S",
        help="seconds from the gateway to an engine, and as many back; by default 0",
    )
    add("--tpot-target-ms", type=_positive_int, help="milliseconds a token may take on the mean")
    add("--stale", choices=STALE, default="keep", help="what holds when no reading comes any more")
    add(
        "--counts-sent", action="store_true", help="with queue_target: what was sent since the reading counts"
    )
    add(
        "--kv-fill",
        type=_percent,
        default=0,
        metavar="PERCENT",
        help="of the engines' memory that requests may reserve; by default 0: none",
    )
    add(
        "--prefix-slack",
        type=_whole,
        metavar="N",
        help="first tokens that an engine which knows the prompt's beginning may owe more than the others",
    )
    add("--engine-priority", choices=ENGINE_PRIORITY, default="off", help="the engines get our order")


def _scenario(options: dict[str, Any]) -> Scenario:
    workload = _workload(options)
    sends_order = options["engine_priority"] != "off"
    engines = tuple(
        replace(
            spec,
            scheduling_policy="priority" if sends_order else spec.scheduling_policy,
            prefix_cache=spec.prefix_cache or options["prefix_slack"] is not None,
        )
        for spec in workload.engines
    )
    return Scenario(
        replace(workload, engines=engines),
        options["fairness"],
        options["admission"],
        tpot_target_ms=options["tpot_target_ms"],
        reads_engines=_reads(options),
        read_every_ms=options["read_every"],
        delay_ms=options["delay"],
        stale=options["stale"],
        counts_sent=options["counts_sent"],
        kv_fill_percent=options["kv_fill"],
        prefix_slack_requests=options["prefix_slack"],
        engine_priority=options["engine_priority"],
    )


def _reads(options: dict[str, Any]) -> bool | None:
    """None: as workload and rules need it."""
    if options["metrics"] and options["no_metrics"]:
        raise CommandError("--metrics does not go with --no-metrics")
    return False if options["no_metrics"] else options["metrics"] or None


def _workload(options: dict[str, Any]) -> Workload:
    if options["zipf"] and not options["tenants"]:
        raise CommandError("--zipf goes with --tenants: it says how unequal they are")
    names = ("seconds", "requests_per_s", "tenants", "engines", "profile")
    overrides = Overrides(**{name: options[name] for name in names}, zipf=options["zipf"] or 1.0)
    if (trace := options["trace"]) is None:
        return make(options["workload"], options["seed"], overrides)
    if overrides.requests_per_s is not None:
        raise CommandError("--requests-per-s does not go with --trace: a trace has its own times")
    return changed(read_trace(trace, options["seed"], overrides.seconds), options["seed"], overrides)


def _positive(text: str) -> float:
    with contextlib.suppress(ValueError):
        if (value := float(text)) > 0:
            return value
    raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")


def _milliseconds(text: str) -> int:
    """Whole milliseconds from seconds; 0 where that is rounded away."""
    with contextlib.suppress(ValueError):
        if 0 <= (value := float(text)) < inf:
            return round(value * 1000)
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")


def _period(text: str) -> int:
    if period_ms := _milliseconds(text):
        return period_ms
    raise argparse.ArgumentTypeError(f"{text!r} is less than a millisecond")


def _whole(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number")


def _percent(text: str) -> int:
    if text.isdecimal() and int(text) <= 100:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 100")


def _positive_int(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
