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
from gateway.ceilings import CHOICES, LENGTHS, LOGPROBS, UNCOUNTED_BYTES, USUAL, USUAL_LENGTHS, Ceilings
from gateway.classes import HEADER as CLASS
from gateway.classes import choose_class
from gateway.endpoints import Endpoint, without_form
from gateway.errors import Invalid
from gateway.forms import Form
from gateway.headers import BLANKS, HOLD, KEEP_ALIVE, hold_s
from gateway.heads import Said
from gateway.members import (
    NO,
    Members,
    ask_for_usage,
    check,
    encode,
    for_the_engine,
    passed_headers,
    prompt_tokens,
    prompts,
    read,
    read_count,
    read_flag,
    read_length,
    read_members,
    read_model,
    read_user,
    text,
    whole,
)
from gateway.model_routes import Spread, place_of, resolve
from gateway.prefixes import prefixes
from gateway.terms import Terms, terms_of
from gateway.unreadable import UNREADABLE
from scheduling.core.policy import Policy
from scheduling.core.prediction import Estimates

# What few requests have, and the parser reads: a request without any of them needs no look for each.
SELDOM = frozenset({"user", "metadata", "timeout_ms", "service_tier", "priority", *CHOICES, *LOGPROBS})
SELDOM |= set(LENGTHS) - set(USUAL_LENGTHS)
UNKNOWN = (KeyError, *UNREADABLE)  # of a model that was not asked for before, or of none
NO_MODELS: tuple[str, ...] = ()  # to fall back on
MAX_TERMS = 10_000  # remembered: callers x models that they ask for
MAX_USER_CHARS = 512
MAX_PATIENCE_MS = 24 * 3_600_000
USER_DIGEST_BYTES = 12


class Job(msgspec.Struct, frozen=True, gc=False):
    """A request that was read and may stand in line. It holds no text but the engine's body.

    ``fallbacks`` may serve it, in order, when no backend of the terms' model can.
    """

    terms: Terms  # of the model that is to serve it
    endpoint: Endpoint
    user: str  # never the client's own words: a digest; "" if it named none
    priority_class: str
    prompt_tokens: int  # estimate
    completion_tokens: int  # estimate, over all choices
    stream: bool
    strip_usage: bool  # the client did not ask for the usage event that we asked for
    body: bytes
    wait_ms: int  # at most this long in line: the knob, or the client's own timeout when shorter
    patience_ms: int | None = None  # the client's own deadline, from acceptance on
    fallbacks: tuple[str, ...] = ()
    prefixes: tuple[int, ...] = ()  # names of the prompt's beginnings, where the pool goes by them
    kv_completion_tokens: int = 0  # what the answer reserves of an engine's memory, over all choices
    headers: tuple[tuple[bytes, bytes], ...] = ()  # for the engine
    keep_alive: bool = False  # it is no stream, and its client wants to see blanks while it waits
    hold_s: float | None = None  # for how long the status line may be held back; None: as the knob says
    answers: int = 1  # that it has the engine write


