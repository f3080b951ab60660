"""The body of a request, read: what it asks for, what it may cost, and the bytes for the engine.

Only the members that matter here are decoded; every other value is passed
on byte for byte. The engine gets exactly the members that were read here,
each name once, so the two cannot understand one body differently. Nothing
here waits or does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

from gateway.callers import Caller
from gateway.ceilings import USUAL, Ceilings
from gateway.classes import choose_class
from gateway.endpoints import Endpoint
from gateway.errors import Invalid, ModelNotAllowed, ModelNotFound
from gateway.headers import BLANKS, HOLD, KEEP_ALIVE, hold_s, patience_ms
from gateway.members import (
    Members,
    ask_for_usage,
    check,
    flag,
    for_the_engine,
    passed_headers,
    prompt_tokens,
    read,
    read_count,
    read_length,
    read_members,
    read_model,
    read_user,
    text,
    whole,
)
from gateway.model_routes import Spread, place_of, resolve
from gateway.prefixes import prefixes
from scheduling.core.policy import FREE, Policy, PoolRule, Prices
from scheduling.core.prediction import Estimates
from scheduling.core.usage import DEFAULT_COST, CostRule

MAX_USER_CHARS = 512
MAX_PATIENCE_MS = 24 * 3_600_000
USER_DIGEST_BYTES = 12


class Job(msgspec.Struct, frozen=True):
    """A request that was read and may stand in line. It holds no text but the engine's body.

    ``model`` is to serve it, ``asked`` is the name in the request, and
    ``fallbacks`` may serve it, in order, when no backend of ``model`` can.
    """

    endpoint: Endpoint
    model: str
    pool: str
    user: str  # never the client's own words: a digest, or the API token's number
    priority_class: str
    prompt_tokens: int  # estimate
    completion_tokens: int  # estimate, over all choices
    body: bytes
    stream: bool
    strip_usage: bool  # the client did not ask for the usage event that we asked for
    wait_ms: int  # at most this long in line: the knob, or the client's own timeout when shorter
    user_is_token: bool  # the client named no user
    revision: int  # of the policy it was read under
    prices: Prices = FREE
    cost: CostRule = DEFAULT_COST  # of its pool
    patience_ms: int | None = None  # the client's own deadline, from acceptance on
    asked: str = ""
    fallbacks: tuple[str, ...] = ()
    prefixes: tuple[int, ...] = ()  # names of the prompt's beginnings, where the pool goes by them
    kv_completion_tokens: int = 0  # what the answer reserves of an engine's memory, over all choices
    headers: tuple[tuple[bytes, bytes], ...] = ()  # for the engine
    keep_alive: bool = False  # it is no stream, and its client wants to see blanks while it waits
    hold_s: float | None = None  # for how long the client lets the status line be held back for that


class Parser:
    """Body bytes to Job. ``salt`` keys the digest of user ids."""

    def __init__(
        self, salt: bytes, estimates: Estimates, queue_timeout_s: float, ceilings: Ceilings = USUAL
    ) -> None:
        self._salt = salt[:64]
        self._estimates = estimates
        self._queue_timeout_ms = int(queue_timeout_s * 1000)
        self._spread = Spread()
        self._ceilings = ceilings

    def parse(
        self, endpoint: Endpoint, headers: Mapping[bytes, bytes], body: bytes, caller: Caller, policy: Policy
    ) -> Job:
        """The job. Raises Invalid (naming the field) or ModelNotFound."""
        members = self._members(body)
        asked = read_model(members)
        if endpoint.needs or endpoint.forbids:
            check(endpoint, members)
        user = self._user(endpoint, headers, members, caller.tenant)
        model, fallbacks = self._routed(asked, user, policy) if asked in policy.routes else (asked, ())
        pool = _placed(members, model, asked, caller, policy)
        rule = policy.pools.get(pool) or PoolRule(pool)
        stream = endpoint.generates and bool(read(members, "stream", flag, "true or false"))
        patience = _patience_ms(headers, members)
        completion_tokens, kv_tokens = self._forecasts(endpoint, members, caller.tenant, model, pool)
        return Job(
            endpoint=endpoint,
            model=model,
            pool=pool,
            user=user or f"token-{caller.token_id}",
            priority_class=_class_of(members, headers, caller, policy),
            prompt_tokens=prompt_tokens(endpoint, members),
            completion_tokens=completion_tokens,
            strip_usage=stream and endpoint.asks_usage and ask_for_usage(members),
            body=for_the_engine(endpoint, members),
            stream=stream,
            wait_ms=min(self._queue_timeout_ms, patience or self._queue_timeout_ms),
            patience_ms=patience,
            user_is_token=not user,
            revision=policy.revision,
            prices=policy.prices.get(model, FREE),
            cost=rule.cost,
            asked=asked,
            fallbacks=fallbacks,
            prefixes=self._prefixes(endpoint, members, caller.tenant, model, rule),
            kv_completion_tokens=kv_tokens,
            headers=passed_headers(endpoint, headers) if endpoint.passes else (),
            keep_alive=not stream and headers.get(KEEP_ALIVE) == BLANKS,
            hold_s=hold_s(headers) if HOLD in headers else None,
        )

    def fall_back(self, job: Job, tenant: str, policy: Policy) -> Job:
        """The same request for the first of its fallbacks, under that model's rules."""
        model = job.fallbacks[0]
        pool = policy.models[model]
        rule = policy.pools.get(pool) or PoolRule(pool)
        members, endpoint = read_members(job.body), job.endpoint
        members["model"] = msgspec.Raw(msgspec.json.encode(model))
        _, kv_tokens = self._forecasts(endpoint, members, tenant, model, pool)
        return msgspec.structs.replace(
            job,
            model=model,
            pool=pool,
            body=msgspec.json.encode(members),
            prices=policy.prices.get(model, FREE),
            cost=rule.cost,
            fallbacks=job.fallbacks[1:],
            prefixes=self._prefixes(endpoint, members, tenant, model, rule),
            kv_completion_tokens=kv_tokens,
        )

    def _members(self, body: bytes) -> Members:
        self._ceilings.count(body)
        members = read_members(body)
        self._ceilings.check(body, members)
        return members

    def _routed(self, asked: str, user: str, policy: Policy) -> tuple[str, tuple[str, ...]]:
        """The model of this user or, if there is none, of this request, and the models after it."""
        place = place_of(asked, user) if user else self._spread.next()
        return resolve(policy, asked, place)

    def _prefixes(
        self, endpoint: Endpoint, members: Members, tenant: str, model: str, rule: PoolRule
    ) -> tuple[int, ...]:
        if rule.prefix_slack_requests is None or not endpoint.generates:
            return ()
        read = (*endpoint.also, endpoint.prompt)
        prompt = b"".join(bytes(members[name]) for name in read if name in members)
        return prefixes(self._salt, tenant, model, prompt)

    def _forecasts(
        self, endpoint: Endpoint, members: Members, tenant: str, model: str, pool: str
    ) -> tuple[int, int]:
        """How long the answer is thought to be: for the flow's charge, and for the engine's memory."""
        if not endpoint.generates:
            return 0, 0
        most, tried = read_length(endpoint, members)
        mean = self._estimates.completion_tokens(tenant, model, pool)
        median = self._estimates.median_tokens(pool)
        return min(most or mean, mean) * tried, min(most or median, median) * tried

    def _user(self, endpoint: Endpoint, headers: Mapping[bytes, bytes], members: Members, tenant: str) -> str:
        field, user = read_user(endpoint, members)
        name = user.encode() if user else headers.get(b"x-end-user-id", b"")
        if len(name) > MAX_USER_CHARS:
            raise Invalid(f"{field} may have at most {MAX_USER_CHARS} bytes.", param=field)
        if not name:
            return ""
        known_as = tenant.encode() + b"\0" + name
        return blake2b(known_as, digest_size=USER_DIGEST_BYTES, key=self._salt).hexdigest()


