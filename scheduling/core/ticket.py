"""A request's place in line."""

from __future__ import annotations

import msgspec


class Ticket(msgspec.Struct, gc=False):
    """What the machine needs to know of a request; no text, no socket.

    Times are integer milliseconds of a monotonic clock. ``attempt`` above 1
    puts the ticket back at the head of its flow: it has waited already.
    """

    request_id: str
    pool: str
    model: str
    tenant: str
    user: str
    priority_class: str
    prompt_tokens: int  # estimate at arrival
    completion_tokens: int  # estimate at arrival
    queued_ms: int
    deadline_ms: int | None = None
    streams: bool = True  # False: nothing is heard of it until its whole answer comes
    api_token: str = ""  # whose requests in flight are bounded together by api_token_in_flight
    api_token_in_flight: int | None = None
    # Hashes of the prompt's beginnings, shortest first: the same numbers, the same text of the same tenant.
    prefixes: tuple[int, ...] = ()
    kv_completion_tokens: int = 0  # that its answer reserves of an engine's memory; 0: completion_tokens
    attempt: int = 1
    avoid: frozenset[str] = frozenset()  # backends that failed this request already
    not_before_ms: int | None = None  # its quota's allowance comes then: parked until that time

    @property
    def path(self) -> tuple[str, ...]:
        """The names that share service, from the outermost in: whose turn it is, then whose inside it."""
        return (self.tenant, self.user)
