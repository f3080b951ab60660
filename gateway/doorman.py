"""Who may come in: an Authorization header, or an x-api-key, becomes a Caller, without any I/O."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from gateway.batches import credential
from gateway.callers import Caller, CallerTable
from gateway.errors import Forbidden, Suspended, Unauthenticated
from gateway.tokens import digest, well_formed
from scheduling.core.policy import Policy

BEARER = b"bearer "
SCOPE = "inference"
MAX_CACHED = 50_000  # headers seen since the last swap of the table
MAX_HEADER_BYTES = 512  # of one, which is kept as it came: blanks around an API token make another of it


class Doorman:
    """Admits callers by the table and the policy in force.

    A made-up API token fails its checksum and costs no lookup. Headers that
    were admitted are remembered until the table is swapped, so a revoked
    API token is refused from the swap on; and those of them that may come at
    any time, until the policy is swapped too.
    """

    def __init__(self, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._table = CallerTable()
        self._policy = Policy(revision=0)
        self._seen: dict[bytes, Caller] = {}
        self._welcome: dict[bytes, Caller] = {}

    def admit(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The owner of the API token. Raises Unauthenticated, Forbidden or Suspended."""
        header = headers.get(b"authorization") or b"Bearer " + headers.get(b"x-api-key", b"")
        return self._welcome.get(header) or self._check(header)

    def _check(self, header: bytes) -> Caller:
        caller = self._seen.get(header) or self._look_up(header)
        if caller.expires_at_s is not None and self._now_s() >= caller.expires_at_s:
            raise Unauthenticated("This API token has expired.")
        tenant = self._policy.tenants.get(caller.tenant)
        if tenant is None:
            raise Forbidden("The tenant of this API token is not known here.")
        if tenant.suspended:
            raise Suspended
        if caller.expires_at_s is None:  # then nothing but a swap makes it unwelcome
            self._welcome[header] = caller
        return caller

    def set_callers(self, table: CallerTable) -> None:
        """Swap the table; what was admitted before is looked up anew."""
        self._table = table
        self._seen = {}
        self._welcome = {}

    def set_policy(self, policy: Policy) -> None:
        """Obey these tenants' rules from now on."""
        self._policy = policy
        self._welcome = {}

    def _look_up(self, header: bytes) -> Caller:
        if header[: len(BEARER)].lower() != BEARER or len(header) > MAX_HEADER_BYTES:
            raise Unauthenticated
        secret = header[len(BEARER) :].strip().decode("ascii", "replace")
        caller = self._owner(secret)
        if caller is None:
            raise Unauthenticated
        if SCOPE not in caller.scopes:
            raise Forbidden("This API token is not for inference.")
        if len(self._seen) >= MAX_CACHED:
            self._seen = {}
            self._welcome = {}
        self._seen[header] = caller
        return caller

    def _owner(self, secret: str) -> Caller | None:
        if secret.startswith(credential.PREFIX):
            return credential.admit(secret, self._table, self._policy)
        return self._table.by_digest.get(digest(secret)) if well_formed(secret) else None
