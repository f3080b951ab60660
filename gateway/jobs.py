"""The body of a request, read: what it asks for, what it may cost, and the bytes for the engine.

Only the members that matter here are decoded; every other value is passed
on byte for byte. The engine gets exactly the members that were read here,
each name once, so the two cannot understand one body differently. Nothing
here waits or does I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec

from gateway.callers import Caller
from gateway.ceilings import USUAL, Ceilings
from gateway.classes import choose_class
from gateway.endpoints import ENDPOINTS, Endpoint
from gateway.errors import Invalid, InvalidJson, ModelNotAllowed, ModelNotFound
from gateway.headers import patience_ms
from gateway.model_routes import Spread, place_of, resolve
from gateway.prefixes import prefixes
from scheduling.core.policy import FREE, Policy, PoolRule, Prices
from scheduling.core.prediction import CHARS_PER_TOKEN, Estimates
from scheduling.core.usage import DEFAULT_COST, CostRule

Members = dict[str, msgspec.Raw]

MAX_MEMBERS = 256  # top-level names; the OpenAI API has about forty
MAX_MODEL_CHARS = 200  # what a usage record holds
MAX_USER_CHARS = 512
MAX_CHOICES = 128  # n and best_of; the OpenAI API's own bound
MAX_TOKENS = 10_000_000
USER_DIGEST_BYTES = 12
ASK_USAGE = msgspec.Raw(b'{"include_usage":true}')

_members: Callable[[bytes], Members] = msgspec.json.Decoder(Members).decode
_text = msgspec.json.Decoder(str | None).decode
_flag = msgspec.json.Decoder(bool | None).decode
_whole = msgspec.json.Decoder(int | None).decode
_object = msgspec.json.Decoder(Members | None).decode


# Not frozen, though nobody changes one: a frozen value takes three times as long to make.
@dataclass(slots=True)
class Job:
    """A request that was read and may stand in line. It holds no text but the engine's body.

    ``model`` is to serve it, ``asked`` is the name in the request, and
    ``fallbacks`` may serve it, in order, when no backend of ``model`` can.
    """

    path: str
    model: str
    pool: str
    user: str  # never the client's own words: a digest, or the API token's number
    priority_class: str
    prompt_tokens: int  # estimate
    completion_tokens: int  # estimate, over all choices
    body: bytes
    stream: bool
    strip_usage: bool  # the client did not ask for the usage event that we asked for
    generates: bool
    wait_ms: int  # at most this long in line: the knob, or the client's own timeout when shorter
    user_is_token: bool  # the client named no user
    revision: int  # of the policy it was read under
    prices: Prices = FREE
    cost: CostRule = DEFAULT_COST  # of its pool
    asked: str = ""
    fallbacks: tuple[str, ...] = ()
    prefixes: tuple[int, ...] = ()  # names of the prompt's beginnings, where the pool goes by them
    kv_completion_tokens: int = 0  # what the answer reserves of an engine's memory, over all choices


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
        asked = _read_model(members)
        user = self._user(headers, members, caller.tenant)
        model, fallbacks = self._routed(asked, user, policy) if asked in policy.routes else (asked, ())
        pool = _pool_of(model, asked, policy, caller)
        if model != asked:
            members["model"] = msgspec.Raw(msgspec.json.encode(model))
        rule = policy.pools.get(pool) or PoolRule(pool)
        stream = endpoint.generates and bool(_read(members, "stream", _flag, "true or false"))
        tier = _read(members, "service_tier", _text, "a text")
        priority_class = choose_class(tier, headers, caller, policy)
        prompt_tokens = _prompt_tokens(endpoint, members)
        completion_tokens, kv_tokens = self._forecasts(endpoint, members, caller.tenant, model, pool)
        return Job(
            path=endpoint.path,
            model=model,
            pool=pool,
            user=user or f"token-{caller.token_id}",
            priority_class=priority_class,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            strip_usage=_ask_for_usage(members) if stream else False,
            body=_for_the_engine(members),
            stream=stream,
            generates=endpoint.generates,
            wait_ms=min(self._queue_timeout_ms, patience_ms(headers) or self._queue_timeout_ms),
            user_is_token=not user,
            revision=policy.revision,
            prices=policy.prices.get(model, FREE),
            cost=rule.cost,
            asked=asked,
            fallbacks=fallbacks,
            prefixes=self._prefixes(endpoint, members, caller.tenant, model, rule),
            kv_completion_tokens=kv_tokens,
        )

    def fall_back(self, job: Job, tenant: str, policy: Policy) -> Job:
        """The same request for the first of its fallbacks, under that model's rules."""
        model = job.fallbacks[0]
        pool = policy.models[model]
        rule = policy.pools.get(pool) or PoolRule(pool)
        members, endpoint = read_members(job.body), ENDPOINTS[job.path]
        members["model"] = msgspec.Raw(msgspec.json.encode(model))
        _, kv_tokens = self._forecasts(endpoint, members, tenant, model, pool)
        return replace(
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
        return prefixes(self._salt, tenant, model, bytes(members[endpoint.prompt]))

    def _forecasts(
        self, endpoint: Endpoint, members: Members, tenant: str, model: str, pool: str
    ) -> tuple[int, int]:
        """How long the answer is thought to be: for the flow's charge, and for the engine's memory."""
        if not endpoint.generates:
            return 0, 0
        most, tried = _read_length(members)
        mean = self._estimates.completion_tokens(tenant, model, pool)
        median = self._estimates.median_tokens(pool)
        return min(most or mean, mean) * tried, min(most or median, median) * tried

    def _user(self, headers: Mapping[bytes, bytes], members: Members, tenant: str) -> str:
        user = _read(members, "user", _text, "a text")
        name = user.encode() if user else headers.get(b"x-end-user-id", b"")
        if len(name) > MAX_USER_CHARS:
            raise Invalid(f"user may have at most {MAX_USER_CHARS} bytes.", param="user")
        if not name:
            return ""
        text = tenant.encode() + b"\0" + name
        return blake2b(text, digest_size=USER_DIGEST_BYTES, key=self._salt).hexdigest()


def read_members(body: bytes) -> Members:
    """The top-level members, undecoded; of a name that comes twice, the last. Raises InvalidJson."""
    try:
        if not body.isascii():
            body.decode()
        members = _members(body)
    except UnicodeDecodeError:
        raise InvalidJson("The body is not valid UTF-8.") from None
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    except msgspec.ValidationError:
        raise InvalidJson("The body must be one JSON object.") from None
    except msgspec.DecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    if len(members) > MAX_MEMBERS:
        raise Invalid(f"The body has {len(members)} members; at most {MAX_MEMBERS} are read.")
    return members


def _read(members: Members, name: str, decode: Callable[[msgspec.Raw], Any], wanted: str) -> Any:
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return decode(raw)
    except (msgspec.DecodeError, RecursionError):
        raise Invalid(f"{name} must be {wanted}.", param=name) from None


def _read_model(members: Members) -> str:
    model: str | None = _read(members, "model", _text, "a text")
    if not model:
        raise Invalid("model is missing: name one of GET /v1/models.", param="model")
    if len(model) > MAX_MODEL_CHARS:
        raise Invalid(f"model may have at most {MAX_MODEL_CHARS} characters.", param="model")
    return model


def _pool_of(model: str, asked: str, policy: Policy, caller: Caller) -> str:
    pool = policy.models.get(model)
    if pool is None:
        raise ModelNotFound(f"There is no model {asked!r}. GET /v1/models lists them.", param="model")
    if caller.models and asked not in caller.models:
        raise ModelNotAllowed(param="model")
    return pool


def _read_count(members: Members, name: str, most: int) -> int | None:
    value: int | None = _read(members, name, _whole, "a whole number")
    if value is not None and not 1 <= value <= most:
        raise Invalid(f"{name} must be from 1 to {most}.", param=name)
    return value


def _prompt_tokens(endpoint: Endpoint, members: Members) -> int:
    """About one token in four bytes of JSON; numbers are counted when the prompt comes as tokens."""
    name = endpoint.prompt
    raw = members.get(name)
    if raw is None:
        raise Invalid(f"{name} is missing.", param=name)
    prompt = bytes(raw)
    if name == "messages" and (prompt[:1] != b"[" or prompt[1:].lstrip().startswith(b"]")):
        raise Invalid("messages must be a list with at least one message.", param=name)
    if prompt[:1] not in (b"[", b'"'):
        raise Invalid(f"{name} must be a text or a list.", param=name)
    if prompt[1:2].isdigit() or prompt[:2] == b"[[":
        return prompt.count(b",") + 1
    tools = members.get("tools")
    return 1 + (len(prompt) + (len(bytes(tools)) if tools is not None else 0)) // CHARS_PER_TOKEN


def _read_length(members: Members) -> tuple[int | None, int]:
    """The most tokens that an answer may have, if the client says, and how many answers are written."""
    most = _read_count(members, "max_completion_tokens", MAX_TOKENS) or _read_count(
        members, "max_tokens", MAX_TOKENS
    )
    choices = _read_count(members, "n", MAX_CHOICES) or 1
    tried = _read_count(members, "best_of", MAX_CHOICES) or choices
    if tried < choices:
        raise Invalid("best_of must be at least n.", param="best_of")
    return most, tried


def _ask_for_usage(members: Members) -> bool:
    """Ask the engine to report usage at the end of the stream. True when the client did not ask itself."""
    options: Members | None = _read(members, "stream_options", _object, "an object")
    if not options:
        members["stream_options"] = ASK_USAGE
        return True
    asked: bool | None = _read(options, "include_usage", _flag, "true or false")
    if asked:
        return False
    options["include_usage"] = msgspec.Raw(b"true")
    members["stream_options"] = msgspec.Raw(msgspec.json.encode(options))
    return True


def _for_the_engine(members: Members) -> bytes:
    # The order is ours to give: a client's own priority number would pass every other tenant by.
    members.pop("priority", None)
    return msgspec.json.encode(members)
