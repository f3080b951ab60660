"""One accepted request between its acceptance and its one record."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, time

from msgspec.structs import replace

from gateway.answer import JSON_LINE
from gateway.books import OK, Books
from gateway.client import Client
from gateway.endings import how_it_ended
from gateway.engine_errors import EngineFailed, engine_failed
from gateway.errors import CancelledInQueue, NoBackendNow, QueueTimeout, Refused
from gateway.failures import SERVER_ERROR, BackendFailure
from gateway.head_lines import Lines, model_line
from gateway.headers import EVENT_STREAM, JSON, scheduling_headers
from gateway.jobs import Job
from gateway.ledger import Ledger
from gateway.new_record import new_call, new_record, note_estimates
from gateway.relay import Relay, Reply
from scheduling.core.outcome import Outcome
from scheduling.core.policy import FREE
from scheduling.core.quota import NOTHING, Holder
from scheduling.core.ticket import Ticket
from scheduling.core.usage import Usage
from scheduling.dispatchers.base import (
    CancelledByAdmin,
    DeadlinePassed,
    Dispatcher,
    Lease,
    NoBackend,
    Unseated,
)

BLANK = b" "  # JSON may begin with as many as you like
MAX_CONNECT_ATTEMPTS = 3  # an engine that is down did not see the request
MAX_FAILED_ATTEMPTS = 2  # a request that broke one engine may try one more, and no third
FIRST_PAUSE_S = 0.05  # before a busy engine is asked again; doubles
LONGEST_PAUSE_S = 1.0
NEVER_ASKED = frozenset({Outcome.CONNECT_FAIL, Outcome.DNS_FAIL})


class Work:
    """One request and all that happens to it.

    It begins with ``accept``, for which there is no ``__init__``: that takes five times as long as a call.
    ``end``, which is due however it ends, gives it exactly one outcome. ``reply`` is that of the engine.
    """

    # Set where they differ: a request pays for none of the others.
    failure: EngineFailed | None = None
    _busy = _failed = 0

    def accept(self, job: Job, client: Client, books: Books, dispatcher: Dispatcher, ledger: Ledger) -> None:
        """Journal the request. Raises JournalFull, and nothing has happened."""
        self.job = job
        self.client = client
        self._books = books
        self._dispatcher = dispatcher
        self._ledger = ledger
        self._granted = NOTHING
        self._lease: Lease | None = None  # while it holds a seat
        self.reply: Reply | None = None
        request_id, terms = client.request_id, job.terms
        self.usage = Usage(0, 0, 0, True, terms.cost)
        self._turn_ms = now_ms = int(monotonic() * 1000)  # when it has its seat, if it is free at once
        self.ticket = Ticket(  # by place: by name it takes three times as long, and every request has one
            request_id.own, terms.pool, terms.model, terms.caller.tenant, job.user or terms.user,
            job.priority_class, job.prompt_tokens, job.completion_tokens, now_ms, now_ms + job.wait_ms,
            job.stream, terms.api_token, terms.in_flight, job.prefixes, job.kv_completion_tokens,
        )  # fmt: skip
        self.record = record = new_record(self.ticket, job, request_id.clients)
        self._turn_at = record.accepted_at
        accept = books.accept  # as a method it would be looked for in the class first
        accept(record)
        client.record = record
        if job.stream or job.keep_alive:
            client.tell, client.hold_s, client.blank = self._remark, job.hold_s, not job.stream

    def end(self, error: BaseException | None) -> None:
        """The request is over, by this error if by any."""
        self.unseat(error)
        record = self.record
        self._ledger.settle(self._granted, record)
        self.client.tell = None
        if error is None:
            record.outcome, record.status = OK, 200
        else:
            outcome, record.status = how_it_ended(error, self.client, record)
            record.outcome = outcome.value
        if record.spend and not record.cost:
            record.spend = 0  # it was only held
        record.ended_at = time()
        self._books.end(record, self.job.answers)

    def reserve(self, holders: Sequence[Holder]) -> None:
        """Take the request's part of the quotas, or a time at which that comes. Raises as ``Ledger`` does."""
        self._granted = granted = self._ledger.reserve(holders, self.ticket, self.record)
        if granted.not_before_ms is not None:
            self.ticket = replace(self.ticket, not_before_ms=granted.not_before_ms)

    def waited(self) -> None:
        """Its turn comes later than when it came."""
        self._turn_ms, self._turn_at = int(monotonic() * 1000), time()

    def ask(self, lease: Lease, relay: Relay) -> Reply:
        """Have the engine of this seat asked. Raises ConnectFailed.

        The seat is held until ``unseat``: then ``usage`` says what the flow is to be charged. An engine
        that did nothing is not charged for. What a client got before it left is, and so is a prompt
        that an engine has read, unless another model is to be charged for it.
        """
        self._lease = lease
        self._granted.seated(self._turn_ms)
        record = self.record
        record.dispatched_at = self._turn_at
        record.backend = backend = lease.backend
        call = new_call(self.job, record.request_id)
        if (order := lease.engine_order) is not None:
            call = relay.ordered(backend, call, order)
        self.reply = reply = relay.begin(backend, call, self.usage, self.started, self.client)
        return reply

    def sends(self, reply: Reply, relay: Relay) -> bool:
        """Send an answer that is here as a whole and needs no judging, as nearly all do; False for others."""
        body = reply.plain_body
        if body is None:
            return False
        if load := reply.head.load:
            relay.on_load(reply.backend, load)
        self.started()
        return self.client.send_whole(200, JSON_LINE + self.replied(), body)

    def started(self) -> None:
        """The first token passed."""
        record = self.record
        if record.first_token_at is None:
            record.first_token_at = time()
        if self._lease is not None:
            self._lease.started()

    def unseat(self, error: BaseException | None) -> None:
        """Give the seat back, if it has one. An engine that has not finished is told to stop."""
        lease = self._lease
        if lease is None:
            return
        self._lease = None
        if error is not None:
            reply = self.reply
            is_sent = reply is not None and reply.is_sent
            if reply is not None:
                reply.close()
            self._blame(lease, error, is_sent=is_sent)
        self.reply = None  # it knows us
        usage, record, job = self.usage, self.record, self.job
        if usage.estimated and not lease.refund and usage.prompt_tokens == 0:
            usage.prompt_tokens = job.prompt_tokens
        record.prompt_tokens = prompt = usage.prompt_tokens
        record.cached_tokens = cached = usage.cached_tokens
        record.completion_tokens = completion = usage.completion_tokens
        record.estimated = usage.estimated
        if (prices := job.terms.prices) is not FREE or record.spend:
            record.spend = prices.spend(prompt, cached, completion)
        record.cost = lease.leave()

    def _blame(self, lease: Lease, error: BaseException, *, is_sent: bool) -> None:
        """What the seat ended with says of its backend, and of what is to be charged."""
        if isinstance(error, BackendFailure):
            silent = self.record.first_token_at is None
            lease.refund = silent or self.may_fall_back
            if error.busy:
                self._dispatcher.throttle(lease.backend)
            elif silent and error.counts and not self._is_suspect(error):
                self._dispatcher.fail(lease.backend, lease)
        elif isinstance(error, Refused) or not is_sent:
            lease.refund = True

    def replied(self) -> Lines:
        """The engine has begun to answer: the lines that say how the request went so far."""
        job, client, turn_ms = self.job, self.client, self._turn_ms
        terms, queue_ms = job.terms, turn_ms - self.ticket.queued_ms
        went = job.priority_class, terms.revision, queue_ms, int(monotonic() * 1000) - turn_ms
        lines = client.dialect.answer_lines(went, self._granted, client.request_id)
        return lines if terms.model == terms.asked else lines + model_line(terms.model)

    def try_again(self, failure: BackendFailure | Unseated | EngineFailed) -> float:
        """Seconds to wait before the request stands in line again, at its head.

        Raises a Refused when it may not: it did not get a seat, something was sent, it has failed too
        often, or only another model's backends are left. A busy engine is no failure of the request's,
        nor are engines of which none can be reached: it waits until one can, as all others in its line do.
        """
        if isinstance(failure, BackendFailure):
            return self._try_again(failure)
        if isinstance(failure, DeadlinePassed):
            raise self.out_of_reach or QueueTimeout from None
        if isinstance(failure, NoBackend):
            raise self.failure or NoBackendNow from None
        if isinstance(failure, CancelledByAdmin):
            raise CancelledInQueue from None
        raise failure

    def _try_again(self, failure: BackendFailure) -> float:
        self.failure = engine_failed(failure.outcome)
        self.failure.told = failure.told
        if self.client.answered or not failure.retryable or self._should_fall_back:
            raise self.failure
        self.record.first_token_at = None  # of an answer that nobody saw
        avoid, pause_s = self.ticket.avoid, 0.0
        if failure.busy:
            asked_s = failure.retry_after_s or FIRST_PAUSE_S * 2**self._busy
            pause_s = min(asked_s, LONGEST_PAUSE_S)
            self._busy = min(self._busy + 1, 10)
        elif not self._is_out_of_reach(failure):
            self._failed += 1
            most = MAX_CONNECT_ATTEMPTS if failure.outcome in NEVER_ASKED else MAX_FAILED_ATTEMPTS
            if self._failed >= most:
                raise self.failure
            avoid |= {self.record.backend}
        self.usage = Usage(rule=self.job.terms.cost)
        self.ticket = replace(self.ticket, attempt=self.ticket.attempt + 1, avoid=avoid)
        self.record.attempt = self.ticket.attempt
        self.record.dispatched_at = None  # it waits again
        self._granted.requeued()
        return pause_s

    @property
    def out_of_reach(self) -> EngineFailed | None:
        """Why no engine had the request while it waited, if that is what it waited for."""
        failure = self.failure
        return failure if failure and failure.ended in NEVER_ASKED else None

    def _is_out_of_reach(self, failure: BackendFailure) -> bool:
        """The engine did not see the request, and every backend of its model has an open circuit by now."""
        return failure.outcome in NEVER_ASKED and not self._is_served

    @property
    def may_fall_back(self) -> bool:
        """Nothing of an answer was sent, and there is another model to try."""
        return bool(self.job.fallbacks) and not self.client.answered

    @property
    def _should_fall_back(self) -> bool:
        """No backend of the model takes requests now, so standing in its line would only cost time."""
        return self.may_fall_back and not self._is_served

    @property
    def _is_served(self) -> bool:
        """Whether some backend of the model would take requests now."""
        return self._dispatcher.serves(self.ticket.pool, self.ticket.model)

    def fall_back(self, job: Job) -> None:
        """Go on with another model, with nothing held for the first one and nothing charged.

        It has waited already, so it stands at the head of its new line.
        """
        self._ledger.settle(self._granted, self.record)
        self.job = job
        self.usage = Usage(0, 0, 0, True, job.terms.cost)
        self._busy = self._failed = 0
        self.ticket = replace(
            self.ticket,
            pool=job.terms.pool,
            model=job.terms.model,
            prefixes=job.prefixes,
            kv_completion_tokens=job.kv_completion_tokens,
            attempt=self.ticket.attempt + 1,
            not_before_ms=None,
        )
        record = self.record
        record.model, record.pool, record.attempt = self.ticket.model, self.ticket.pool, self.ticket.attempt
        note_estimates(record, self.ticket, job)
        record.dispatched_at = record.first_token_at = None

    def _is_suspect(self, failure: BackendFailure) -> bool:
        """A second engine answers the request with a server error: it is likelier the cause than both are."""
        return failure.status >= SERVER_ERROR and self._failed > 0

    def _remark(self) -> bytes:
        """What keeps a silent client's connection alive; nothing in the middle of an event or of JSON."""
        client, dialect = self.client, self.client.dialect
        reply = self.reply
        if reply is not None and reply.status and not reply.at_boundary:
            return b""
        told = None if reply else self._dispatcher.explain(self.ticket.request_id)
        if not client.began:
            kind = JSON if client.blank else EVENT_STREAM
            client.early = dialect.early_headers(kind, told, client.request_id)
            client.early += scheduling_headers(self.job.priority_class, self.job.terms.revision)
        if client.blank:
            return BLANK
        return dialect.working if told is None else dialect.waiting(told.position, told.wait_ms)
