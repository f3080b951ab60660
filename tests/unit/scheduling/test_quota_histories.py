"""Every history of reserves, settlements and refunds, beside a recount that was written apart."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduling.core.allowance import MINUTE_US
from scheduling.core.quota import Denied, Quotas, Scope
from tests.unit.scheduling import recount
from tests.unit.scheduling.recount import Asked

PER_MINUTE = 600  # tokens: one in 100 ms
PER_DAY, PER_MONTH = 4_000, 9_000
QUEUED = 12
START_S = 1_709_164_800 - 40  # 40 s before 29 February 2024
HOLDERS = (("tenant", "a"), ("model", "a", "llama"), ("api_token", "7"))
PICK = st.integers(0, 10**6)


class Histories(RuleBasedStateMachine):
    """Requests of one tenant under three holders; the second asks only every other request."""

    refusing: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__()
        self.quotas = Quotas()
        self.now_ms = 0
        self.seen: dict = {key: [] for key in HOLDERS}
        self.open: list = []
        self.never_ran = 0  # tokens
        self.in_line: set = set()

    @property
    def now_s(self) -> int:
        return START_S + self.now_ms // 1000

    def limits(self, key) -> dict[str, int]:
        scale = 1 if key[0] == "tenant" else 2
        limits = {"tokens_per_minute": PER_MINUTE // scale, "tokens_per_day": PER_DAY}
        return {**limits, "tokens_per_month": PER_MONTH, "queued": QUEUED} if scale == 1 else limits

    @rule(ms=st.sampled_from([0, 1, 50, 900, 15_000, 70_000, 40_000_000]))
    def time_passes(self, ms):
        self.now_ms += ms

    @rule(
        tokens=st.integers(1, 300),
        patience_ms=st.sampled_from([1, 5_000, 60_000, 600_000]),
        for_the_model=st.booleans(),
    )
    def a_request_comes(self, tokens, patience_ms, for_the_model):
        keys = HOLDERS if for_the_model else (HOLDERS[0], HOLDERS[2])
        scopes = [Scope(key, self.limits(key), self.refusing) for key in keys]
        before = {key: list(self.seen[key]) for key in HOLDERS}
        deadline_ms = self.now_ms + patience_ms
        holders = self.quotas.holders(scopes)
        verdict = self.quotas.reserve(holders, (tokens, 0), self.now_ms, self.now_s, deadline_ms)
        if isinstance(verdict, Denied):
            self.was_right_to_deny(verdict, tokens, deadline_ms)
            assert self.seen == before
            return
        starts_ms = self.now_ms
        if verdict.not_before_ms is not None:
            assert self.now_ms < verdict.not_before_ms < deadline_ms
            assert not self.refusing, "it was to refuse, not to wait"
            starts_ms = verdict.not_before_ms
        asked = Asked(self.now_ms, self.now_s, starts_ms, tokens)
        waits_ms = max(self.waits_ms(key, tokens) for key in keys)
        assert starts_ms == self.now_ms + ceil(waits_ms)
        for key in keys:
            self.seen[key].append(asked)
        self.open.append((verdict, asked))
        self.in_line.add(id(asked))

    @precondition(lambda self: self.open)
    @rule(which=PICK)
    def one_gets_its_turn(self, which):
        granted, asked = self.open[which % len(self.open)]
        granted.seated(self.now_ms)
        self.in_line.discard(id(asked))

    @precondition(lambda self: self.open)
    @rule(which=PICK, used=st.integers(1, 500))
    def one_was_served(self, which, used):
        granted, asked = self.ended(which)
        granted.settle((used, 0), self.now_ms)
        asked.used = used
        granted.settle((used, 0), self.now_ms)

    @precondition(lambda self: self.open)
    @rule(which=PICK)
    def one_never_ran(self, which):
        granted, asked = self.ended(which)
        granted.give_back()
        granted.give_back()
        self.never_ran += asked.estimate
        for history in self.seen.values():
            history[:] = [one for one in history if one is not asked]

    @rule()
    def idle_accounts_are_forgotten(self):
        self.quotas.forget_idle(self.now_ms, self.now_s)

    def ended(self, which):
        granted, asked = self.open.pop(which % len(self.open))
        asked.ended_ms = self.now_ms
        self.in_line.discard(id(asked))
        return granted, asked

    def waits_ms(self, key, tokens) -> Fraction:
        per_minute = self.limits(key)["tokens_per_minute"]
        over = recount.backlog(self.seen[key], per_minute, self.now_ms) + tokens - per_minute
        return max(Fraction(0), over * recount.MINUTE_MS / per_minute)

    def was_right_to_deny(self, denied, tokens, deadline_ms):
        history = self.seen[denied.key]
        if denied.kind == "queued":
            assert len(self.in_line) >= denied.limit
        elif denied.kind == "tokens_per_minute":
            wait_ms = max(self.waits_ms(key, tokens) for key in HOLDERS)
            assert self.refusing or self.now_ms + ceil(wait_ms) >= deadline_ms
            assert 0 < denied.retry_ms <= ceil(wait_ms)
        else:
            month = denied.kind == "tokens_per_month"
            assert recount.used_in_period(history, self.now_s, month=month) + tokens > denied.limit

    @invariant()
    def nothing_is_left_of_requests_that_never_ran(self):
        for key, history in self.seen.items():
            account = self.quotas._accounts.get(key)
            backlog_us = account.tokens.backlog_us(self.now_ms * 1000) if account else 0
            limit = self.limits(key)["tokens_per_minute"]
            assert backlog_us == recount.backlog(history, limit, self.now_ms) * MINUTE_US / limit
            for kind, month in (("tokens_per_day", False), ("tokens_per_month", True)):
                used = recount.used_in_period(history, self.now_s, month=month)
                assert self.quotas.used(key, kind, self.now_s) == used
            in_line = {id(one) for one in history} & self.in_line
            assert self.quotas.queued(key) == len(in_line)

    @invariant()
    def a_span_of_time_sees_no_more_than_its_allowance_and_the_errors(self):
        for key, history in self.seen.items():
            limit = self.limits(key)["tokens_per_minute"]
            assert recount.worst_excess(history, limit) <= self.excused(history) + 1

    def excused(self, history) -> int:
        """Those who are parked already do not move forward when somebody before them leaves, or uses less."""
        return sum(one.error for one in history) + self.never_ran


class RefusingHistories(Histories):
    """The same with quotas that refuse: then only what was used above its estimate excuses anything."""

    refusing = frozenset({"tokens_per_minute"})

    def excused(self, history) -> int:
        return sum(max(0, one.amount - one.estimate) for one in history)


Histories.TestCase.settings = RefusingHistories.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestWaiting = Histories.TestCase
TestRefusing = RefusingHistories.TestCase
