"""The paths that are relayed to engines, and what there is to know about each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from gateway.dialect import OPENAI, Dialect
from gateway.dialect_messages import MESSAGES
from gateway.dialect_responses import RESPONSES

PASSED_PATH = re.compile(r"/v1(?:/[A-Za-z0-9._-]+)+")
MAX_PASSED_PATHS = 32  # a pool of connections keeps a request head for each
OWN_NAMES = frozenset({"models", "queue", "requests", "limits", "usage", "files", "batches", "responses"})

_NOT_KEPT = "responses are not kept from one request to the next; send the whole conversation as input"
# An engine keeps responses in a memory of its own: no other backend finds them there, and nothing but
# their id stands between one tenant's and another's.
STATEFUL = (
    ("background", "there is nowhere to ask for a response later; wait for it, or stream it"),
    ("conversation", _NOT_KEPT),
    ("previous_response_id", _NOT_KEPT),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path of the data plane, and how its requests are read.

    ``prompt`` is the member that has to be there, or one of ``instead``;
    empty, it is the whole body. ``also`` is what the model reads before it.
    """

    path: str
    prompt: str
    instead: tuple[str, ...] = ()
    also: tuple[str, ...] = ("tools",)
    needs: tuple[str, ...] = ()
    shapes: tuple[bytes, ...] = (b'"', b"[")  # what a prompt begins with
    forbids: tuple[tuple[str, str], ...] = ()  # what cannot be had here, and why
    sets: tuple[tuple[str, bytes], ...] = ()  # members as engines get them, whatever the client sent
    generates: bool = True
    computes: bool = True  # False: only the tokenizer works, and the request costs one token
    lengths: tuple[str, ...] = ("max_completion_tokens", "max_tokens")  # the first that is there counts
    chooses: bool = True  # n and best_of ask for more than one answer
    several: bool = False  # the prompt may be a list of prompts, of which each is answered
    asks_usage: bool = True  # a stream reports usage only when asked to
    user_in: str = ""  # the object whose user_id names the user; empty: the member ``user`` does
    passes: tuple[bytes, ...] = ()  # headers that engines get as the client sent them
    at_the_root: frozenset[str] = frozenset()  # engines that serve it without /v1
    dialect: Dialect = OPENAI
    form: bool = False  # its body is multipart/form-data, and the members are fields of it
    or_form: bool = False  # it may be: of a path whose bodies are passed on unread


_OBJECTS_TOO = (b'"', b"[", b"{")  # a picture to be scored is one
_MESSAGES = Endpoint(
    "/v1/messages",
    "messages",
    also=("tools", "system"),
    needs=("max_tokens",),
    lengths=("max_tokens",),
    chooses=False,
    asks_usage=False,
    user_in="metadata",
    passes=(b"anthropic-version", b"anthropic-beta"),
    dialect=MESSAGES,
)
_TOKENIZE = Endpoint(
    "/v1/tokenize",
    "prompt",
    instead=("messages", "content", "inputs"),
    generates=False,
    computes=False,
    at_the_root=frozenset({"vllm", "sglang", "llamacpp", "tgi"}),
)
_TRANSCRIBE = Endpoint(
    "/v1/audio/transcriptions",
    "",
    also=(),
    needs=("file",),
    lengths=("max_completion_tokens",),
    chooses=False,
    asks_usage=False,
    form=True,
)

ENDPOINTS: Mapping[str, Endpoint] = MappingProxyType(
    {
        endpoint.path: endpoint
        for endpoint in (
            Endpoint("/v1/chat/completions", "messages"),
            Endpoint("/v1/completions", "prompt", several=True),
            Endpoint("/v1/embeddings", "input", generates=False),
            Endpoint(
                "/v1/responses",
                "input",
                also=("tools", "instructions"),
                forbids=STATEFUL,
                sets=(("store", b"false"),),
                lengths=("max_output_tokens",),
                chooses=False,
                asks_usage=False,
                dialect=RESPONSES,
            ),
            _MESSAGES,
            replace(_MESSAGES, path="/v1/messages/count_tokens", needs=(), generates=False, computes=False),
            Endpoint(
                "/v1/rerank",
                "documents",
                also=("query",),
                needs=("query",),
                shapes=_OBJECTS_TOO,
                generates=False,
            ),
            Endpoint(
                "/v1/score",
                "text_1",
                instead=("queries", "query", "data_1"),
                also=("text_2", "documents", "items", "data_2"),
                shapes=_OBJECTS_TOO,
                generates=False,
            ),
            _TOKENIZE,
            replace(_TOKENIZE, path="/v1/detokenize", prompt="tokens", instead=()),
            _TRANSCRIBE,
            replace(_TRANSCRIBE, path="/v1/audio/translations"),
        )
    }
)


def relayed(passed_paths: str = "") -> Mapping[str, Endpoint]:
    """All endpoints, and these others (by comma), whose bodies are passed on unread.

    Raises ValueError when one of them cannot be.
    """
    more = {path: _passed(path) for part in passed_paths.split(",") if (path := part.strip())}
    if len(more) > MAX_PASSED_PATHS:
        raise ValueError(f"at most {MAX_PASSED_PATHS} paths can be passed")
    return {**more, **ENDPOINTS}


def as_form(endpoint: Endpoint) -> Endpoint:
    """The same for a request whose body is a form."""
    return replace(endpoint, form=True)


def without_form(endpoint: Endpoint) -> Endpoint:
    """The same for what a form says, as JSON."""
    return replace(endpoint, form=False)


def dialect_of(path: str) -> Dialect:
    """How to speak of a path that is not relayed: as those above it do."""
    return MESSAGES if path.startswith("/v1/messages/") else OPENAI


def path_at(path: str, engine: str) -> str:
    """Where this kind of engine serves what clients know by ``path``."""
    endpoint = ENDPOINTS.get(path)
    return path.removeprefix("/v1") if endpoint and engine in endpoint.at_the_root else path


def _passed(path: str) -> Endpoint:
    if not PASSED_PATH.fullmatch(path):
        raise ValueError(f"{path!r} is no path such as /v1/moderations")
    if path in ENDPOINTS or path.split("/")[2] in OWN_NAMES:
        raise ValueError(f"{path} is served already")
    return Endpoint(path, "", also=(), generates=False, or_form=True)
