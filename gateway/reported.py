"""The figures an engine reports about one request: found, checked, written down."""

from __future__ import annotations

import re
from typing import Annotated, Any

import msgspec

from gateway.sse_events import CHOICE, OBJECT, Event, data_of
from gateway.unreadable import UNREADABLE
from scheduling.core.usage import Usage

MAX_TOKENS = 10**8  # a larger figure is a fault of the engine, not a count: no context is a tenth of this
OBJECT_BYTES = 2 * 1024  # the longest usage object that is found when it is cut in two
PARSED_BYTES = 1024 * 1024  # the longest answer that is parsed; gateway/answer.py holds as much anyway
TOKENS_PER_SECOND = 10  # of sound, as OpenAI counts it
BYTES_PER_TOKEN = 4  # of English text, for an answer whose engine reports nothing

# One level of nested details is all that any engine sends. Inside a JSON
# string every quote is escaped, so nothing the model wrote can match.
USAGE_OBJECT = re.compile(rb'"usage"\s*:\s*(\{(?:[^{}]++|\{[^{}]*+\})*+\})')
USAGE = b'"usage"'
USAGE_IS = b'"usage":'
NO_CHOICE_USAGE = b'"choices":[],"usage":{'
LAST_CLOSED = b"}}"  # the figures and the answer
CLOSED = (b"}", b"]")  # how a whole answer ends
TRUNCATED = "truncated"  # how msgspec calls it, which says nothing else about it
PLAIN_KEYS = {"prompt_tokens", "completion_tokens", "total_tokens"}
PROMPT_KEYS = ("prompt_tokens", "input_tokens")
COMPLETION_KEYS = ("completion_tokens", "output_tokens")
BESIDE_KEYS = ("cache_read_input_tokens", "cache_creation_input_tokens")
DETAIL_KEYS = ("prompt_tokens_details", "input_tokens_details")

_event = msgspec.json.Decoder(Event).decode


Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]


class Figures(msgspec.Struct, gc=False):
    """A usage object in the words of the Chat Completions API, of which nothing was cached."""

    prompt_tokens: Count
    completion_tokens: Count
    prompt_tokens_details: None = None
    input_tokens_details: None = None
    cache_read_input_tokens: None = None
    cache_creation_input_tokens: None = None


_figures = msgspec.json.Decoder(Figures).decode


def note(found: object, usage: Usage, *, measures_tokens: bool, prompt_known: bool = False) -> bool:
    """Write an engine's usage object into ``usage``.

    False, and nothing written, when a figure is absent or absurd: the
    estimate then stays in force, marked as one. The prompt's figure may be
    absent when it is known from an earlier report (``prompt_known``), the
    completion's when there is none to measure (embeddings).
    """
    if not isinstance(found, dict):
        return False
    if measures_tokens and found.keys() == PLAIN_KEYS and _note_three(found, usage):
        return True
    completion = _figure(found, COMPLETION_KEYS) if measures_tokens else 0
    if completion is None:
        _note_duration(found, usage)
        return False
    if not note_prompt(found, usage) and (not prompt_known or _named(found, PROMPT_KEYS)):
        return False
    usage.completion_tokens = completion
    usage.estimated = False
    return True


def _note_three(found: dict[str, Any], usage: Usage) -> bool:
    """As ``note``, of the figures that nearly every engine reports, and no others."""
    prompt, completion = found["prompt_tokens"], found["completion_tokens"]
    if type(prompt) is not int or type(completion) is not int:
        return False
    if not (0 <= prompt <= MAX_TOKENS and 0 <= completion <= MAX_TOKENS):
        return False
    usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens = prompt, 0, completion
    usage.estimated = False
    return True


def note_prompt(found: object, usage: Usage) -> bool:
    """Write only what an engine says of the prompt; False if it says nothing sensible."""
    if not isinstance(found, dict) or (prompt := _figure(found, PROMPT_KEYS)) is None:
        return False
    if "input_tokens" in found:  # the Messages API counts what was cached apart
        prompt += sum(_figure(found, (key,)) or 0 for key in BESIDE_KEYS)
    usage.prompt_tokens = prompt
    usage.cached_tokens = min(prompt, _cached(found))
    return True


def note_event(event: bytes, usage: Usage, *, measures_tokens: bool, prompt_known: bool) -> tuple[bool, bool]:
    """Write down what an event reports. Whether the prompt's figures are known now, and it says no more."""
    try:
        found = _event(data_of(event))
    except UNREADABLE:
        return prompt_known, False
    if isinstance(found.message, dict):
        prompt_known |= note_prompt(found.message.get("usage"), usage)
    if isinstance(found.response, dict):
        note(found.response.get("usage"), usage, measures_tokens=measures_tokens)
    if found.usage is None:
        return prompt_known, False
    note(found.usage, usage, measures_tokens=measures_tokens, prompt_known=prompt_known)
    return prompt_known, found.choices == [] and not CHOICE.search(event)


def note_bare(event: bytes, usage: Usage) -> bool:
    """As ``note_event``, of a line that ends with no choice and with figures in the most usual words.

    False, and nothing written, of others.
    """
    before, _, said = event.partition(NO_CHOICE_USAGE)
    if said[-2:] != LAST_CLOSED or before.partition(b"[")[1] or before[len(OBJECT) :].partition(b"{")[1]:
        return False
    return _note_figures(b"{" + said[:-1], usage)


