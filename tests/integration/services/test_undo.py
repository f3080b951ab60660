"""Taking an edit back, once, and only while its value still stands."""

from __future__ import annotations

import pytest

from scheduling import selectors, services
from tests.integration.services.rules import BY, rules

pytestmark = pytest.mark.django_db

UNDOABLE = {
    "weight": lambda: services.set_weight("chat", 9, by=BY),
    "class": lambda: services.set_class("chat", "batch", by=BY),
    "new quota": lambda: services.set_quota("chat", "queued", 5, by=BY),
    "quota that refuses": lambda: services.set_quota(
        "chat", "tokens_per_minute", {"limit": 5, "when_exhausted": "refuse"}, by=BY
    ),
    "quota of a model": lambda: services.set_quota("chat", "queued", 5, model="qwen", by=BY),
    "prices": lambda: services.set_prices("qwen", {"prompt": 5, "completion": 9}, by=BY),
    "gone quota": lambda: services.set_quota("research", "in_flight", None, by=BY),
    "name": lambda: services.rename_tenant("chat", "C", by=BY),
    "pause": lambda: services.pause_tenant("chat", by=BY),
    "boost": lambda: services.boost_tenant("chat", 3, 30, by=BY),
    "pause of a pool": lambda: services.pause_pool("main", by=BY),
    "cost rule": lambda: services.set_policy("main", by=BY, prompt_weight=2, cached_discount_percent=90),
    "lending": lambda: services.set_priority_class("interactive", by=BY, reserved_seats=2, lent_seats=1),
    "suspension": lambda: services.suspend_tenant("chat", by=BY),
    "policy": lambda: services.set_policy("main", by=BY, window_requests=9, stale="open"),
    "drain": lambda: services.drain_backend("gpu-0", by=BY),
    "max_in_flight": lambda: services.change_backend("gpu-0", by=BY, max_in_flight=2),
    "engine settings": lambda: services.change_backend(
        "gpu-0", by=BY, max_in_flight=4, kv_tokens=9000, poll_every_ms=200, priority_order="low_first"
    ),
    "law": lambda: services.set_policy(
        "main", by=BY, admission="queue_target", counts_sent=True, engine_priority="alone"
    ),
    "fallbacks": lambda: services.set_fallbacks("llama", ["qwen"], by=BY),
    "priority class": lambda: services.set_priority_class("batch", by=BY, max_wait_s=None),
}


@pytest.mark.parametrize("write", UNDOABLE.values(), ids=UNDOABLE.keys())
def test_an_undo_puts_back_what_was_and_can_be_undone_itself(shop, write) -> None:
    before = rules()
    write()
    after, revision = rules(), selectors.revision()
    change = selectors.changes()[0]

    undone = services.undo(change.id, by="admin:bob")

    assert rules() == before != after
    assert selectors.revision() == revision + 1
    change.refresh_from_db()
    assert (undone.verb, undone.by, change.undone_by) == ("undo", "admin:bob", undone)
    services.undo(undone.id, by=BY)
    assert rules() == after


def test_an_undo_is_refused_when_the_value_has_changed_since(shop) -> None:
    services.set_weight("chat", 9, by=BY)
    change = selectors.changes()[0]
    services.set_weight("chat", 10, by=BY)

    with pytest.raises(services.Conflict, match=r"weight of tenant chat is 10 by now, no longer 9"):
        services.undo(change.id, by=BY)

    assert selectors.policy().tenants["chat"].weight == 10


def test_a_change_is_undone_only_once(shop) -> None:
    services.set_weight("chat", 9, by=BY)
    change = selectors.changes()[0]
    services.undo(change.id, by=BY)
    with pytest.raises(services.Conflict, match="undone already"):
        services.undo(change.id, by=BY)


@pytest.mark.parametrize(
    "write",
    [
        lambda: services.create_tenant("lab", by=BY),
        lambda: services.delete_tenant("chat", by=BY),
        lambda: services.change_backend("gpu-0", by=BY, url="http://other:1"),
    ],
)
def test_what_cannot_be_taken_back_says_so(shop, write) -> None:
    write()
    change = selectors.changes()[0]
    assert not services.reversible(change)
    with pytest.raises(services.Conflict, match="cannot be undone"):
        services.undo(change.id, by=BY)
