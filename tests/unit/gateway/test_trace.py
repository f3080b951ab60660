"""W3C Trace Context: what of it an engine is told."""

from __future__ import annotations

import pytest

from gateway.heads import Said

TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        ({b"traceparent": TRACE}, {b"traceparent": TRACE}),
        ({b"traceparent": TRACE, b"tracestate": b"a=1"}, {b"traceparent": TRACE, b"tracestate": b"a=1"}),
        ({b"traceparent": TRACE, b"tracestate": b"a" * 513}, {b"traceparent": TRACE}),
        ({b"traceparent": b"01" + TRACE[2:] + b"-more"}, {b"traceparent": b"01" + TRACE[2:] + b"-more"}),
        ({b"tracestate": b"a=1"}, {}),
        ({b"traceparent": TRACE + b"-more"}, {}),
        ({b"traceparent": b"ff" + TRACE[2:]}, {}),
        ({b"traceparent": TRACE.upper()}, {}),
        ({b"traceparent": TRACE.replace(b"4bf92f3577b34da6a3ce929d0e0e4736", b"0" * 32)}, {}),
        ({b"traceparent": TRACE + b" x"}, {}),
    ],
)
def test_the_clients_trace_goes_on_to_the_engine_if_it_is_one(said, passed):
    assert dict(Said.by(said).trace) == passed
