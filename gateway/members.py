"""The members of a request's body: what an endpoint reads in them, and what an engine gets.

Only what matters here is decoded; every other value stays the bytes it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.endpoints import Endpoint
from gateway.errors import Invalid, InvalidJson
from gateway.input_errors import TooComplex
from gateway.unreadable import UNREADABLE
from scheduling.core.prediction import CHARS_PER_TOKEN

Members = dict[str, msgspec.Raw]

MAX_MEMBERS = 256  # top-level names; the OpenAI API has about forty
MAX_MODEL_CHARS = 200  # what a usage record holds
MAX_COUNT = 1_000_000_000  # more is nobody's wish; the knobs of gateway/ceilings.py bound it
NO = msgspec.Raw(b"false")
ASK_USAGE = msgspec.Raw(b'{"include_usage":true}')
UNSET = (b"null", b"false")
LISTED = re.compile(rb'\[\s*["[]')
LIST_OF_OBJECTS = b"[{"  # what messages are, which is a prompt on every path

encode = msgspec.json.encode
_members: Callable[[bytes], Members] = msgspec.json.Decoder(Members).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_object = msgspec.json.Decoder(Members | None).decode
text = msgspec.json.Decoder(str | None).decode
flag = msgspec.json.Decoder(bool | None).decode
whole = msgspec.json.Decoder(int | None).decode


def read_members(body: bytes) -> Members:
    """The top-level members, undecoded; of a name that comes twice, the last. Raises Invalid."""
    try:
        if not body.isascii():
            body.decode()
        members = _members(body)
    except UnicodeDecodeError:
        raise InvalidJson("The body is not valid UTF-8.") from None
    except RecursionError:
        raise TooComplex("The body is nested too deeply.") from None
    except msgspec.ValidationError:
        raise InvalidJson("The body must be one JSON object.") from None
    except msgspec.DecodeError as error:
        raise InvalidJson(f"The body is not valid JSON: {error}.") from None
    if len(members) > MAX_MEMBERS:
        raise Invalid(f"The body has {len(members)} members; at most {MAX_MEMBERS} are read.")
    return members


def read(members: Members, name: str, decode: Callable[[msgspec.Raw], Any], wanted: str) -> Any:
    """One member, decoded; None when it is not there. Raises Invalid, which names it."""
    raw = members.get(name)
    if raw is None:
        return None
    try:
        return decode(raw)
    except UNREADABLE:
        raise _is_no(wanted, name) from None


def _is_no(wanted: str, name: str) -> Invalid:
    return Invalid(f"{name} must be {wanted}.", param=name)


def read_model(members: Members) -> str:
    """The model that the client names. Raises Invalid."""
    try:
        model: str | None = text(members["model"]) if "model" in members else None
    except UNREADABLE:
        raise _is_no("a text", "model") from None
    if not model:
        raise Invalid("model is missing: name one of GET /v1/models.", param="model")
    if len(model) > MAX_MODEL_CHARS:
        raise Invalid(f"model may have at most {MAX_MODEL_CHARS} characters.", param="model")
    return model


def read_flag(members: Members, name: str) -> bool | None:
    """True or false, if it is there. Raises Invalid."""
    try:
        value: bool | None = flag(members[name]) if name in members else None
    except UNREADABLE:
        raise _is_no("true or false", name) from None
    return value


def read_count(members: Members, name: str, most: int) -> int | None:
    """A whole number from 1 to ``most``. Raises Invalid."""
    try:
        value: int | None = whole(members[name]) if name in members else None
    except UNREADABLE:
        raise _is_no("a whole number", name) from None
    if value is not None and not 1 <= value <= most:
        raise Invalid(f"{name} must be {'1 or more' if value < 1 else f'at most {most:,}'}.", param=name)
    return value


def read_user(endpoint: Endpoint, members: Members) -> tuple[str, str | None]:
    """Where the API names the end user, and the name there."""
    holder = endpoint.user_in
    if not holder:
        return "user", read(members, "user", text, "a text") if "user" in members else None
    inside: Members | None = read(members, holder, _object, "an object")
    field = f"{holder}.user_id"
    named = {field: inside["user_id"]} if inside and "user_id" in inside else {}
    return field, read(named, field, text, "a text")


def check(endpoint: Endpoint, members: Members) -> None:
    """What the endpoint cannot do without, and what cannot be had."""
    for name in endpoint.needs:
        if _is_unset(members, name):
            raise Invalid(f"{name} is missing.", param=name)
    for name, why in endpoint.forbids:
        if not _is_unset(members, name):
            raise Invalid(f"{name} is not served: {why}.", param=name)


def _is_unset(members: Members, name: str) -> bool:
    raw = members.get(name)
    return raw is None or bytes(raw) in UNSET


def prompt_tokens(endpoint: Endpoint, members: Members) -> int:
    """About one token in four bytes of JSON; numbers are counted when the prompt comes as tokens."""
    name = endpoint.prompt
    if not name:
        return 1 + sum(len(bytes(raw)) for raw in members.values()) // CHARS_PER_TOKEN
    prompt = bytes(members.get(name, b""))
    if prompt[:2] != LIST_OF_OBJECTS:
        prompt = _prompt(endpoint, members)
        is_numbers = prompt[:1] == b"[" and (prompt[1:2].isdigit() or prompt[1:2] == b"[")
        if endpoint.computes and is_numbers:
            return prompt.count(b",") + 1
    if not endpoint.computes:
        return 1
    size = len(prompt)
    for name in endpoint.also:
        if name in members:
            size += len(bytes(members[name]))
    return 1 + size // CHARS_PER_TOKEN


def prompts(members: Members) -> int:
    """How many there are in the member ``prompt``: a text is one, and so is a list of token numbers."""
    raw = bytes(members.get("prompt", b""))
    return len(_list(raw)) if LISTED.match(raw) else 1


def _prompt(endpoint: Endpoint, members: Members) -> bytes:
    name = endpoint.prompt
    if name not in members:
        name = next((other for other in endpoint.instead if other in members), name)
    raw = members.get(name)
    if raw is None:
        raise Invalid(f"{name} is missing.", param=name)
    prompt = bytes(raw)
    if name == "messages" and (prompt[:1] != b"[" or prompt[1:].lstrip().startswith(b"]")):
        raise Invalid("messages must be a list with at least one message.", param=name)
    if prompt[:1] not in endpoint.shapes:
        raise Invalid(f"{name} must be a text or a list.", param=name)
    return prompt


def read_length(endpoint: Endpoint, members: Members) -> tuple[int | None, int]:
    """The most tokens that an answer may have, if the client says, and how many answers are written."""
    most = None
    for name in endpoint.lengths:
        if name in members and most is None:
            most = read_count(members, name, MAX_COUNT)
    if not endpoint.chooses or not ("n" in members or "best_of" in members):
        return most, 1
    choices = read_count(members, "n", MAX_COUNT) or 1
    tried = read_count(members, "best_of", MAX_COUNT) or choices
    if tried < choices:
        raise Invalid("best_of must be at least n.", param="best_of")
    return most, tried


def ask_for_usage(members: Members) -> bool:
    """Ask the engine to report usage at the end of the stream. True when the client did not ask itself."""
    raw = members.get("stream_options")
    if raw == ASK_USAGE:
        return False
    options: Members | None = read(members, "stream_options", _object, "an object")
    if not options:
        members["stream_options"] = ASK_USAGE
        return True
    if read_flag(options, "include_usage"):
        return False
    options["include_usage"] = msgspec.Raw(b"true")
    members["stream_options"] = msgspec.Raw(encode(options))
    return True


def for_the_engine(endpoint: Endpoint, members: Members) -> bytes:
    """The body that an engine gets."""
    # The order is ours to give: a client's own number would pass every other tenant by, vLLM refuses
    # tiers that it does not know, and whoever sells tiers would bill the operator.
    if "priority" in members or "service_tier" in members:
        members.pop("priority", None)
        members.pop("service_tier", None)
    for name, value in endpoint.sets:
        members[name] = msgspec.Raw(value)
    return encode(members)


def passed_headers(endpoint: Endpoint, headers: Mapping[bytes, bytes]) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of the client's that an engine gets."""
    return tuple((name, headers[name]) for name in endpoint.passes if name in headers)
