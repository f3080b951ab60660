"""How a quota is written down: in files, in the control API and in the audit alike.

``60000`` is the short form. ``{"limit": 60000, "when_exhausted": "refuse"}``
is the long one, for a minute's quota that does not let requests wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError

from scheduling.core.policy import MAX_QUOTA, MINUTE_KINDS, QUOTA_KINDS

Written = int | Mapping[str, Any]

WAIT, REFUSE = "wait", "refuse"
LEAST_QUOTA = 1
FOR_NOBODY = "To let nobody in, suspend the tenant or revoke the API token; for no limit, leave it out."


def read_quota(kind: str, written: Any) -> tuple[int, bool]:
    """Limit, and whether requests wait for it. Raises ValidationError on ``quotas``."""
    if kind not in QUOTA_KINDS:
        raise _problem(f"{kind!r} is no quota. Use one of: {', '.join(QUOTA_KINDS)}.")
    fields = dict(written) if isinstance(written, Mapping) else {"limit": written}
    limit, then = fields.pop("limit", None), fields.pop("when_exhausted", WAIT)
    if fields or then not in (WAIT, REFUSE):
        raise _problem(f"{kind} takes limit, and when_exhausted with {WAIT} or {REFUSE}.")
    if type(limit) is not int or not LEAST_QUOTA <= limit <= MAX_QUOTA:
        numbers = f"a whole number from {LEAST_QUOTA} to {MAX_QUOTA}"
        raise _problem(f"The limit of {kind} is {numbers}, not {limit!r}. {FOR_NOBODY}")
    if "when_exhausted" in (written if isinstance(written, Mapping) else ()) and kind not in MINUTE_KINDS:
        raise _problem(f"when_exhausted is for {' and '.join(MINUTE_KINDS)}; {kind} has no choice.")
    return limit, then == WAIT


def written_quota(limit: int, *, waits: bool) -> Written:
    """The shortest form that says it."""
    return limit if waits else {"limit": limit, "when_exhausted": REFUSE}


def checked_quotas(quotas: Mapping[str, Any]) -> dict[str, Written]:
    """These quotas in their shortest forms. Raises ValidationError on ``quotas``."""
    checked = {}
    for kind, written in quotas.items():
        limit, waits = read_quota(kind, written)
        checked[kind] = written_quota(limit, waits=waits)
    return checked


def limits_of(quotas: Mapping[str, Any]) -> tuple[dict[str, int], frozenset[str]]:
    """Limit by kind, and the kinds that refuse, of quotas in their shortest forms."""
    limits = {
        kind: written if isinstance(written, int) else written["limit"] for kind, written in quotas.items()
    }
    return limits, frozenset(kind for kind, written in quotas.items() if not isinstance(written, int))


def _problem(text: str) -> ValidationError:
    return ValidationError({"quotas": text})