class Parser:
    """Body bytes to Job. ``salt`` keys the digest of user ids."""

    def __init__(
        self, salt: bytes, estimates: Estimates, queue_timeout_s: float, ceilings: Ceilings = USUAL
    ) -> None:
        self._salt = salt[:64]
        self._estimates = estimates
        self._most_ms = int(queue_timeout_s * 1000)  # in line
        self._spread = Spread()
        self._ceilings = ceilings
        self._policy = Policy(revision=0)  # of the terms
        # By caller, name, and model where the name leads to one: by the name alone it is None.
        self._terms: dict[tuple[int, str, str], Terms | None] = {}

    def parse(
        self,
        endpoint: Endpoint,
        headers: Mapping[bytes, bytes],
        body: bytes,
        caller: Caller,
        policy: Policy,
        said: Said | None = None,
    ) -> Job:
        """The job. Raises Invalid (naming the field) or ModelNotFound. ``said``: by the headers, if known."""
        members = read_members(body) if len(body) <= UNCOUNTED_BYTES else self._counted(body)
        is_usual = SELDOM.isdisjoint(members)
        length = self._ceilings.check(body, members, endpoint.lengths if is_usual else ())
        if policy is not self._policy:
            self._policy, self._terms = policy, {}
        try:
            terms, fallbacks = self._terms[id(caller), asked := text(members["model"]), ""], NO_MODELS
        except UNKNOWN:
            terms, asked = None, read_model(members)
        if endpoint.needs or endpoint.forbids:
            check(endpoint, members)
        usual = not (said := said or Said.by(headers)).more and is_usual
        user = "" if usual else self._user(endpoint, headers, members, caller.tenant)
        if terms is None:
            terms, fallbacks = self._led(members, caller, asked, user)
        stream = endpoint.generates and members.get("stream", NO) != NO and bool(read_flag(members, "stream"))
        patience = said.patience_ms if usual else _patience_ms(said, members)
        tokens, kv_tokens, answers = self._forecasts(endpoint, members, terms, length)
        return Job(  # in the order of its members: named, they cost six times as much
            terms, endpoint, user,
            terms.priority_class if usual else _class_of(members, headers, terms, policy),
            prompt_tokens(endpoint, members), tokens, stream,
            stream and endpoint.asks_usage and ask_for_usage(members),
            encode(members) if is_usual and not endpoint.sets else for_the_engine(endpoint, members),
            patience if patience and patience < self._most_ms else self._most_ms, patience, fallbacks,
            self._prefixes(endpoint, members, terms) if terms.is_steered else (),
            kv_tokens, passed_headers(endpoint, headers) + said.trace if endpoint.passes else said.trace,
            not usual and not stream and headers.get(KEEP_ALIVE) == BLANKS,
            terms.hold_s if usual or HOLD not in headers else hold_s(headers), answers,
        )  # fmt: skip

    def parse_form(
        self,
        endpoint: Endpoint,
        headers: Mapping[bytes, bytes],
        body: bytes,
        caller: Caller,
        policy: Policy,
        said: Said | None = None,
    ) -> Job:
        """The job of JSON with the same members, for an engine that gets a form. Also raises NotForm."""
        form = Form.read(headers, body)
        job = self.parse(without_form(endpoint), headers, encode(form.members), caller, policy, said)
        return msgspec.structs.replace(
            job,
            endpoint=endpoint,
            prompt_tokens=form.prompt_tokens,
            body=form.with_members(read_members(job.body)),
            headers=(form.type_header, *job.headers),
        )

    def _counted(self, body: bytes) -> Members:
        self._ceilings.count(body)
        return read_members(body)

    def fall_back(self, job: Job, policy: Policy) -> Job:
        """The same request for the first of its fallbacks, under that model's rules."""
        terms = terms_of(job.terms.caller, job.terms.asked, job.fallbacks[0], policy)
        endpoint = job.endpoint
        form = Form.read(dict(job.headers), job.body) if endpoint.form else None
        members = dict(form.members) if form else read_members(job.body)
        members["model"] = msgspec.Raw(encode(terms.model))
        _, kv_tokens, _ = self._forecasts(endpoint, members, terms, None)
        return msgspec.structs.replace(
            job,
            terms=terms,
            body=form.with_members(members) if form else encode(members),
            fallbacks=job.fallbacks[1:],
            prefixes=self._prefixes(endpoint, members, terms) if terms.is_steered else (),
            kv_completion_tokens=kv_tokens,
        )

    def _led(self, members: Members, caller: Caller, asked: str, user: str) -> tuple[Terms, tuple[str, ...]]:
        """The terms under a name that leads to a model, or is new, and the models to fall back on."""
        if asked not in self._policy.routes:
            return self._agree(caller, asked, asked), ()
        model, fallbacks = self._routed(members, asked, user)
        return self._terms.get((id(caller), asked, model)) or self._agree(caller, asked, model), fallbacks

    def _agree(self, caller: Caller, asked: str, model: str) -> Terms:
        """The caller's terms for a model under that name. Raises ModelNotFound or ModelNotAllowed."""
        terms = terms_of(caller, asked, model, self._policy)
        if len(self._terms) >= MAX_TERMS:
            self._terms = {}
        # As long as the terms are kept, so is their caller, and no other object has its id.
        if asked in self._policy.routes:
            self._terms[(id(caller), asked, "")] = None
            self._terms[(id(caller), asked, model)] = terms
        else:
            self._terms[(id(caller), asked, "")] = terms
        return terms

    def _routed(self, members: Members, asked: str, user: str) -> tuple[str, tuple[str, ...]]:
        """The model of this user or, if there is none, of this request, and the models after it."""
        place = place_of(asked, user) if user else self._spread.next()
        model, fallbacks = resolve(self._policy, asked, place)
        if model != asked:
            members["model"] = msgspec.Raw(encode(model))  # the engine knows it by this name
        return model, fallbacks

    def _prefixes(self, endpoint: Endpoint, members: Members, terms: Terms) -> tuple[int, ...]:
        if not endpoint.generates:
            return ()
        read = (*endpoint.also, endpoint.prompt)
        prompt = b"".join(bytes(members[name]) for name in read if name in members)
        return prefixes(self._salt, terms.caller.tenant, terms.model, prompt)

    def _forecasts(
        self, endpoint: Endpoint, members: Members, terms: Terms, length: int | None
    ) -> tuple[int, int, int]:
        """How long the answer is thought to be: for the flow's charge, and for the engine's memory.

        And how many answers that are. Of many prompts in a list an engine may
        let some wait, so memory is reserved for one.
        """
        if not endpoint.generates:
            return 0, 0, 1
        tried = 1
        if length is None:
            length, tried = read_length(endpoint, members)
        mean, median = self._estimates.forecast(terms.caller.tenant, terms.model, terms.pool)
        if length is not None:
            mean, median = length if length < mean else mean, length if length < median else median
        answers = tried * prompts(members) if endpoint.several else tried
        return mean * answers, median * tried, answers

    def _user(self, endpoint: Endpoint, headers: Mapping[bytes, bytes], members: Members, tenant: str) -> str:
        field, user = read_user(endpoint, members)
        name = user.encode() if user else headers.get(b"x-end-user-id", b"")
        if len(name) > MAX_USER_CHARS:
            raise Invalid(f"{field} may have at most {MAX_USER_CHARS} bytes.", param=field)
        if not name:
            return ""
        known_as = tenant.encode() + b"\0" + name
        return blake2b(known_as, digest_size=USER_DIGEST_BYTES, key=self._salt).hexdigest()


def _patience_ms(said: Said, members: Members) -> int | None:
    """The client's own deadline; its member of the body is ours, and no engine sees it."""
    known = said.patience_ms
    if "timeout_ms" not in members:
        return known
    asked = read_count(members, "timeout_ms", MAX_PATIENCE_MS)
    del members["timeout_ms"]
    return min(asked or known or 0, known or asked or 0) or None


def _class_of(members: Members, headers: Mapping[bytes, bytes], terms: Terms, policy: Policy) -> str:
    if "service_tier" not in members and "priority" not in members and CLASS not in headers:
        return terms.priority_class
    tier = read(members, "service_tier", text, "a text")
    steps = read(members, "priority", whole, "a whole number")
    return choose_class(tier, headers, terms.caller, policy, steps)
