"""What a usage record says of a request when it begins, or begins anew with another model."""

from __future__ import annotations

from time import time

from gateway.calls import EngineCall
from gateway.heads import trace_id
from gateway.jobs import Job
from gateway.records import Record
from scheduling.core.policy import FREE
from scheduling.core.ticket import Ticket


def new_record(ticket: Ticket, job: Job, clients_id: str) -> Record:
    """The record of a request that is accepted now. ``clients_id`` is what the client calls it, or ""."""
    prompt, completion, terms = ticket.prompt_tokens, ticket.completion_tokens, job.terms
    prices = terms.prices
    record = Record(  # in the order of its columns: a name costs as much as a value
        ticket.request_id,
        time(),
        ticket.tenant,
        terms.model,
        job.priority_class,
        job.endpoint.path,
        job.stream,
        clients_id,
        terms.pool,
        job.user,
        terms.caller.token_id,
        terms.revision,
        terms.cost.of(prompt, completion),
    )
    if prices is not FREE:
        record.spend = prices.spend(prompt, 0, completion)
    if job.headers:
        record.trace_id = trace_id(job.headers)
    return record


def note_estimates(record: Record, ticket: Ticket, job: Job) -> None:
    """What the request may cost: cost tokens, and micro-units of money."""
    prompt, completion, prices = ticket.prompt_tokens, ticket.completion_tokens, job.terms.prices
    record.estimated_tokens = job.terms.cost.of(prompt, completion)
    record.spend = 0 if prices is FREE else prices.spend(prompt, 0, completion)


def new_call(job: Job, request_id: str) -> EngineCall:
    """What is asked of an engine."""
    endpoint = job.endpoint
    return EngineCall(
        request_id,
        endpoint.path,
        (job.body,),
        job.stream,
        job.strip_usage,
        job.headers,
        endpoint.generates,
    )
