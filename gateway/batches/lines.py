"""A line of a batch: what it asks, what may be wrong with it, and the line that answers it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.endpoints import ENDPOINTS
from gateway.reported import Count
from gateway.unreadable import UNREADABLE

CUSTOM_ID_CHARS = 512
EMBEDDINGS = "/v1/embeddings"
MESSAGES = "/v1/messages"  # Anthropic's batches are another API, and its errors have no codes to go by
BATCH_ENDPOINTS = frozenset(
    path
    for path, endpoint in ENDPOINTS.items()
    if path == EMBEDDINGS or (endpoint.generates and path != MESSAGES and not endpoint.form)
)
BOM = b"\xef\xbb\xbf"
LINE_BREAKS = (b"\n", b"\r")


@dataclass(frozen=True, slots=True)
class Line:
    """One request. ``number`` counts from 1; the line is from ``start`` to ``end`` in the file."""

    number: int
    start: int
    end: int
    custom_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """What a line asks, once it is found right."""

    custom_id: str
    model: str
    body: bytes


class BadLine(Exception):
    """A line cannot be asked. The message says what is wrong and the mend."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.param = param


@dataclass(slots=True)
class Tokens:
    """What the answers used, by OpenAI's names for a batch."""

    prompt: int = 0
    cached: int = 0
    completion: int = 0
    reasoning: int = 0

    def add(self, other: Tokens) -> None:
        """Count another answer's too."""
        self.prompt += other.prompt
        self.cached += other.cached
        self.completion += other.completion
        self.reasoning += other.reasoning


class _Line(msgspec.Struct):
    custom_id: str
    method: str
    url: str
    body: msgspec.Raw


class _Body(msgspec.Struct):
    model: str
    stream: bool | None = None


class _Details(msgspec.Struct):
    cached_tokens: Count | None = None
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    input_tokens: Count | None = None
    output_tokens: Count | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    usage: _Usage | None = None


def bare(text: bytes, number: int) -> bytes:
    """A line without the mark that a file may begin with. What is then blank is no request."""
    return text.removeprefix(BOM) if number == 1 else text


def read(text: bytes, endpoint: str) -> Asked:
    """What a line asks. Raises BadLine."""
    line = _decoded(text, _Line, "", "each line must be one JSON object with custom_id, method, url and body")
    if not 0 < len(line.custom_id) <= CUSTOM_ID_CHARS:
        raise BadLine(
            "invalid_custom_id", f"custom_id must have 1 to {CUSTOM_ID_CHARS} characters.", "custom_id"
        )
    if line.method != "POST":
        raise BadLine("invalid_method", f"method must be POST, not {line.method[:20]!r}.", "method")
    if line.url != endpoint:
        raise BadLine(
            "invalid_url", f"url must be the batch's endpoint {endpoint}, not {line.url[:80]!r}.", "url"
        )
    raw = bytes(line.body)
    body = _decoded(raw, _Body, "body.", "body must be a JSON object that names a model")
    if body.stream:
        raise BadLine("invalid_body", "stream must not be true: a batch has no streams.", "body.stream")
    return Asked(line.custom_id, body.model, raw)


def usage_of(body: bytes) -> Tokens:
    """What an answer says it used; nothing when it does not say so, or says what can not be."""
    try:
        usage = msgspec.json.decode(body, type=_Answer).usage
    except UNREADABLE:
        return Tokens()
    if usage is None:
        return Tokens()
    before = usage.prompt_tokens_details or usage.input_tokens_details or _Details()
    after = usage.completion_tokens_details or usage.output_tokens_details or _Details()
    return Tokens(
        usage.prompt_tokens or usage.input_tokens or 0,
        before.cached_tokens or 0,
        usage.completion_tokens or usage.output_tokens or 0,
        after.reasoning_tokens or 0,
    )


def answered(name: str, custom_id: str, request_id: str, status: int, body: bytes) -> bytes:
    """The line of a request that got an answer, good or bad. ``name`` is our id of the line."""
    response = {"status_code": status, "request_id": request_id, "body": _one_line(body)}
    return _output(name, custom_id, response, None)


def unanswered(name: str, custom_id: str, code: str, message: str) -> bytes:
    """The line of a request that got no answer."""
    return _output(name, custom_id, None, {"code": code, "message": message})


def _output(name: str, custom_id: str, response: Any, error: Any) -> bytes:
    line = {"id": name, "custom_id": custom_id, "response": response, "error": error}
    return msgspec.json.encode(line) + b"\n"


def _one_line(body: bytes) -> Any:
    """An answer as it came, in one line; a text when it is no JSON."""
    try:
        if any(each in body for each in LINE_BREAKS):
            body = msgspec.json.format(body, indent=-1)
        msgspec.json.decode(body, type=msgspec.Raw)
        body.decode()  # which the decoder leaves to who reads the text; one bad byte would spoil the file
    except UNREADABLE:
        return body.decode("utf-8", "replace")
    return msgspec.Raw(body.strip())


def _decoded(text: bytes, kind: type[Any], place: str, wanted: str) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        raise BadLine("invalid_request", f"{wanted}: {error}.", place.rstrip(".") or None) from None
    except UNREADABLE as error:
        raise BadLine("invalid_json_line", f"{wanted}: {error}.") from None
