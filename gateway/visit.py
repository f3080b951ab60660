"""A request of an admitted caller that no engine answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from gateway.callers import Caller
from gateway.client import Client
from gateway.errors import GetOnly, Invalid, PostOnly
from gateway.headers import JSON
from gateway.serve import Gateway
from scheduling.core.policy import Policy, TenantRule

READ = ("GET", "HEAD")
MAX_QUERY_BYTES = 2048
MAX_QUERY_FIELDS = 16
MAX_LIMIT_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of an admitted caller. ``rest`` is the path below its first name, without a slash."""

    gateway: Gateway
    client: Client
    policy: Policy
    caller: Caller
    method: str
    rest: str
    query: bytes
    headers: Mapping[bytes, bytes] = field(repr=False)  # they hold the API token

    def read_only(self) -> None:
        """Raise GetOnly unless the request only reads."""
        if self.method not in READ:
            raise GetOnly

    def post_only(self) -> None:
        """Raise PostOnly unless the request asks for something to be done."""
        if self.method != "POST":
            raise PostOnly

    def asked(self, *names: str) -> dict[str, str]:
        """The fields of the query that are given. Raises Invalid for another name, one twice, or NUL."""
        if len(self.query) > MAX_QUERY_BYTES:
            raise Invalid(f"The query may have at most {MAX_QUERY_BYTES} bytes.")
        try:
            fields = parse_qs(self.query.decode("ascii"), errors="strict", max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise Invalid("The query is not valid: send name=value pairs, percent-encoded.") from None
        for name, values in fields.items():
            if name not in names:
                known = ", ".join(names) or "none"
                raise Invalid(
                    f"The query has an unknown field {name!r}; the fields are: {known}.", param=name
                )
            if len(values) > 1:
                raise Invalid(f"{name} is given twice.", param=name)
            if "\0" in values[0]:  # no text of Postgres may hold one
                raise Invalid(f"{name} may not hold the character U+0000.", param=name)
        return {name: values[0] for name, values in fields.items()}

    @property
    def tenant(self) -> TenantRule:
        """The rules of the caller's tenant."""
        return self.policy.tenants.get(self.caller.tenant) or TenantRule(self.caller.tenant)

    async def say(self, body: bytes, status: int = 200) -> None:
        """Answer with JSON."""
        await self.client.whole(status, [(b"content-type", JSON)], body)


def limit_of(asked: Mapping[str, str], default: int, most: int) -> int:
    """How many items of a list are asked for, by the query's ``limit``. Raises Invalid."""
    text = asked.get("limit", str(default))
    limit = int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_LIMIT_DIGITS else 0
    if not 1 <= limit <= most:
        raise Invalid(f"limit must be a whole number from 1 to {most}.", param="limit")
    return limit
