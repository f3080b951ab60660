"""Random histories of every input, refereed step by step."""

from __future__ import annotations

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduling.core.limits import Limit
from tests.unit.scheduling.histories import play, play_outages, play_readings, play_siege, random_policy
from tests.unit.scheduling.machines import CLASSES, ticket
from tests.unit.scheduling.referee import Referee

TENANTS = st.sampled_from(("acme", "beta", "gamma"))
BACKENDS = st.sampled_from(("gpu-0", "gpu-1", "gpu-2"))
SEEDS = st.integers(0, 10_000)


class Histories(RuleBasedStateMachine):
    """All inputs in any order; the referee looks after the invariants."""

    @initialize(seed=SEEDS)
    def begin(self, seed):
        self.count = 0
        self.referee = Referee(random_policy(random.Random(seed), 1))

    # Twice, so that lines form: a queue that is always empty agrees with anything.
    @rule(tenant=TENANTS, user=st.sampled_from("ab"), model=st.sampled_from(("llama", "qwen")))
    def arrive(self, tenant, user, model):
        for _ in range(2):
            self._submit(tenant, user=user, model=model, priority_class="standard")

    @rule(
        tenant=TENANTS,
        cost=st.sampled_from((0, 1, 50, 3000)),
        priority_class=st.sampled_from(tuple(CLASSES)),
        patience_ms=st.sampled_from((None, 0, 40, 4000)),
    )
    def arrive_in_a_class(self, tenant, cost, priority_class, patience_ms):
        deadline_ms = None if patience_ms is None else self.referee.now + patience_ms
        self._submit(tenant, cost=cost, priority_class=priority_class, deadline_ms=deadline_ms)

    @rule(tenant=TENANTS)
    def ask_for_a_whole_answer(self, tenant):
        for _ in range(2):
            self._submit(tenant, streams=False)

    @rule(tenant=TENANTS, avoid=BACKENDS)
    def come_again(self, tenant, avoid):
        self._submit(tenant, attempt=2, avoid=frozenset({avoid}))

    @precondition(lambda self: self.referee.running)
    @rule(data=st.data())
    def say_the_first_token(self, data):
        self.referee.start(data.draw(st.sampled_from(sorted(self.referee.running))))

    @precondition(lambda self: self.referee.running)
    @rule(data=st.data(), cost=st.sampled_from((0, 1, 80, 9000)), refund=st.booleans())
    def end(self, data, cost, refund):
        self.referee.finish(data.draw(st.sampled_from(sorted(self.referee.running))), cost, refund=refund)

    @precondition(lambda self: self.referee.waiting)
    @rule(data=st.data())
    def give_up(self, data):
        self.referee.cancel(data.draw(st.sampled_from(sorted(self.referee.waiting))))

    @precondition(lambda self: self.referee.ended)
    @rule(data=st.data())
    def speak_of_one_that_is_gone(self, data):
        name = data.draw(st.sampled_from(sorted(self.referee.ended)))
        self.referee.start(name)
        self.referee.cancel(name)
        self.referee.finish(name, 7)

    @rule(step_ms=st.sampled_from((1, 50, 999, 5_000, 61_000)))
    def pass_time(self, step_ms):
        self.referee.wait(step_ms)

    @rule(
        name=BACKENDS,
        window=st.integers(0, 3),
        cap=st.integers(0, 6),
        at_s=st.integers(1, 50),
        running=st.none() | st.integers(0, 4),
        age_ms=st.sampled_from((0, 50, 5_000)),
        more=st.fixed_dictionaries(
            {},
            optional={
                "epoch": st.integers(0, 2),
                "grant": st.integers(0, 3),
                "kv_tokens": st.sampled_from((0, 150, 4_000)),
                "capacity": st.integers(0, 5),
                "down": st.booleans(),
            },
        ),
    )
    def read_an_engine(self, name, window, cap, at_s, running, age_ms, more):
        limit = Limit(name, window, cap, "test", read_at_s=at_s, running=running, running_at_s=at_s, **more)
        self.referee.limit(limit, self.referee.now - age_ms)

    @rule()
    def begin_a_period(self):
        self.referee.begin_period()

    @rule(tenant=st.none() | TENANTS)
    def pause_and_pause_again(self, tenant):
        self.referee.pause(tenant)

    @rule()
    def resume_all(self):
        for tenant in (None, "acme", "beta", "gamma"):
            self.referee.resume(tenant)

    @rule(tenant=TENANTS, factor=st.integers(1, 100), for_ms=st.sampled_from((-1, 40, 4_000)))
    def boost(self, tenant, factor, for_ms):
        self.referee.boost(tenant, factor, self.referee.now + for_ms)

    @precondition(lambda self: self.referee.waiting)
    @rule(data=st.data(), what=st.sampled_from(("hold", "release", "move_to_front")))
    def steer(self, data, what):
        getattr(self.referee, what)(data.draw(st.sampled_from(sorted(self.referee.waiting))))

    @rule(tenant=TENANTS, wait_ms=st.sampled_from((-1, 30, 4_000)), most=st.sampled_from((None, 1, 2)))
    def arrive_with_limits_of_its_own(self, tenant, wait_ms, most):
        self._submit(
            tenant,
            not_before_ms=self.referee.now + wait_ms,
            api_token=f"ci-{most}",
            api_token_in_flight=most,
        )

    @precondition(lambda self: self.referee.running)
    @rule(data=st.data(), tokens=st.integers(0, 500))
    def stream(self, data, tokens):
        self.referee.progress(data.draw(st.sampled_from(sorted(self.referee.running))), tokens)

    @rule(name=BACKENDS)
    def hear_that_it_is_full(self, name):
        if name in self.referee.policy.backends:
            self.referee.throttle(name)

    @rule(name=BACKENDS, times=st.sampled_from((1, 3)))
    def reach_nobody(self, name, times):
        for _ in range(times if name in self.referee.policy.backends else 0):
            self.referee.fail(name)

    @rule(seed=SEEDS)
    def change_the_rules(self, seed):
        self.referee.obey(random_policy(random.Random(seed), self.referee.policy.revision + 1))

    def _submit(self, tenant, **fields):
        self.count += 1
        self.referee.submit(ticket(f"r{self.count}", tenant, queued_ms=self.referee.now, **fields))

    def teardown(self):
        if hasattr(self, "referee"):
            self.referee.drain()


def test_whatever_happens_no_limit_is_passed_no_seat_idles_and_no_ticket_is_lost():
    run_state_machine_as_test(
        Histories, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
    )


@pytest.mark.parametrize("seed", range(40))
def test_long_histories_with_long_lines_keep_every_invariant(seed):
    referee = play(seed, steps=200)

    assert len(referee.ended) > 20


@pytest.mark.parametrize("seed", range(20))
def test_readings_free_exactly_those_whom_they_show_at_work(seed):
    assert len(play_readings(seed).ended) > 20


@pytest.mark.parametrize("seed", range(30))
def test_under_siege_every_class_gets_its_part_and_none_takes_over(seed):
    assert len(play_siege(seed).ended) > 60


@pytest.mark.parametrize("seed", range(40))
def test_backends_that_come_and_go_get_one_request_to_try_and_then_a_few(seed):
    assert len(play_outages(seed).ended) > 5
