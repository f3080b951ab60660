"""`manage.py request`: why a request waits, and what to do about it."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from scheduling import selectors, services

BY = "cli"
VERBS = {
    "explain": ("explain", "Why it waits, where it stands, and for about how much longer."),
    "cancel": ("cancel", "Take it out of line; its client hears that an admin did."),
    "front": ("move_to_front", "Let it go before all others of its pool."),
    "hold": ("hold", "Take it aside until it is released; its deadline still counts."),
    "release": ("release", "Let it stand in line again, behind its user's others."),
}


class Command(BaseCommand):
    help = "Explain or steer one waiting request, by the x-fairlane-request-id that its client was told."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        for verb, (_, what) in VERBS.items():
            one = verbs.add_parser(verb, help=what)
            one.add_argument("request_id", help="Its x-fairlane-request-id.")
            one.add_argument("--json", action="store_true", help="One JSON object on standard output.")

    def handle(self, *args: Any, **options: Any) -> None:
        verb, request_id = options["verb"], options["request_id"]
        result = selectors.command_result(services.send_command(VERBS[verb][0], request_id, by=BY).pk)
        if result is None or not result.pop("done", False):
            raise CommandError(
                f"No gateway has a waiting request {request_id!r}: it may have run or ended by now. "
                "A request is asked for by its x-fairlane-request-id."
            )
        if options["json"]:
            self.stdout.write(json.dumps({"request_id": request_id, "verb": verb, **result}))
        elif verb == "explain":
            self.stdout.write(_sentences(request_id, result))
        else:
            self.stdout.write(f"{request_id}: {verb} done")


def _sentences(request_id: str, told: dict[str, Any]) -> str:
    wait = "nobody can tell yet" if told["wait_s"] is None else f"about {told['wait_s']} s"
    checked = "" if told["error_s"] is None else f" (such estimates were {told['error_s']} s off lately)"
    lines = [f"{request_id} is number {told['position']} in line; to wait: {wait}{checked}"]
    return "\n".join([*lines, *(f"  - {reason['text']}" for reason in told["reasons"])])
