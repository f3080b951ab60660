"""Chunks that go on as they came: each is one event that says no more than a text, and nothing else is."""

from __future__ import annotations

import random

from gateway import event_shape
from gateway.event_shape import Opening, never, shape_of
from gateway.framing import SHORT, whole_chunks
from gateway.sse import SseScanner
from gateway.waiting import due
from scheduling.core.usage import Usage

EVENT = (
    b'data: {"id":"chatcmpl-%b","object":"chat.completion.chunk","created":%d,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":"%b"},"logprobs":null,"finish_reason":null}]}\n\n'
)
FRESH = b'\x00\n\r"\\{}[]:,09afAF gz\x7f\xff'


class Sink:
    """A client whose connection takes what passes."""

    last = b""
    passing = None
    writable = True

    def __init__(self) -> None:
        self.passed: list[bytes] = []
        self.transport = self

    def way(self) -> Sink:
        return self

    def push(self, data: bytes) -> bool:
        return True

    def write(self, chunk: bytes) -> None:
        self.passed.append(chunk)


def chunk_of(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def scanner_in(event: bytes, event_bytes: int = 1 << 20) -> SseScanner:
    """In the middle of a stream whose last event was this."""
    scanner = SseScanner(Usage(), lambda: None, strip_usage=False, event_bytes=event_bytes)
    scanner.feed(event)
    return scanner


def pouring(event: bytes = EVENT % (b"0", 7, b"Hi"), **limits: int) -> tuple[SseScanner, Sink, list[bytes]]:
    """As ``scanner_in``, of an engine that is known, with a client; and what did not pass."""
    scanner_in(event)
    scanner, sink, others = scanner_in(event, **limits), Sink(), []
    scanner.pour_into(sink)
    scanner.otherwise = others.append
    return scanner, sink, others


def test_a_chunk_that_differs_by_its_text_passes_whatever_the_stream_is_called() -> None:
    scanner, sink, others = pouring()
    for name, made, text in (
        (b"0", 7, b" you"),
        (b"f-9", 1_790_000_000, b""),
        (b"", 0, b"\\n\xc3\xa9" * 40),
    ):
        chunk = chunk_of(EVENT % (name, made, text))
        scanner.passes(chunk)
        assert sink.passed[-1] is chunk
        assert scanner.last is chunk
    assert (others, scanner._usage.completion_tokens) == ([], 4)


def test_no_damaged_chunk_passes_unless_it_is_still_one_plain_event_and_nothing_more() -> None:
    scanner, sink, others = pouring()
    rng = random.Random(5)
    whole = chunk_of(EVENT % (b"a1", 1_790_000_000, b" and"))
    for at in range(len(whole)):
        for _ in range(30):
            cut = rng.choice((0, 0, 1, 2))
            put = bytes(rng.choices(FRESH, k=rng.choice((0, 1, 1, 2))))
            scanner.passes(whole[:at] + put + whole[at + cut :])
    assert len(others) > 4000
    assert len(sink.passed) > 200
    for chunk in sink.passed:
        parts, end, _ = whole_chunks(chunk)
        assert (len(parts), end) == (1, len(chunk))
        reader = scanner_in(EVENT % (b"0", 7, b"Hi"))
        assert reader.feed(parts[0]) == parts[0]
        assert reader._usage.completion_tokens == 2
        assert not any((reader.done, reader.finished, reader.errored, reader._open))


def test_a_chunk_of_another_size_than_it_says_does_not_pass() -> None:
    scanner, sink, others = pouring()
    event = EVENT % (b"0", 7, b"x" * 20)
    odd = [
        b"%x\r\n%b\r\n" % (len(event) + 1, event),
        b"%x\r\n%b\r\n" % (len(event) - 1, event),
        b"0%x\r\n%b\r\n" % (len(event), event),
        b"%X\r\n%b\r\n" % (0xAB, EVENT % (b"0", 7, b"x" * (0xAB - len(EVENT % (b"0", 7, b""))))),
        b"%x;a=b\r\n%b\r\n" % (len(event), event),
        chunk_of(event * 2),
        chunk_of(event) + chunk_of(event).replace(b"x", b"xx", 1),
        chunk_of(event) * 2 + b"0\r\n",
        chunk_of(event) * 2 + chunk_of(event)[:-2],
        chunk_of(event)[:-1],
        chunk_of(EVENT % (b"0", 7, b"x" * SHORT)),
        b"fff\r\n" + (EVENT % (b"0", 7, b"x" * SHORT)) + b"\r\n",
    ]
    for chunk in odd:
        scanner.passes(chunk)
    assert (sink.passed, others) == ([], odd)


def test_several_such_chunks_pass_together_and_each_counts() -> None:
    scanner, sink, others = pouring()
    several = b"".join(chunk_of(EVENT % (b"0", 7, text)) for text in (b"a", b"", b"\\n"))
    scanner.passes(several)
    assert (sink.passed, others, scanner.last) == ([several], [], several)
    assert scanner._usage.completion_tokens == 4


def test_nothing_passes_in_the_middle_of_an_event_or_when_events_must_be_small() -> None:
    event = EVENT % (b"0", 7, b"Hi")
    scanner, sink, others = pouring()
    scanner.feed(event[:40])
    scanner.passes(chunk_of(event))
    assert (sink.passed, len(others)) == ([], 1)
    scanner.feed(event[40:])
    scanner.passes(chunk_of(event))
    assert len(sink.passed) == 1

    scanner, sink, others = pouring(event_bytes=SHORT - 1)
    scanner.passes(chunk_of(event))
    assert (sink.passed, len(others)) == ([], 1)


def test_whoever_wrote_last_is_known_to_the_client() -> None:
    scanner, sink, _ = pouring()
    chunk = chunk_of(EVENT % (b"0", 7, b"a"))
    scanner.passes(chunk)
    assert (sink.passing, sink.last) == (scanner, b"")
    scanner.passes(b"another")
    assert sink.last is chunk
    sink.last = b"what was made of it"
    scanner.pour_no_more()
    assert (sink.passing, sink.last) == (None, b"what was made of it")
    scanner.pour_into(sink)
    scanner.passes(chunk)
    scanner.pour_no_more()
    assert sink.last is chunk


def test_a_shape_is_worth_its_expression_when_it_comes_twice_and_few_are_kept(monkeypatch) -> None:
    monkeypatch.setattr(event_shape, "_shapes", {})
    monkeypatch.setattr(event_shape, "_seen", set())
    for turn in range(3 * event_shape.SEEN_KEPT):
        assert shape_of(b'data: {"seq":%d,"text":"' % turn, b'"}\n\n') is never
    assert len(event_shape._seen) <= event_shape.SEEN_KEPT
    for _ in range(2):  # no chunk that goes on as it came is so long
        assert shape_of(b'data: {"a":"%b"}\n\n' % (b"x" * SHORT), None) is never
    assert not any(len(seen) >= SHORT for seen in event_shape._seen)
    for turn in range(2 * event_shape.SHAPES_KEPT):
        for _ in range(2):
            match = shape_of(b'data: {"object":"%d","text":"' % turn, b'"}\n\n')
        assert match is not never
    assert len(event_shape._shapes) <= event_shape.SHAPES_KEPT


LEAD = EVENT.replace(b'{"content":"%b"}', b'{"role":"assistant","content":""}')


def opening_like(*streams: tuple[bytes, bytes]) -> Opening:
    """What is known of streams that began with these two events."""
    opening = Opening()
    for lead, first in streams:
        scanner = SseScanner(Usage(), lambda: None, strip_usage=False, event_bytes=1 << 20, opening=opening)
        scanner.feed(lead)
        scanner.feed(first)
    return opening


def beginning(opening: Opening | None, **limits: int) -> tuple[SseScanner, Sink, list[bytes], list[int]]:
    """A stream of which only the head came; the last list says when its first token was seen."""
    usage, began = Usage(), []
    limits = {"event_bytes": 1 << 20, **limits}
    scanner = SseScanner(
        usage, lambda: began.append(usage.completion_tokens), strip_usage=False, opening=opening, **limits
    )
    sink, others = Sink(), []
    scanner.pour_into(sink)
    scanner.otherwise = others.append
    return scanner, sink, others, began


KNOWN = opening_like(*[(LEAD % (b"0", 7), EVENT % (b"0", 7, b"Hi"))] * 2)


def test_a_stream_that_begins_as_the_one_before_is_known_from_its_first_event() -> None:
    scanner, sink, others, began = beginning(KNOWN)
    lead = LEAD.replace(b'"m"', b'"another"') % (b"f-9", 1_790_000_000)
    assert scanner.leads(chunk_of(lead)) == (lead, len(chunk_of(lead)))
    tokens = [chunk_of(EVENT % (b"f-9", 1_790_000_000, text)) for text in (b"Hello", b" you")]
    for token in tokens:
        assert scanner.leads(token) == (b"", 0)
        scanner.passes(token)
    assert (sink.passed, others, began) == (tokens, [], [0])
    assert scanner._usage.completion_tokens == 2
    assert scanner.leads(chunk_of(lead)) == (b"", 0)  # it is read, now that there are tokens


def test_whoever_may_take_the_place_that_a_first_token_frees_goes_on_at_once() -> None:
    class Waiting:
        def take_due_step(self) -> None:
            del due[self]

    scanner, sink, _, _ = beginning(KNOWN)
    due[Waiting()] = None
    scanner.passes(chunk_of(EVENT % (b"0", 7, b"Hi")))
    assert (len(sink.passed), dict(due)) == (1, {})


def test_an_event_without_text_is_no_first_token() -> None:
    scanner, sink, others, began = beginning(KNOWN)
    empty = chunk_of(EVENT % (b"0", 7, b""))
    scanner.passes(empty)
    assert (sink.passed, others, began) == ([], [empty], [])


def test_the_first_events_are_read_in_the_middle_of_one_and_of_engines_that_count_or_send_small_ones() -> (
    None
):
    lead, token = chunk_of(LEAD % (b"0", 7)), chunk_of(EVENT % (b"0", 7, b"Hi"))
    counting = EVENT.replace(b"]}", b'],"usage":{"prompt_tokens":3,"completion_tokens":0}}') % (b"0", 7, b"")
    for before, limits in (
        (b'data: {"id', {}),
        (counting, {}),
        (b"", {"event_bytes": SHORT - 1}),
        (b"", {"measures_tokens": False}),
    ):
        scanner, sink, others, began = beginning(KNOWN, **limits)
        scanner.feed(before)
        assert scanner.leads(lead) == (b"", 0)
        scanner.passes(token)
        assert (sink.passed, others, began) == ([], [token], [])


def test_a_first_token_that_comes_with_the_event_ahead_of_it_is_known_too() -> None:
    lead, token = LEAD % (b"9", 8), EVENT % (b"9", 8, b"Hi")
    opening = opening_like(*[(b"", lead + token)] * 2)
    assert (opening.lead, opening.first) == (KNOWN.lead, KNOWN.first)
    both = chunk_of(lead) + chunk_of(token)
    scanner, _, _, began = beginning(opening)
    assert scanner.leads(both + b"7\r\n") == (lead, len(chunk_of(lead)))  # what is not whole is read
    assert scanner.leads(both) == (lead + token, len(both))
    assert (began, scanner._usage.completion_tokens) == ([0], 1)


def test_no_damaged_beginning_is_taken_for_another() -> None:
    rng, led, passed = random.Random(8), 0, 0
    lead, token = chunk_of(LEAD % (b"a1", 17)), chunk_of(EVENT % (b"a1", 17, b" and"))
    for whole in (lead, token, lead + token):
        for at in range(len(whole)):
            for _ in range(20):
                cut = rng.choice((0, 0, 1, 2))
                put = bytes(rng.choices(FRESH, k=rng.choice((0, 1, 1, 2))))
                chunk = whole[:at] + put + whole[at + cut :]
                scanner, sink, _, began = beginning(KNOWN)
                events, end = scanner.leads(chunk)
                if not end:
                    scanner.passes(chunk)
                    end = len(chunk) if sink.passed else 0
                led, passed = led + bool(events), passed + len(sink.passed)
                parts, framed, _ = whole_chunks(chunk[:end])
                assert framed == end
                assert events in (b"", b"".join(parts))
                reader, _, _, read = beginning(None)
                for part in parts:
                    assert reader.feed(part) == part
                assert (read, reader._usage) == (began, scanner._usage)
                assert not any((reader.done, reader.finished, reader.errored, reader._open))
    assert (led > 100, passed > 100) == (True, True)
