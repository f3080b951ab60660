"""`manage.py serve`: the whole product."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import embedded, launch
from config.programs import Listen
from config.supervisor import Failed
from config.trouble import Trouble


class Command(BaseCommand):
    help = "Start everything: web, Celery workers and beat, embedded PostgreSQL and Valkey, demo engines."
    requires_system_checks: list[str] = []  # the children make them

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        add(
            "--port",
            type=int,
            default=8000,
            help="port of the data plane, and of the console without --split (default: 8000)",
        )
        add("--split", action="store_true", help="give the data plane and the console a process each")
        add("--console-port", type=int, default=8001, help="port of the console with --split (default: 8001)")
        add("--workers", type=int, default=1, metavar="N", help="gateway processes; this release runs one")
        add(
            "--demo",
            action=argparse.BooleanOptionalAction,
            help="run simulated engines and demo tenants (default: with the embedded PostgreSQL, until there "
            "are backends and none of them is the demo's)",
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["workers"] != 1:
            raise CommandError(
                "--workers: several gateway processes would each keep a line of their own, and shares go "
                "wrong. They need the dispatcher in Redis, which is not in this release. Use --workers 1."
            )
        console_port = options["console_port"] if options["split"] else None
        if console_port == options["port"]:
            raise CommandError("--console-port and --port are the same: with --split they must differ.")
        listen = Listen(options["host"], options["port"], console_port)
        try:
            launch.run(launch.Options(listen, options["demo"]), embedded.data_dir())
        except (Trouble, Failed) as error:
            raise CommandError(str(error)) from None