def _patience_ms(headers: Mapping[bytes, bytes], members: Members) -> int | None:
    """The client's own deadline; its member of the body is ours, and no engine sees it."""
    asked: int | None = read_count(members, "timeout_ms", MAX_PATIENCE_MS)
    members.pop("timeout_ms", None)
    said = patience_ms(headers)
    return min(asked or said or 0, said or asked or 0) or None


def _placed(members: Members, model: str, asked: str, caller: Caller, policy: Policy) -> str:
    """The pool of the model, whose name the engine is to read. Raises ModelNotFound or ModelNotAllowed."""
    pool = policy.models.get(model)
    if pool is None:
        raise ModelNotFound(f"There is no model {asked!r}. GET /v1/models lists them.", param="model")
    if caller.models and asked not in caller.models:
        raise ModelNotAllowed(param="model")
    if model != asked:
        members["model"] = msgspec.Raw(msgspec.json.encode(model))
    return pool


def _class_of(members: Members, headers: Mapping[bytes, bytes], caller: Caller, policy: Policy) -> str:
    if "service_tier" not in members and "priority" not in members:
        return choose_class(None, headers, caller, policy)
    tier = read(members, "service_tier", text, "a text")
    return choose_class(tier, headers, caller, policy, read(members, "priority", whole, "a whole number"))
