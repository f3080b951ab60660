"""A body that is a form (multipart/form-data): what it says, and the form that an engine gets.

What matters here of its fields is read as the members of a JSON body are;
all others, and files, are only measured, and passed on as they came.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import msgspec
from multipart import MultipartError, PushMultipartParser, header_quote, parse_options_header

from gateway.ceilings import CHOICES, LENGTHS, LOGPROBS
from gateway.errors import Invalid
from gateway.input_errors import NotForm
from gateway.members import MAX_MEMBERS, Members
from scheduling.core.prediction import CHARS_PER_TOKEN

FORM = "multipart/form-data"
CONTENT_TYPE = b"content-type"
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, 5.1.1
# OpenAI counts a tenth of a second of sound as one token: that is so much of it at 128 kbit/s.
FILE_BYTES_PER_TOKEN = 1600

FLAGS = {"true": b"true", "1": b"true", "on": b"true", "yes": b"true"}
FLAGS |= {"false": b"false", "0": b"false", "off": b"false", "no": b"false"}
NUMBER = re.compile(r"-?[0-9]{1,30}")
NUMBERS = frozenset({*LENGTHS, *CHOICES, *LOGPROBS, "timeout_ms", "priority"})
READ = NUMBERS | {"stream", "model", "user", "service_tier"}
A_FILE = msgspec.Raw(b'""')  # stands for one among the members


def is_form(headers: Mapping[bytes, bytes]) -> bool:
    """Whether a body says that it is one."""
    return headers.get(CONTENT_TYPE, b"").partition(b";")[0].strip().lower() == FORM.encode()


@dataclass(frozen=True, slots=True)
class Form:
    """A form that was read. ``names`` are those of all its parts, in order."""

    boundary: bytes
    body: bytes = field(repr=False)
    names: tuple[str, ...]
    members: Members = field(repr=False)  # what is read of its fields, as JSON; ``A_FILE`` for each file
    prompt_tokens: int  # estimate: of the fields' bytes as of any text, and of the files' bytes as of sound

    @classmethod
    def read(cls, headers: Mapping[bytes, bytes], body: bytes) -> Self:
        """The form of this Content-Type. Raises NotForm, or Invalid, which names the field."""
        boundary = _boundary(headers)
        names: list[str] = []
        members: Members = {}
        size = file_size = 0
        for name, value, is_file in _parts(boundary, body):
            names.append(name)
            if name in READ:
                if is_file or name in members:
                    raise Invalid(f"Send {name} once, as a field without a file name.", param=name)
                members[name] = _as_json(name, value)
            elif is_file:
                members[name] = A_FILE
            if is_file:
                file_size += len(value)
            else:
                size += len(value)
        found = body.count(b"\r\n--" + boundary) + body.startswith(b"--" + boundary)
        if found != len(names) + 1:  # engines would disagree on where its parts end
            raise NotForm("The form has its boundary where no part begins or ends.")
        tokens = 1 + size // CHARS_PER_TOKEN + file_size // FILE_BYTES_PER_TOKEN
        return cls(boundary, body, tuple(names), members, tokens)

    @property
    def type_header(self) -> tuple[bytes, bytes]:
        """The Content-Type of the form, in words of our own."""
        boundary: str = header_quote(self.boundary.decode())
        return CONTENT_TYPE, f"{FORM}; boundary={boundary}".encode()

    def with_members(self, members: Members) -> bytes:
        """The form with these instead of what was read: the same bytes where that is the same."""
        changed = {name: members.get(name) for name, was in self.members.items() if members.get(name) != was}
        if not changed:
            return self.body
        delimiter = b"\r\n--" + self.boundary
        _, *parts, _ = (b"\r\n" + self.body).split(delimiter)
        kept = []
        for name, part in zip(self.names, parts, strict=True):
            if name not in changed:
                kept.append(delimiter + part)
            elif (raw := changed[name]) is not None:
                kept.append(delimiter + _field(name, msgspec.json.decode(raw, type=str)))
        return b"%b%b--\r\n" % (b"".join(kept)[2:], delimiter)


def without_boundary(headers: Mapping[bytes, bytes], body: bytes) -> bytes:
    """A form without its boundary, which clients choose anew each time that they send the same.

    Raises NotForm when there is none.
    """
    return body.replace(b"--" + _boundary(headers), b"--")


def _boundary(headers: Mapping[bytes, bytes]) -> bytes:
    kind, options = parse_options_header(headers.get(CONTENT_TYPE, b"").decode("latin-1"))
    boundary: str = options.get("boundary", "")
    if kind != FORM or not BOUNDARY.fullmatch(boundary):
        raise NotForm("Send the body as multipart/form-data, with its boundary in the Content-Type header.")
    return boundary.encode()


def _parts(boundary: bytes, body: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """Name, content, and whether it is a file, of each part. Raises NotForm."""
    parser = PushMultipartParser(boundary, max_segment_count=MAX_MEMBERS, strict=True)
    name, value, is_file = "", b"", False
    try:
        for event in parser.parse(body):
            if event is None:
                yield name, value, is_file
            elif isinstance(event, bytes):
                value += event
            else:
                name, value, is_file = event.name, b"", event.filename is not None
        parser.close()
    except MultipartError as error:
        raise NotForm(f"The body is not valid multipart/form-data: {error}.") from None


def _as_json(name: str, value: bytes) -> msgspec.Raw:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise Invalid(f"{name} is not valid UTF-8.", param=name) from None
    if name == "stream" and (flag := FLAGS.get(text.lower())):
        return msgspec.Raw(flag)
    if name in NUMBERS and NUMBER.fullmatch(text):
        return msgspec.Raw(str(int(text)).encode())
    return msgspec.Raw(msgspec.json.encode(text))


def _field(name: str, text: str) -> bytes:
    return b'\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), text.encode())
