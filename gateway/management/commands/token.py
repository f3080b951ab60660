"""`manage.py token`: issue and revoke API tokens."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from gateway import selectors, services, tokens
from gateway.hold import written_hold
from gateway.scopes import ADMIN_SCOPES
from scheduling.core.policy import QUOTA_KINDS
from scheduling.services import Conflict, Missing

BY = "cli"
UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class Command(BaseCommand):
    help = "Issue an API token (its secret is printed once), list them, or revoke one."

    def add_arguments(self, parser: CommandParser) -> None:
        verbs = parser.add_subparsers(dest="verb", required=True)
        issue = verbs.add_parser("issue", help="For a tenant, or with --admin for the control API.")
        _add_issue_arguments(issue)
        revoke = verbs.add_parser("revoke", help="Refuse an API token for good, within two seconds.")
        revoke.add_argument("token_id", type=int, help="Its number, as `token list` shows it.")
        listing = verbs.add_parser("list", help="The API tokens in force.")
        listing.add_argument("tenant", nargs="?", default="", help="Only this tenant's.")
        listing.add_argument("--json", action="store_true", help="A JSON list on standard output.")
        verbs.add_parser("new", help="Print a secret for secret_env of a file; nothing is stored.")

    def handle(self, *args: Any, **options: Any) -> None:
        verbs: dict[str, Callable[[dict[str, Any]], None]] = {
            "issue": self._issue,
            "revoke": self._revoke,
            "list": self._list,
            "new": lambda _: self.stdout.write(tokens.generate(tokens.INFERENCE)),
        }
        try:
            verbs[options["verb"]](options)
        except ValidationError as error:
            raise CommandError(
                "\n".join(f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
            ) from None
        except (Missing, Conflict) as error:
            raise CommandError(str(error)) from None

    def _issue(self, options: dict[str, Any]) -> None:
        issued = _issued(options)
        token = issued.token
        if options["json"]:
            self.stdout.write(json.dumps({"id": token.pk, "name": token.name, "secret": issued.secret}))
            return
        if not options["quiet"]:
            self.stderr.write(
                f"API token {token.pk} ({services.target(token)}). The secret is shown only now:"
            )
        self.stdout.write(issued.secret)

    def _revoke(self, options: dict[str, Any]) -> None:
        token = services.revoke_token(options["token_id"], by=BY)
        self.stderr.write(f"API token {token.pk} ({services.target(token)}) is revoked.")

    def _list(self, options: dict[str, Any]) -> None:
        rows = [
            {
                "id": row.pk,
                "owner": str(row.tenant or f"admin {row.admin}"),
                "name": row.name,
                "shown": str(row),
                "scopes": row.scopes,
                "class": str(row.class_ceiling or ""),
                "quotas": row.quotas,
                "models": row.allowed_models,
                "hold_status_s": written_hold(row.hold_status_s),
                "expires_at": row.expires_at.isoformat() if row.expires_at else None,
            }
            for row in selectors.api_tokens(options["tenant"]).filter(revoked_at=None)
        ]
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        for row in rows:
            self.stdout.write(
                f"{row['id']}\t{row['owner']}\t{row['name']}\t{row['shown']}\t{row['expires_at'] or 'no end'}"
            )


def _add_issue_arguments(issue: argparse.ArgumentParser) -> None:
    issue.add_argument("tenant", nargs="?", help="The tenant's slug.")
    issue.add_argument("--admin", metavar="NAME", help="The admin whose name the control API will see.")
    issue.add_argument(
        "--scope",
        action="append",
        default=[],
        help=f"With --admin, repeatable: {', '.join(ADMIN_SCOPES)}.",
    )
    issue.add_argument("--name", default="", help="What the API token is called. Default: cli and the time.")
    issue.add_argument("--class", dest="priority_class", metavar="NAME", help="The best class it may use.")
    issue.add_argument(
        "--quota",
        action="append",
        default=[],
        type=_quota,
        metavar="KIND=LIMIT",
        help=f"A limit of its own, repeatable: {', '.join(QUOTA_KINDS)}.",
    )
    issue.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="A model or alias it may ask for, repeatable. Default: all of them.",
    )
    issue.add_argument(
        "--hold",
        metavar="SECONDS",
        help="How long its waiting streams get no status line. 0: at once; inf: never. "
        "Default: FAIRLANE_HOLD_STATUS_S.",
    )
    issue.add_argument(
        "--expires", type=_end, metavar="90d", help="A span (12h, 90d, 4w) or a moment. Default: no end."
    )
    issue.add_argument("--quiet", action="store_true", help="The secret alone on stdout, nothing else.")
    issue.add_argument("--json", action="store_true", help="One JSON object with the secret in it.")


def _issued(options: dict[str, Any]) -> services.IssuedToken:
    name = options["name"] or f"cli {timezone.now():%Y-%m-%d %H:%M:%S}"
    if bool(options["tenant"]) == bool(options["admin"]):
        raise CommandError("Give a tenant's slug, or --admin NAME, and not both.")
    if options["admin"]:
        if options["priority_class"]:
            raise CommandError("--class is for a tenant's API token; an admin's has none.")
        for option in ("quota", "model", "hold"):
            if options[option]:
                raise CommandError(f"--{option} is for a tenant's API token; an admin's has none.")
        return services.issue_admin_token(
            admin=options["admin"], name=name, scopes=options["scope"], by=BY, expires_at=options["expires"]
        )
    if options["scope"]:
        raise CommandError("--scope goes with --admin; a tenant's API token is for inference only.")
    return services.issue_token(
        tenant=options["tenant"],
        name=name,
        by=BY,
        class_ceiling=options["priority_class"],
        quotas=dict(options["quota"]),
        models=options["model"],
        hold_status_s=options["hold"],
        expires_at=options["expires"],
    )


def _quota(text: str) -> tuple[str, int]:
    kind, _, limit = text.partition("=")
    if kind not in QUOTA_KINDS or not limit.isdecimal():
        raise argparse.ArgumentTypeError(
            f"{text!r} is no quota; write KIND=LIMIT with one of: {', '.join(QUOTA_KINDS)}"
        )
    return kind, int(limit)


def _end(text: str) -> datetime:
    """A span from now, like 90d, or a moment with its time zone."""
    if span := re.fullmatch(r"([1-9]\d{0,4})([hdw])", text):
        return timezone.now() + timedelta(**{UNITS[span[2]]: int(span[1])})
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None or timezone.is_naive(moment):
        raise argparse.ArgumentTypeError(f"{text!r} is no end; write 12h, 90d, 4w or 2027-01-31T12:00:00Z")
    return moment
