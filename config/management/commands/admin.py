"""`manage.py admin`: admins of the console, and their one-time set-up links."""

from __future__ import annotations

import json
import sys
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from config import admins, embedded, running

BY = "cli"
NOT_RUNNING_URL = "http://localhost:8000"  # what `serve` listens on by default


class Command(BaseCommand):
    help = "Make an admin, or a link with which one chooses a new password."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        create = verbs.add_parser("create", help="A new admin; without a password, with a one-time link.")
        create.add_argument("name", help="The name to sign in with.")
        create.add_argument("--password-stdin", action="store_true", help="Read the password from stdin.")
        link = verbs.add_parser("link", help="A fresh one-time link; it dies on use or after an hour.")
        link.add_argument("name", nargs="?", default=admins.FIRST, help=f"Default: {admins.FIRST}.")
        for verb in (create, link):
            verb.add_argument("--json", action="store_true", help="One JSON object on standard output.")

    def handle(self, *_args: Any, **options: Any) -> None:
        name = options["name"]
        try:
            if options["verb"] == "link":
                self._tell_link(name, as_json=options["json"])
                return
            password = sys.stdin.readline().rstrip("\n") if options["password_stdin"] else None
            admins.create(name, by=BY, password=password)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from None
        if password is None:
            self._tell_link(name, as_json=options["json"])
        else:
            self.stdout.write(json.dumps({"name": name}) if options["json"] else f"Admin {name} may sign in.")

    def _tell_link(self, name: str, *, as_json: bool) -> None:
        there = running.read(embedded.data_dir())
        link = (there.console_url if there else NOT_RUNNING_URL) + admins.link_path(name)
        if as_json:
            self.stdout.write(json.dumps({"name": name, "link": link}))
            return
        self.stdout.write(f"{name} chooses a password here, once, within an hour:\n{link}")
        if there is None:
            self.stderr.write("Fairlane does not run here now: start it first, and mind its host and port.")
