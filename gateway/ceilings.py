"""What a body may hold at most: levels, values, messages, answers and tokens, looked at before they cost.

A body that is small in all of these, as nearly all are, pays for a search of
a few brackets. Only what may be too much is looked at more closely.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from gateway.errors import Invalid
from gateway.input_errors import TooComplex
from gateway.members import whole
from gateway.settings import Settings
from gateway.unreadable import UNREADABLE

UNCOUNTED_BYTES = 512 * 1024  # a body of this size holds no more values than can be read at once
SEARCHED_QUOTES = 512  # a body with no more of them is not counted byte by byte
SEARCHED_ESCAPES = 64  # nor one with fewer backslashes in a row before a quote
SHORT_BYTES = 32 * 1024  # to take brackets out of these is quicker than to search for each
NESTED = b'[{,"'
USUAL_LENGTHS = MAX_TOKENS, MAX_COMPLETION_TOKENS = ("max_tokens", "max_completion_tokens")
LENGTHS = (*USUAL_LENGTHS, "max_output_tokens")
CHOICES = ("n", "best_of")
LOGPROBS = ("logprobs", "top_logprobs")
MESSAGES = "messages"

_number = msgspec.json.Decoder(int | float | str | bool | None).decode
_list: Callable[[bytes], list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw]).decode
_object: Callable[[bytes], dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Ceilings:
    """The knobs of the same names."""

    json_levels: int
    json_values: int
    most_messages: int
    counts: Mapping[str, int]  # of members that are numbers: the most of each
    least: int  # opening brackets of a body that could be more than it may

    @classmethod
    def of(cls, settings: Settings) -> Ceilings:
        """The ceilings that an admin has set."""
        counts = dict.fromkeys(LENGTHS, settings.most_completion_tokens)
        counts |= dict.fromkeys(CHOICES, settings.most_choices)
        counts |= dict.fromkeys(LOGPROBS, settings.most_logprobs)
        levels, messages = settings.json_levels, settings.most_messages
        return cls(levels, settings.json_values, messages, counts, min(levels, messages))

    def count(self, body: bytes) -> None:
        """Look at a body that is not read yet. Raises TooComplex when it holds too many values."""
        if len(body) <= UNCOUNTED_BYTES:
            return
        most = self.json_values
        outside = _outside_of_few_texts(body) if 2 * most >= SEARCHED_QUOTES else None
        if _nested(body if outside is None else outside) <= most:
            return
        plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
        if plain.count(b'"') <= 2 * most and _nested(b"".join(plain.split(b'"')[::2])) <= most:
            return
        raise TooComplex(f"The body may hold at most {most:,} values.")

    def check(
        self, body: bytes, members: Mapping[str, msgspec.Raw], lengths: Sequence[str] = ()
    ) -> int | None:
        """Look at a body that is read. Raises TooComplex or Invalid, which names the member.

        ``lengths`` are given when no other members that are numbers can be there
        than ``USUAL_LENGTHS``, by the names under which the answer's length is
        read. That is returned, if one is there and nothing can be said against it.
        """
        name, raw = MAX_TOKENS, members.get(MAX_TOKENS)
        if raw is None:
            name, raw = MAX_COMPLETION_TOKENS, members.get(MAX_COMPLETION_TOKENS)
        elif MAX_COMPLETION_TOKENS in members:
            raw = None
        length = None
        if raw is not None and name in lengths:
            try:
                length = whole(raw)
            except UNREADABLE:
                length = None  # left to whoever looks at it below
        if length is None or length < 1 or length > self.counts[name]:
            length = None
            self._check_counts(members)
        if _holds_more(body, self.least):
            self._check_messages(members)
            self._check_levels(members)
        return length

    def _check_counts(self, members: Mapping[str, msgspec.Raw]) -> None:
        most = self.counts
        for name in members:
            if name in most:
                _check_count(name, members[name], most[name])

    def _check_messages(self, members: Mapping[str, msgspec.Raw]) -> None:
        raw = bytes(members.get(MESSAGES, b""))
        if raw[:1] == b"[" and _holds_more(raw, self.most_messages) and len(_list(raw)) > self.most_messages:
            raise Invalid(f"messages may hold at most {self.most_messages:,}.", param=MESSAGES)

    def _check_levels(self, members: Mapping[str, msgspec.Raw]) -> None:
        """Level by level, and down only where there are brackets enough."""
        rest: Iterable[msgspec.Raw] = members.values()
        for left in range(self.json_levels - 1, -1, -1):
            deep = [text for raw in rest if _holds_more(text := bytes(raw), left) and text[:1] in b"[{"]
            if not deep:
                return
            rest = [child for text in deep for child in _children(text)]
        raise TooComplex(f"Lists and objects may be nested {self.json_levels} levels deep.")


USUAL = Ceilings.of(Settings())


def _nested(text: bytes) -> int:
    """At most so many values are in it, if it is JSON; what stands in texts counts too."""
    return len(text) - len(text.translate(None, NESTED))


def _outside_of_few_texts(body: bytes) -> bytes | None:
    """What stands between a body's texts, when there are few of these, as in nearly all that are long.

    To search for the next quote is a hundred times as fast as to look at each byte.
    """
    outside: list[bytes] = []
    begin = at = 0
    in_text = False
    for _ in range(SEARCHED_QUOTES):
        quote = body.find(b'"', at)
        if quote < 0:
            return b"".join([*outside, body[begin:]])
        at = quote + 1
        if in_text:
            before = body[max(begin, quote - SEARCHED_ESCAPES) : quote]
            escapes = len(before) - len(before.rstrip(b"\\"))
            if escapes == SEARCHED_ESCAPES:
                return None
            if escapes % 2:
                continue
        else:
            outside.append(body[begin:quote])
        begin, in_text = at, not in_text
    return None


def _check_count(name: str, raw: msgspec.Raw, most: int) -> None:
    """Values of another kind are left to whoever reads them: the parser, or the engine."""
    try:
        if (count := whole(raw)) is None or count <= most:
            return
    except UNREADABLE:
        pass  # it is no whole number
    if bytes(raw)[:1] in (b"[", b"{"):
        return
    try:
        value = _number(raw)
    except msgspec.DecodeError:  # hundreds of digits
        raise Invalid(f"{name} may be at most {most:,}.", param=name) from None
    if isinstance(value, int | float) and value > most:
        raise Invalid(f"{name} may be at most {most:,}.", param=name)


def _children(text: bytes) -> Iterable[msgspec.Raw]:
    return _list(text) if text[:1] == b"[" else _object(text).values()


def _holds_more(text: bytes, most: int) -> bool:
    """Whether there may be more lists and objects than that: opening brackets count in texts too.

    ``find`` is ten times as fast as ``count`` where there are few in much.
    """
    size = len(text)
    if size <= 2 * most:  # each is closed too
        return False
    if size <= SHORT_BYTES:
        return size - len(text.replace(b"[", b"").replace(b"{", b"")) > most
    left = most
    for bracket in b"[{":
        at = text.find(bracket)
        while at >= 0:
            left -= 1
            if left < 0:
                return True
            at = text.find(bracket, at + 1)
    return False
