"""The steps of the declarative file, as a person reads them."""

from __future__ import annotations

from gateway.declarative.plan import plan


def test_the_same_difference_always_reads_the_same() -> None:
    fields = {"weight": 3, "name": "Research", "priority_class": "batch"}
    backwards = dict(reversed(fields.items()))
    lines = {plan({}, {"tenants": {"research": order}})[0].line() for order in (fields, backwards)}

    assert lines == {"+ tenant research: name Research, priority_class batch, weight 3"}
