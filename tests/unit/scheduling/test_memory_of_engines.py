"""Requests in flight reserve the engine's KV memory; who finds none waits, and nobody passes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduling.core.limits import Limit
from scheduling.core.scheduler import Scheduler
from tests.unit.scheduling.machines import CLASSES, POOL, backend, dispatched, policy, ticket


def memory(kv_tokens: int | None, name: str = "gpu-0", at_s: float = 1.0, **fields) -> Limit:
    return Limit(name, 9, 9, "read", 0, at_s, kv_tokens=kv_tokens, **fields)


def machine(kv_tokens: int | None = 1_000, fairness: str = "fifo", **fields) -> Scheduler:
    made = Scheduler(POOL, policy(fairness, seats=9, **fields))
    made.set_limit(memory(kv_tokens), 0)
    return made


def ask(made: Scheduler, name: str, prompt: int, answer: int = 0, **fields) -> list[str]:
    return dispatched(made.submit(ticket(name, cost=prompt, completion_tokens=answer, **fields), 0))


def test_the_prompt_and_the_expected_answer_are_reserved_until_the_end():
    made = machine()
    assert ask(made, "acme-0", 300, 200) == ["acme-0"]
    assert ask(made, "acme-1", 400, 100) == ["acme-1"]
    assert ask(made, "acme-2", 1) == []
    view = made.view(0).backends[0]
    assert (view.reserved_kv_tokens, view.kv_tokens) == (1_000, 1_000)

    assert dispatched(made.finish("acme-0", 100, 0)) == ["acme-2"]
    assert made.view(0).backends[0].reserved_kv_tokens == 501


def test_what_is_reserved_may_be_less_than_the_answer_that_is_charged():
    made = machine()
    ask(made, "acme-0", 300, 200, kv_completion_tokens=50)

    assert made.view(0).backends[0].reserved_kv_tokens == 350
    made.progress("acme-0", 34, 0)
    assert made.view(0).backends[0].reserved_kv_tokens == 350
    made.progress("acme-0", 35, 0)
    assert made.view(0).backends[0].reserved_kv_tokens == 351


def test_without_a_known_size_nothing_is_held_back():
    made = machine(None)

    assert [ask(made, f"acme-{n}", 9_000) for n in range(3)] == [["acme-0"], ["acme-1"], ["acme-2"]]


def test_an_idle_engine_takes_a_request_larger_than_its_memory():
    made = machine()

    assert ask(made, "acme-0", 5_000) == ["acme-0"]
    assert ask(made, "acme-1", 1) == []
    assert dispatched(made.finish("acme-0", 100, 0)) == ["acme-1"]


@pytest.mark.parametrize("fairness", ["fifo", "token_fair"])
def test_a_large_request_whose_turn_it_is_is_passed_by_no_small_one(fairness):
    made = machine(fairness=fairness)
    ask(made, "acme-0", 600)
    ask(made, "acme-1", 300)
    ask(made, "beta-0", 500)
    for n in range(3):
        assert ask(made, f"beta-{n + 1}", 10) == []

    assert dispatched(made.finish("acme-1", 100, 0)) == []
    assert dispatched(made.finish("acme-0", 100, 0)) == ["beta-0", "beta-1", "beta-2", "beta-3"]


def test_a_small_request_that_comes_to_the_head_goes_although_a_large_one_waits():
    made = machine(fairness="token_fair")
    ask(made, "acme-0", 700)
    ask(made, "acme-1", 500)

    assert ask(made, "beta-0", 100) == ["beta-0"]


def test_it_waits_where_it_is_the_only_one_without_memory_and_goes_elsewhere_if_it_can():
    made = Scheduler(POOL, policy("fifo", backends=[backend("gpu-0", 9), backend("gpu-1", 9)]))
    made.set_limit(memory(100, "gpu-0"), 0)
    made.set_limit(memory(1_000, "gpu-1"), 0)
    ask(made, "acme-0", 50)
    ask(made, "acme-1", 50)

    (event,) = made.submit(ticket("acme-2", cost=900), 0)
    assert event.backend == "gpu-1"


def test_other_models_do_not_pass_it_on_its_own_backends_and_go_on_elsewhere():
    backends = [backend("gpu-0", 9, ("llama", "qwen")), backend("gpu-1", 9, ("qwen",))]
    made = Scheduler(POOL, policy("fifo", backends=backends))
    made.set_limit(memory(1_000, "gpu-0"), 0)
    ask(made, "acme-0", 600)
    ask(made, "acme-1", 500)

    events = [made.submit(ticket(f"beta-{n}", cost=10, model="qwen"), 0)[0] for n in range(3)]
    assert [event.backend for event in events] == ["gpu-1"] * 3


def test_a_worse_class_does_not_pass_it_and_a_better_one_does():
    made = machine(classes=CLASSES)
    ask(made, "acme-0", 600, priority_class="interactive")
    ask(made, "acme-1", 500)

    assert ask(made, "beta-0", 10, priority_class="batch") == []
    assert ask(made, "vip-0", 10, priority_class="interactive") == ["vip-0"]


def test_nobody_passes_it_although_others_of_its_api_token_wait_to_go_instead():
    made, of_ci = machine(), {"api_token": "ci", "api_token_in_flight": 2}
    ask(made, "acme-0", 400, **of_ci)
    assert ask(made, "acme-1", 900, **of_ci) == []
    assert ask(made, "beta-0", 50) == []

    assert ask(made, "acme-2", 1, **of_ci) == []


def test_an_aged_request_without_memory_keeps_its_backend_from_better_classes():
    classes = {**CLASSES, "batch": replace(CLASSES["batch"], max_wait_ms=50)}
    made = machine(classes=classes)
    ask(made, "vip-0", 600, priority_class="interactive")
    ask(made, "acme-0", 900, priority_class="batch")
    made.expire(60)
    ask(made, "vip-1", 10, priority_class="interactive")

    assert made.explain("vip-1", 60).reasons[0].code == "backends_kept"
    assert dispatched(made.finish("vip-0", 100, 60)) == ["acme-0", "vip-1"]


def test_an_aged_request_keeps_no_backend_that_owes_it_no_promotion():
    classes = {**CLASSES, "batch": replace(CLASSES["batch"], max_wait_ms=50)}
    backends = [backend("gpu-0", 9), backend("gpu-1", 9)]
    made = Scheduler(POOL, policy("fifo", backends=backends, classes=classes))
    made.set_limit(memory(10_000, "gpu-0"), 0)
    made.set_limit(memory(1_000, "gpu-1"), 0)
    made.submit(ticket("plug-0", cost=600, attempt=2, avoid=frozenset({"gpu-0"})), 0)
    made.pause(None, 0)
    ask(made, "small-0", 10, priority_class="batch")
    ask(made, "large-0", 900, priority_class="batch")
    ask(made, "vip-0", 10, priority_class="interactive")

    # small-0 was promoted at gpu-0, and large-0 finds no memory at gpu-1
    assert dispatched(made.resume(None, 60)) == ["small-0", "vip-0", "large-0"]


def test_whoever_comes_after_a_promotion_and_finds_no_memory_any_more_waits():
    made = machine(classes={**CLASSES, "batch": replace(CLASSES["batch"], max_wait_ms=50)})
    ask(made, "vip-0", 600, priority_class="interactive")
    made.pause(None, 0)
    ask(made, "aged-0", 20, priority_class="batch")
    ask(made, "vip-1", 390, priority_class="interactive")

    assert dispatched(made.resume(None, 60)) == ["aged-0"]
    assert dispatched(made.finish("vip-0", 100, 60)) == ["vip-1"]


def test_where_an_aged_request_waits_for_memory_others_go_to_the_next_best_backend():
    classes = {**CLASSES, "batch": replace(CLASSES["batch"], max_wait_ms=50)}
    backends = [backend("gpu-0", 9, ("llama", "qwen")), backend("gpu-1", 9)]
    made = Scheduler(POOL, policy("fifo", backends=backends, classes=classes))
    made.set_limit(memory(1_000, "gpu-0"), 0)
    ask(made, "plug-0", 600, model="qwen")
    for n in (1, 2):
        ask(made, f"plug-{n}", 10, attempt=2, avoid=frozenset({"gpu-0"}))
    made.pause(None, 0)
    ask(made, "aged-0", 900, model="qwen", priority_class="batch")
    ask(made, "vip-0", 10, priority_class="interactive")

    (_, seated) = made.resume(None, 60)
    assert (seated.ticket.request_id, seated.backend) == ("vip-0", "gpu-1")


def test_a_request_at_the_front_without_memory_is_passed_by_nobody():
    made = machine()
    ask(made, "acme-0", 600)
    ask(made, "acme-1", 500)
    ask(made, "beta-0", 10)
    made.move_to_front("acme-1", 0)

    assert ask(made, "beta-1", 10) == []
    assert dispatched(made.finish("acme-0", 100, 0)) == ["acme-1", "beta-0", "beta-1"]


def test_whoever_is_at_the_front_waits_behind_the_one_that_was_moved_there_before():
    made = machine()
    ask(made, "acme-0", 600)
    made.pause(None, 0)
    ask(made, "acme-1", 500)
    ask(made, "acme-2", 10)
    for n in (1, 2):
        made.move_to_front(f"acme-{n}", 0)

    assert dispatched(made.resume(None, 0)) == []
    assert dispatched(made.finish("acme-0", 100, 0)) == ["acme-1", "acme-2"]


def test_a_request_at_the_front_goes_to_no_full_backend():
    made = Scheduler(POOL, policy("fifo", backends=[backend("gpu-0", 1), backend("gpu-1", 9)]))
    for name in ("gpu-0", "gpu-1"):
        made.set_limit(memory(1_000, name), 0)
    made.pause(None, 0)
    for n in range(4):
        ask(made, f"acme-{n}", 10)
        made.move_to_front(f"acme-{n}", 0)

    seats = [event.backend for event in made.resume(None, 0)[1:]]
    assert seats == ["gpu-0", "gpu-1", "gpu-1", "gpu-1"]


def test_an_answer_longer_than_was_thought_reserves_more():
    made = machine()
    ask(made, "acme-0", 300, 100)
    made.progress("acme-0", 84, 0)
    assert made.view(0).backends[0].reserved_kv_tokens == 400
    made.progress("acme-0", 85, 0)
    assert made.view(0).backends[0].reserved_kv_tokens == 401
    made.progress("acme-0", 400, 0)
    ask(made, "acme-1", 285)

    assert made.view(0).backends[0].reserved_kv_tokens == 716
    made.finish("acme-0", 100, 0)
    assert made.view(0).backends[0].reserved_kv_tokens == 285


@pytest.mark.parametrize(("kv_tokens", "heeds"), [(None, False), (10, True)])
def test_progress_matters_where_memory_is_reserved(kv_tokens, heeds):
    assert machine(kv_tokens).charges_as_it_streams == heeds


def test_memory_of_one_backend_is_enough_for_progress_to_matter_until_its_engine_schedules_alone():
    rules = policy(backends=[backend("gpu-0", 9), backend("gpu-1", 9)])
    made = Scheduler(POOL, rules)
    made.set_limit(memory(10, "gpu-1"), 0)
    assert made.charges_as_it_streams

    alone = replace(rules.pools[POOL], engine_priority="alone")
    made.set_policy(replace(rules, pools={POOL: alone}, revision=2), 0)

    assert not made.charges_as_it_streams


def test_who_waits_for_memory_is_told_how_much_is_reserved():
    made = machine()
    ask(made, "acme-0", 600)
    ask(made, "acme-1", 500, 20)

    assert made.explain("acme-1", 0).reasons[0].code == "backend_kv"
    assert (
        made.explain("acme-1", 0).reasons[0].text
        == "backend gpu-0 has 600 of 1000 tokens of memory reserved; this request may need 520"
    )


def test_more_memory_by_a_newer_limit_lets_the_next_go_at_once():
    made = machine()
    ask(made, "acme-0", 600)
    ask(made, "acme-1", 500)

    assert dispatched(made.set_limit(memory(1_100, at_s=2.0), 0)) == ["acme-1"]


def test_room_at_one_backend_frees_the_others_that_were_kept():
    made = Scheduler(POOL, policy("fifo", backends=[backend("gpu-0", 2), backend("gpu-1", 9)]))
    for name in ("gpu-0", "gpu-1"):
        made.set_limit(memory(1_000, name), 0)
    for n in range(4):
        ask(made, f"acme-{n}", 400)
    ask(made, "acme-4", 600)
    ask(made, "acme-5", 100)
    assert [gate.in_flight for gate in made.view(0).backends] == [2, 2]

    assert dispatched(made.finish("acme-0", 100, 0)) == ["acme-4", "acme-5"]
    assert [gate.in_flight for gate in made.view(0).backends] == [2, 3]


def test_who_went_in_before_the_size_was_known_counts_once_it_is():
    made = machine(None, "vtc")
    assert ask(made, "acme-0", 500) == ["acme-0"]
    made.progress("acme-0", 84, 0)  # and 16 ahead of that: 600
    made.set_limit(memory(1_000, at_s=2.0), 0)

    assert ask(made, "acme-1", 401) == []
    assert ask(made, "beta-0", 400) == []  # nobody passes it
    assert made.view(0).backends[0].reserved_kv_tokens == 600
    assert dispatched(made.cancel("acme-1", 0)) == ["beta-0"]
