"""What one server-sent event says, found in its bytes without parsing them where that can be."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from gateway.unreadable import UNREADABLE

ENDS = (b"\n\n", b"\n\r\n")
BOUNDARY = re.compile(rb"\n\r?\n")
BLANK_LINES = re.compile(rb"(?:\r?\n)*")
DATA = b"data:"
NEXT_DATA = b"\ndata:"
EVENT_NAME = b"event:"
DELTA_NAME = b"delta\ndata:"  # where the name of an event ends that brings a piece of an answer
USAGE = b'"usage"'
NO_USAGE = (b'"usage":null', b'"usage": null')
ERROR = b'"error"'
DONE = b"[DONE]"
LAST = b"data: [DONE]"
OBJECT = b"data: {"
FINISH = (b'_reason":"', b'_reason": "')

# Inside a JSON string every quote is escaped, so none of these can match in
# what the model wrote.
TOKEN = re.compile(
    rb'"(?:content|reasoning_content|reasoning|text|thinking|partial_json|arguments|refusal|delta)"\s*:\s*"(?!")'
    rb'|"tool_calls"\s*:\s*\[\s*\{|"function_call"\s*:\s*\{'
)
TOKEN_TEXT = re.compile(
    rb'"(?:content|reasoning_content|reasoning|text|delta)"\s*:\s*"((?:[^"\\\n]|\\.)*+)"[,}]'
)
CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*[^\s\]]')
FAULT = re.compile(rb'"error"\s*:\s*[{"]|"object"\s*:\s*"error"|^event:\s*error\s*$', re.MULTILINE)
ERROR_EVENT = re.compile(rb"^event:\s*error\s*$", re.MULTILINE)
FINISHED = re.compile(rb'"(?:finish|stop)_reason": ?"')
DONE_LINE = re.compile(rb"^data:\s*\[DONE\]\s*$", re.MULTILINE)
# The last events of the Messages and the Responses API, which send no [DONE].
LAST_EVENT = re.compile(
    rb"^event:\s*(?:message_stop|response\.(?:completed|incomplete|failed|cancelled))\s*$", re.MULTILINE
)
# Events of theirs that hold no piece of an answer, whatever else they repeat of the request.
NO_TOKEN = re.compile(
    rb"^event:[ \t]*(?:response\.(?!\S*delta\s*$)|message_|ping\s*$|content_block_st)", re.MULTILINE
)

USED = re.compile(rb'"usage"(?!: ?null)')
MARKS = (ERROR, *FINISH, DONE)


class Event(msgspec.Struct):
    """The parts of an event that may carry usage: at its top, or inside the reply it reports on."""

    usage: object = None
    choices: object = None
    message: object = None  # Messages API, message_start: the prompt's figures
    response: object = None  # Responses API, response.completed: all figures


class Fault(msgspec.Struct):
    """The parts of an event that may say that the engine failed."""

    error: Any = None
    object: Any = None
    type: Any = None
    choices: Any = None
    response: Any = None  # Responses API, response.failed


def after_blank_lines(data: bytes | bytearray, start: int) -> int:
    """Where the next event begins."""
    found = BLANK_LINES.match(data, start)
    return found.end() if found else start


def usage_is_null(data: bytes) -> bool:
    """Every mention of usage says that there is none."""
    return data.count(USAGE) == data.count(NO_USAGE[0]) + data.count(NO_USAGE[1])


def is_simple(data: bytes) -> bool:
    """Whole events without names, without a fault, and with nothing between one and the next."""
    return not (
        data[:1] == b"\n"
        or data.partition(b"\n\n\n")[1]
        or data.partition(b"\r")[1]
        or data.partition(ERROR)[1]
        or data.partition(EVENT_NAME)[1]
    )


def plain_end(data: bytes, start: int) -> int:
    """Where the events end that surely hold nothing but text; ``start`` when the first may hold more."""
    stop = len(data)
    for mark in MARKS:  # one search for all of them takes five times as long
        at = data.find(mark, start, stop)
        if at >= 0:
            stop = at
    if data.find(USAGE, start, stop) >= 0 and (used := USED.search(data, start, stop)):
        stop = used.start()
    ends = [at + len(end) for end in ENDS if (at := data.rfind(end, start, stop)) >= 0]
    return max(ends, default=start)


def is_fault(event: bytes) -> bool:
    """Whether an event that looks like an engine's error is one.

    A response repeats its request: a tool may have a parameter called
    ``error``, and that is nobody's failure.
    """
    if ERROR_EVENT.search(event):
        return True
    try:
        found = msgspec.json.decode(data_of(event), type=Fault)
    except UNREADABLE:
        return True
    within = found.choices if isinstance(found.choices, list) else []
    return (
        "error" in (found.object, found.type)
        or _is_error(found.error)
        or any(isinstance(each, dict) and _is_error(each.get("error")) for each in (found.response, *within))
    )


def _is_error(said: Any) -> bool:
    return isinstance(said, (dict, str))


def data_of(event: bytes) -> bytes:
    """The event's data lines, joined."""
    if event[: len(OBJECT)] == OBJECT and not (event.partition(b"\n")[1] or event.partition(b"\r")[1]):
        return event[len(DATA) :]
    return b"\n".join(line[len(DATA) :] for line in event.splitlines() if line.startswith(DATA))
