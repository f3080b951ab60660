"""The console script `fairlane`, the same as `manage.py`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import django
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command, execute_from_command_line

from config import embedded, servers
from config.trouble import Trouble

# These need no database, or see to it themselves.
ALONE = frozenset(
    {"", "backend", "check", "collectstatic", "doctor", "engine", "experiment", "fairness", "findstatic"}
    | {"help", "makemigrations", "serve", "simulate", "test", "version"}
)
ABOUT_TABLES = frozenset({"migrate", "showmigrations", "sqlmigrate"})


def main() -> None:
    """Run the command named on the command line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        run(sys.argv)
    except (Trouble, ImproperlyConfigured) as trouble:
        sys.exit(f"fairlane: {trouble}")
    except KeyboardInterrupt:
        sys.exit(130)


def run(argv: Sequence[str]) -> None:
    """Run a command; with the embedded servers around it when it needs them and nothing runs."""
    command = argv[1] if len(argv) > 1 else ""
    if not needs_database(argv):
        execute_from_command_line(list(argv))
        return
    with servers.for_a_while(embedded.data_dir(), command) as ours_alone:
        if ours_alone and command not in ABOUT_TABLES:
            _migrate()
        execute_from_command_line(list(argv))


def needs_database(argv: Sequence[str]) -> bool:
    """Whether a command line wants PostgreSQL."""
    command = argv[1] if len(argv) > 1 else ""
    asks_for_help = any(word in ("-h", "--help", "--version") for word in argv[1:])
    return command not in ALONE and not asks_for_help


def _migrate() -> None:
    django.setup()
    call_command("migrate", verbosity=0, interactive=False)


if __name__ == "__main__":
    main()
