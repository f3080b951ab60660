"""How the jobs worker signs a batch's requests: a short-lived word in the place of the API token's secret.

It holds the digest of the API token, which is all that is stored of it, and
an end. A gateway checks the signature and then knows the API token as it
knows its own secret's digest: no database, and revoked with it.
"""

from __future__ import annotations

from dataclasses import replace

from django.core import signing

from gateway.callers import Caller, CallerTable
from scheduling.core.policy import Policy

PREFIX = "flb_"
SALT = "fairlane.batches"
LIFE_S = 300.0
CLASS = "batch"


def issue(digest: bytes, now_s: float) -> str:
    """A word for the API token of this digest; it may be used for five minutes."""
    return PREFIX + signing.dumps([digest.hex(), int(now_s + LIFE_S)], salt=SALT)


def admit(word: str, table: CallerTable, policy: Policy) -> Caller | None:
    """The caller that a word stands for, in class batch at best; None when it is not good (any more)."""
    try:
        digest, ends_s = signing.loads(word.removeprefix(PREFIX), salt=SALT)
    except (signing.BadSignature, ValueError):
        return None
    caller = table.by_digest.get(bytes.fromhex(digest))
    if caller is None:
        return None
    ends_s = min(ends_s, caller.expires_at_s or ends_s)
    return replace(caller, class_ceiling=_ceiling(caller, policy), expires_at_s=float(ends_s))


def _ceiling(caller: Caller, policy: Policy) -> str:
    """The class of batches, or the last one where there is none of that name."""
    last = max(policy.classes.values(), key=lambda rule: rule.rank, default=None)
    wanted = policy.classes.get(CLASS, last)
    own = policy.classes.get(caller.class_ceiling)
    if wanted is None or (own is not None and own.rank > wanted.rank):
        return caller.class_ceiling
    return wanted.name
