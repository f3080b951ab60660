"""The scanner changes nothing but the usage event, and its facts do not depend on how bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.sse import HOLD_BYTES
from scheduling.core.usage import Usage
from tests.unit.gateway.scan import DONE, EVENT_BYTES, FIGURES, FINISH, ROLE, TEXT, USAGE, Scan, delta, event

ANSWER = ROLE + TEXT + TEXT + FINISH


def test_bytes_pass_as_they_came() -> None:
    scan = Scan(ANSWER + USAGE + DONE)

    assert scan.text == ANSWER + USAGE + DONE
    assert scan.scanner.done
    assert scan.usage == Usage(12, 8, 34, estimated=False)


def test_only_the_usage_event_is_left_out() -> None:
    scan = Scan(ROLE, TEXT, TEXT, FINISH, USAGE, DONE, strip_usage=True)

    assert scan.text == ANSWER + DONE
    assert scan.usage.completion_tokens == 34


def test_usage_beside_a_choice_is_read_but_stays() -> None:
    both = event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": FIGURES})

    scan = Scan(TEXT, both, DONE, strip_usage=True)

    assert scan.text == TEXT + both + DONE


def test_a_text_event_is_never_held_back() -> None:
    scan = Scan(ROLE, TEXT, TEXT, strip_usage=True)

    assert scan.out == [ROLE, TEXT, TEXT, b""]


def test_an_incomplete_event_with_a_choice_passes_at_once() -> None:
    cut = TEXT.index(b"Hi")

    scan = Scan(TEXT[:cut], strip_usage=True)

    assert scan.out[0] == TEXT[:cut]
    assert not scan.at_boundary


def test_an_event_that_may_be_usage_waits_and_leaves_a_boundary() -> None:
    scan = Scan(TEXT, USAGE[:30], strip_usage=True)

    assert scan.out[:2] == [TEXT, b""]
    assert scan.at_boundary
    assert scan.text == TEXT + USAGE[:30]


def test_an_event_over_the_bound_passes_unread_and_memory_stays_small() -> None:
    scan = Scan()
    piece = b"x" * 4096
    scan.scanner.feed(b'data: {"usage":{"prompt_tokens":1,"completion_tokens":1},"a":"')
    for _ in range(1000):
        assert scan.scanner.feed(piece) == piece
        assert len(scan.scanner._open) <= EVENT_BYTES + len(piece)

    assert scan.scanner.feed(b'"}\n\n' + TEXT) == b'"}\n\n' + TEXT
    assert scan.usage.estimated
    assert scan.first_tokens == 1


@pytest.mark.parametrize(
    "garbage", [b"\x00\xff" * 50, b"data: {\n\n", b"\n\n\n\n", b'data: {"usage":{\xff}\n\n', b"\r\r"]
)
def test_garbage_passes_and_harms_nobody(garbage: bytes) -> None:
    scan = Scan(TEXT, garbage, TEXT, strip_usage=True)

    assert scan.text == TEXT + garbage + TEXT
    assert scan.usage.estimated


EVENTS = st.sampled_from(
    [
        ROLE, TEXT, FINISH, USAGE, DONE,
        TEXT.replace(b"\n\n", b"\r\n\r\n"),
        USAGE.replace(b"\n\n", b"\r\n\r\n"),
        DONE.replace(b"\n\n", b"\r\n\r\n"),
        b"data: {\"choices\":\ndata: [],\ndata: \"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n",
        event(delta(content="größe 🎈 [DONE] \"usage\":{")),
        event({**delta(content="a"), "usage": None}),
        event({**delta(content="a"), "usage": FIGURES}),
        event({"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 3}}),
        event({"choices": [], "pad": "x" * HOLD_BYTES, "usage": FIGURES}),
        event({"choices": [], "pad": "x" * EVENT_BYTES, "usage": FIGURES}),
        event(delta(content="b")),
        event(delta(content="y" * EVENT_BYTES)),
        event({"error": {"message": "no"}}),
        event({"message": {"usage": {"input_tokens": 7}}}, name="message_start"),
        event({"usage": {"output_tokens": 7}}, name="message_delta", end="\r\n\r\n"),
        event({"type": "message_stop"}, name="message_stop"),
        b": comment\n\n", b": data: {\"content\":\"x\"}\n", b"\n", b"\r\n", b"\n\n\n", b"id: 1\nretry: 5\n",
        b"data: \xff\x00{\n\n", b"data: cut", b"event: x",
    ]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(data=st.data(), events=st.lists(EVENTS, max_size=8), strip_usage=st.booleans())
def test_any_cut_gives_the_same_bytes_and_facts(
    data: st.DataObject, events: list[bytes], *, strip_usage: bool
) -> None:
    raw = b"".join(events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]

    assert Scan(*pieces, strip_usage=strip_usage).facts == Scan(raw, strip_usage=strip_usage).facts


@settings(max_examples=30, deadline=None)
@given(events=st.lists(EVENTS, max_size=4), strip_usage=st.booleans())
def test_byte_by_byte_gives_the_same_bytes_and_facts(events: list[bytes], *, strip_usage: bool) -> None:
    raw = b"".join(events)
    pieces = [raw[at : at + 1] for at in range(len(raw))]

    assert Scan(*pieces, strip_usage=strip_usage).facts == Scan(raw, strip_usage=strip_usage).facts


def test_blank_lines_around_the_usage_event_belong_to_neither_neighbour() -> None:
    raw = ROLE + b"\n" + USAGE + b"\r\n\n" + DONE

    for cut in range(len(raw)):
        assert Scan(raw[:cut], raw[cut:], strip_usage=True).text == ROLE + b"\n" + b"\r\n\n" + DONE


@settings(max_examples=100, deadline=None)
@given(pieces=st.lists(st.binary(max_size=40) | EVENTS, max_size=10))
def test_nothing_is_changed_when_usage_is_the_clients_own(pieces: list[bytes]) -> None:
    scan = Scan(*pieces)

    assert scan.out[:-1] == pieces
    assert scan.out[-1] == b""