def note_answer(body: bytes, usage: Usage, *, measures_tokens: bool) -> bool:
    """Write down what a JSON answer reports that came in one piece of known length. Whether it is whole."""
    scanner = JsonScanner(usage, measures_tokens=measures_tokens)
    scanner.feed(body)
    scanner.finish()
    return scanner.complete


def note_last(body: bytes, usage: Usage) -> bool:
    """As ``note``, of an answer whose last member are figures in the most usual words, as nearly always.

    False, and nothing written, of others. No other object is in such figures,
    and of several usage objects the last one counts: this one.
    """
    if body[-2:] != LAST_CLOSED:
        return False
    at = body.rfind(b"{")
    return body[at - len(USAGE_IS) : at] == USAGE_IS and _note_figures(body[at:-1], usage)


def _note_figures(said: bytes, usage: Usage) -> bool:
    try:
        found = _figures(said)
    except UNREADABLE:
        return False
    usage.prompt_tokens, usage.cached_tokens = found.prompt_tokens, 0
    usage.completion_tokens, usage.estimated = found.completion_tokens, False
    return True


def _note_duration(found: dict[str, Any], usage: Usage) -> None:
    """Of a transcription some engines report only how long the sound was; the rest stays an estimate."""
    seconds = found.get("seconds")
    if isinstance(seconds, int | float) and 0 <= seconds <= MAX_TOKENS // TOKENS_PER_SECOND:
        usage.prompt_tokens = max(1, round(seconds * TOKENS_PER_SECOND))


def _named(found: dict[str, Any], keys: tuple[str, ...]) -> bool:
    return any(found.get(key) is not None for key in keys)


def _figure(found: dict[str, Any], keys: tuple[str, ...]) -> int | None:
    for key in keys:
        value = found.get(key)
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
    return None


def _cached(found: dict[str, Any]) -> int:
    for key in DETAIL_KEYS:
        details = found.get(key)
        if isinstance(details, dict) and (cached := _figure(details, ("cached_tokens",))) is not None:
            return cached
    return _figure(found, ("cache_read_input_tokens",)) or 0


def _is_cut(text: bytes) -> bool:
    """JSON that lacks its end. Other faults are not looked for: engines write NaN, which is no JSON."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except UNREADABLE as error:
        return TRUNCATED in str(error)
    return False


class OpaqueScanner:
    """Passes on an answer that holds nothing to read, such as sound. Its framing alone says where it ends."""

    __slots__ = ()

    done = errored = at_boundary = False
    complete = True

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; they are passed on as they are."""
        return data

    def finish(self) -> bytes:
        """Nothing is held back."""
        return b""


class JsonScanner:
    """Reads usage out of a JSON answer that passes in pieces.

    Usage may stand anywhere: llama.cpp reports it before embeddings, vLLM
    after the text but before the prompt's log-probabilities. So every piece
    is searched, and only its last 2 KiB are kept of a long answer. One that
    speaks of usage twice, as a response may that repeats what its client
    sent, and does not end with it, is parsed if it is short, and estimated
    if it is not.
    """

    __slots__ = ("_carry", "_found", "_is_sized", "_measures_tokens", "_parts", "_several", "_size", "_usage")

    done = False
    errored = False
    at_boundary = False  # no comment may be put into JSON

    def __init__(self, usage: Usage, *, measures_tokens: bool, is_sized: bool = True) -> None:
        self._usage = usage
        self._measures_tokens = measures_tokens
        self._is_sized = is_sized  # its length was told ahead
        self._carry = b""
        self._found = b""
        self._several = False
        self._size = 0
        self._parts: list[bytes] = []

    @property
    def complete(self) -> bool:
        """The answer ends as an object or a list does. An engine that died may still end its framing well.

        Without a length told ahead that may also be an inner one: a short answer is looked through.
        """
        if not self._carry.rstrip().endswith(CLOSED):
            return False
        return self._is_sized or not self._parts or not _is_cut(b"".join(self._parts))

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; they are passed on as they are."""
        self._size += len(data)
        if self._size <= PARSED_BYTES:
            self._parts.append(data)
        elif self._parts:
            self._parts = []
        text = self._carry + data if self._carry else data
        if text.find(USAGE) >= 0:
            for match in USAGE_OBJECT.finditer(text):
                self._several = self._several or self._found not in (b"", match[1])
                self._found = match[1]
        self._carry = text[-OBJECT_BYTES:]
        return data

    def finish(self) -> bytes:
        """The answer is whole: write down what it cost. Nothing is held back."""
        if not self._noted() and self._measures_tokens:
            self._usage.completion_tokens = max(1, self._size // BYTES_PER_TOKEN)
        return b""

    def _noted(self) -> bool:
        if self._measures_tokens and note_last(self._carry, self._usage):
            return True
        if not self._found or (self._several and not self._parts):
            return False
        try:
            found = (
                msgspec.json.decode(b"".join(self._parts), type=Event).usage
                if self._several
                else msgspec.json.decode(self._found)
            )
        except UNREADABLE:
            return False
        return note(found, self._usage, measures_tokens=self._measures_tokens)
