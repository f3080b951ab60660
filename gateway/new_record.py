"""What a usage record says of a request when it begins, or begins anew with another model."""

from __future__ import annotations

from time import time

from gateway.callers import Caller
from gateway.calls import EngineCall
from gateway.jobs import Job
from gateway.records import Record
from scheduling.core.ticket import Ticket


def new_record(ticket: Ticket, job: Job, caller: Caller, clients_id: str) -> Record:
    """The record of a request that is accepted now. ``clients_id`` is what the client calls it, or ""."""
    now_s = time()
    estimated_tokens, spend = estimates(ticket, job)
    return Record(
        request_id=ticket.request_id,
        accepted_at=now_s,
        client_request_id=clients_id,
        queued_at=now_s,
        tenant=caller.tenant,
        user_hash="" if job.user_is_token else job.user,
        api_token_id=caller.token_id,
        model=job.model,
        pool=job.pool,
        priority_class=job.priority_class,
        endpoint=job.endpoint.path,
        stream=job.stream,
        policy_revision=job.revision,
        estimated_tokens=estimated_tokens,
        spend=spend,
    )


def estimates(ticket: Ticket, job: Job) -> tuple[int, int]:
    """What the request may cost: cost tokens, and micro-units of money."""
    prompt, completion = ticket.prompt_tokens, ticket.completion_tokens
    return job.cost.of(prompt, completion), job.prices.spend(prompt, 0, completion)


def new_call(job: Job, request_id: str) -> EngineCall:
    """What is asked of an engine."""
    return EngineCall(
        request_id=request_id,
        path=job.endpoint.path,
        body=(job.body,),
        stream=job.stream,
        strip_usage=job.strip_usage,
        headers=job.headers,
        measures_tokens=job.endpoint.generates,
    )
