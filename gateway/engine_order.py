"""Our order of requests in the words of an engine's own scheduler."""

from __future__ import annotations

from scheduling.engines.endpoint import Endpoint

# vLLM sorts by (priority, arrival) with --scheduling-policy priority; SGLang takes the highest first with
# --enable-priority-scheduling, unless --schedule-low-priority-values-first. No other engine reads the field.
LOW_FIRST = {"vllm": True, "sglang": False}
LOWEST, HIGHEST = -(2**63), 2**63 - 1  # engines hold it in an int64


def with_order(body: tuple[bytes, ...], order: int, endpoint: Endpoint) -> tuple[bytes, ...]:
    """The body with the engine's ``priority`` as its first member; as it is when the engine has none.

    ``order`` is low first. The body is a JSON object with at least one
    member, and none of that name: it is never decoded here. A form, for
    which no engine has such a field, stays as it is.
    """
    by_default = LOW_FIRST.get(endpoint.engine)
    if by_default is None or body[0][:1] != b"{":
        return body
    low_first = by_default if endpoint.low_first is None else endpoint.low_first
    priority = max(LOWEST, min(HIGHEST, order if low_first else -order))
    return (b'{"priority":%d,' % priority, body[0][1:], *body[1:])
